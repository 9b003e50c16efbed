"""What a folder holds that is nobody's: the marks that systems leave in folders, and what killed processes had begun to write."""

import contextlib
import os
import re
from pathlib import Path

from trs_explorer.locks import process_lives

_MARKS = {".gitkeep", ".keep", ".gitignore", ".gitattributes", ".DS_Store", ".localized", ".directory",
          "Thumbs.db", "desktop.ini", "lost+found"}  # fmt: skip
_TEMPORARY = re.compile(r"\..+\.([0-9]{1,10})\.tmp", re.DOTALL)  # by `write_atomically`: the process's number


def is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing of anybody's: no more than what git, file managers and killed processes of ours leave.

    Raises: OSError if it cannot be read, or is none.
    """
    held = {path for path in folder.iterdir() if path.name not in _MARKS and not path.name.startswith("._")}
    return held <= set(abandoned(folder))


def abandoned(folder: Path) -> list[Path]:
    """What `write_atomically` had begun in a folder and never finished, because its process was killed.

    Regular files only. One of this process's number is of an earlier process: call it while nothing is being written there.
    """
    found = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            named = _TEMPORARY.fullmatch(entry.name)
            if named and entry.is_file(follow_symlinks=False):
                pid = int(named[1])
                if pid == os.getpid() or not process_lives(pid):
                    found.append(Path(entry.path))
    return found


def remove_abandoned(folder: Path) -> None:
    """Remove what killed processes had begun to write in a folder, unless it is a link; what cannot be removed stays."""
    for path in [] if folder.is_symlink() else abandoned(folder):
        with contextlib.suppress(OSError):
            path.unlink()
