"""Which run folders are shown, and how messages name them: by name and, on a read-only server, without any folder."""

import re
from collections.abc import Callable, Container, Mapping
from pathlib import Path

from trs_explorer.files import printable
from trs_explorer.runs import Checkpoint, Run, RunError

# The folders of a path in a text, up to its last part; the slashes of a web address do not match.
FOLDER = re.compile(r"(?<![\w:/\\.])(?:[A-Za-z]:)?[\\/](?:[^\s\\/'\":,;]+[\\/])*")


def without_copies(runs: Mapping[Path, Run], already_shown: Container[Path], digest: Callable[[Checkpoint], str]) -> set[Path]:
    """Return the folders of the runs to show: only one of a run and its copies in other folders.

    A copy has the same folder name, a byte-identical config.json, and checkpoints of the same names, the newest with the same
    weights. Of the copies, the one already shown is kept, else the one with more stored evaluations, else the first.

    runs: all runs by folder.
    already_shown: folders shown before.
    digest: returns the SHA-256 of a checkpoint's weights.
    """
    kept: dict[str, list[Path]] = {}  # by the folder's name
    for path, run in runs.items():
        others = kept.setdefault(path.name, [])
        copy_of = next((k for k, other in enumerate(others) if _is_copy(runs[other], run, digest)), None)
        if copy_of is None:
            others.append(path)
        else:
            others[copy_of] = max(others[copy_of], path, key=lambda one: (one in already_shown, _count_results(runs[one])))
    return {path for paths in kept.values() for path in paths}


def _is_copy(one: Run, other: Run, digest: Callable[[Checkpoint], str]) -> bool:
    try:
        if (one.path / "config.json").read_bytes() != (other.path / "config.json").read_bytes():
            return False
        these, those = one.checkpoints(), other.checkpoints()
        if [checkpoint.name for checkpoint in these] != [checkpoint.name for checkpoint in those]:
            return False
        return not these or digest(these[-1]) == digest(those[-1])
    except (RunError, OSError, MemoryError):
        return False


def _count_results(run: Run) -> int:
    return sum(1 for _ in (run.path / "results").glob("*.json"))


def replace_folder_by_name(text: str, name: str, run: Run) -> str:
    """Replace a run's folder by its name in a message, and make the message printable."""
    for path in (run.path.resolve(), run.path):
        if len(path.parts) > 1:
            text = text.replace(str(path), name)
    return printable(text)


def without_folders(text: str, run: Run) -> str:
    """Shorten every path in a message to its last part."""
    for path in (run.config.data_dir, run.path.resolve().parent, Path.cwd(), Path.home()):
        if len(Path(path).parts) > 1:
            text = text.replace(printable(path), Path(path).name)
    return FOLDER.sub("", text)
