"""The files that ship with the project: in the repository's top folders, or inside the installed package."""

import sys
from pathlib import Path

from trs_explorer.runs import Run, RunError, find_runs, open_run

_PACKAGE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """The folder `assets` or `checkpoints` of this installation."""
    installed = _PACKAGE / f"_{name}"
    return installed if installed.is_dir() else _PACKAGE.parent / name


def python_m(module: str) -> list[str]:
    """The command that starts a module of this installation in another process.

    -P: a random.py in the current folder must not be imported. Without it only where the current folder is the checkout.
    """
    isolated = [] if _PACKAGE.parent == Path.cwd() else ["-P"]
    return [sys.executable, *isolated, "-m", module]


def shipped_runs() -> list[Run]:
    """The runs that ship with the project, by name."""
    return [run for run in find_runs(folder("checkpoints")) if run.name.startswith(("mnist-", "bars-"))]


def run_at(path: Path) -> Run:
    """The run at path, or the shipped run of that name. Raises RunError with the names of the shipped runs."""
    if not path.exists() and len(path.parts) <= 2:
        shipped = {run.name: run for run in shipped_runs()}
        if path.name in shipped:
            return shipped[path.name]
        if path.parts[:-1] in ((), ("checkpoints",)):
            usable = [name for name, run in shipped.items() if run.checkpoints()]  # of others Table 1 alone is shipped
            raise RunError(f"{path}: no such run. Shipped runs: {', '.join(usable) or 'none'}")
    return open_run(path)
