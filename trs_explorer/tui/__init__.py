"""The terminal dashboard: shows a run folder, whether the run is live, crashed or finished."""

from trs_explorer.tui.terminal_restore import watch

__all__ = ["watch"]
