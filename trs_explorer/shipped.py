"""Where the files that ship with the project are: in the repository's top folders, or inside an installed package."""

from pathlib import Path

from trs_explorer.runs import Run, find_runs

_PACKAGE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """The folder `assets` or `checkpoints`, wherever this installation has it."""
    installed = _PACKAGE / f"_{name}"
    return installed if installed.is_dir() else _PACKAGE.parent / name


def shipped_runs() -> list[Run]:
    """The runs that ship with the project, by name."""
    return [run for run in find_runs(folder("checkpoints")) if run.name.startswith(("mnist-", "bars-"))]
