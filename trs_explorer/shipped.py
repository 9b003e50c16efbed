"""Where the files that ship with the project are: in the repository's top folders, or inside an installed package."""

import sys
from pathlib import Path

from trs_explorer.runs import Run, find_runs

_PACKAGE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """The folder `assets` or `checkpoints`, wherever this installation has it."""
    installed = _PACKAGE / f"_{name}"
    return installed if installed.is_dir() else _PACKAGE.parent / name


def python_m(module: str) -> list[str]:
    """The command that starts a module of this package, of this very installation, as another process.

    -P keeps a random.py of the current folder out; a checkout that is not installed is found through the current folder only.
    """
    safe = [] if _PACKAGE.parent == Path.cwd() else ["-P"]
    return [sys.executable, *safe, "-m", module]


def shipped_runs() -> list[Run]:
    """The runs that ship with the project, by name."""
    return [run for run in find_runs(folder("checkpoints")) if run.name.startswith(("mnist-", "bars-"))]
