"""The terminal dashboard: a viewer of a run folder, be the run live, crashed or finished."""

from trs_explorer.runs import Run
from trs_explorer.tui.app import Dashboard

__all__ = ["Dashboard", "watch"]


def watch(run: Run, *, readonly: bool = False, owns_trainer: bool = False, ascii_only: bool = False) -> None:
    """Show `run` in the terminal until the user leaves. Never ends the training by itself.

    readonly disables every control; owns_trainer says that this process started the trainer (only the wording differs);
    ascii_only draws without any character beyond ASCII.
    """
    Dashboard(run, readonly=readonly, owns_trainer=owns_trainer, ascii_only=ascii_only).run()
