"""The terminal dashboard: a viewer of a run folder, be the run live, crashed or finished."""

from trs_explorer.tui.guard import watch

__all__ = ["watch"]
