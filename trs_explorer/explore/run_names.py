"""Which of many run folders are shown, and what is said of them: names, and on a read-only server no folders."""

import re
from collections.abc import Callable, Container, Mapping
from pathlib import Path

from trs_explorer.files import printable
from trs_explorer.runs import Checkpoint, Run, RunError

# A folder, up to the last part of a path in a text; the slashes of a web address are none.
FOLDER = re.compile(r"(?<![\w:/\\.])(?:[A-Za-z]:)?[\\/](?:[^\s\\/'\":,;]+[\\/])*")


def without_copies(found: Mapping[Path, Run], named: Container[Path], digest: Callable[[Checkpoint], str]) -> set[Path]:
    """The places of the runs to show: of a run and its copies in other folders only one.

    A copy has the same folder name, the same config.json to the byte, and checkpoints of the same names, the newest with the same
    weights. Shown is the one that was before (`named`), else the one of which more evaluations are stored, else the first.
    """
    shown: dict[str, list[Path]] = {}  # by the folder's name
    for place, run in found.items():
        others = shown.setdefault(place.name, [])
        copied = next((k for k, other in enumerate(others) if _same(found[other], run, digest)), None)
        if copied is None:
            others.append(place)
        else:
            others[copied] = max(others[copied], place, key=lambda one: (one in named, _stored(found[one])))
    return {place for places in shown.values() for place in places}


def _same(one: Run, other: Run, digest: Callable[[Checkpoint], str]) -> bool:
    try:
        if (one.path / "config.json").read_bytes() != (other.path / "config.json").read_bytes():
            return False
        mine, others = one.checkpoints(), other.checkpoints()
        if [checkpoint.name for checkpoint in mine] != [checkpoint.name for checkpoint in others]:
            return False
        return not mine or digest(mine[-1]) == digest(others[-1])
    except (RunError, OSError, MemoryError):
        return False


def _stored(run: Run) -> int:
    return sum(1 for _ in (run.path / "results").glob("*.json"))


def named(text: str, name: str, run: Run) -> str:
    """A text about a run with its name in place of its folder, in printable characters."""
    for path in (run.path.resolve(), run.path):
        if len(path.parts) > 1:
            text = text.replace(str(path), name)
    return printable(text)


def without_folders(text: str, run: Run) -> str:
    """A text with the last part alone of every path in it."""
    for path in (run.config.data_dir, run.path.resolve().parent, Path.cwd(), Path.home()):
        if len(Path(path).parts) > 1:
            text = text.replace(printable(path), Path(path).name)
    return FOLDER.sub("", text)
