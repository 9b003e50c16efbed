"""Files in a folder that belong to no one: marker files of operating systems, and temporary files of killed processes."""

import contextlib
import os
import re
from pathlib import Path

from trs_explorer.locks import process_lives

_MARKS = {".gitkeep", ".keep", ".gitignore", ".gitattributes", ".DS_Store", ".localized", ".directory",
          "Thumbs.db", "desktop.ini", "lost+found"}  # fmt: skip
_TEMPORARY = re.compile(r"\..+\.([0-9]{1,10})\.tmp", re.DOTALL)  # written by `write_atomically`; the number is the process ID


def is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing but what git, file managers and killed processes of ours leave.

    Raises: OSError if it cannot be read, or is none.
    """
    content = {path for path in folder.iterdir() if path.name not in _MARKS and not path.name.startswith("._")}
    return content <= set(abandoned(folder))


def abandoned(folder: Path) -> list[Path]:
    """The temporary files in a folder that a killed process left in `write_atomically`; regular files only.

    A file with this process's ID is taken for one of an earlier process: call this while nothing is being written there.
    """
    files = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            named = _TEMPORARY.fullmatch(entry.name)
            if named and entry.is_file(follow_symlinks=False):
                pid = int(named[1])
                if pid == os.getpid() or not process_lives(pid):
                    files.append(Path(entry.path))
    return files


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files of killed processes from a folder, unless it is a link. Errors are ignored."""
    for path in [] if folder.is_symlink() else abandoned(folder):
        with contextlib.suppress(OSError):
            path.unlink()
