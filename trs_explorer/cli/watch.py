"""`trs watch`."""

from pathlib import Path
from typing import Annotated

import typer

from trs_explorer import runs
from trs_explorer.cli.flags import AsciiOption, RunArgument, ascii_wanted, can_draw, run_at
from trs_explorer.options import UsageError
from trs_explorer.values import text

AT_ONCE = 1 << 20  # bytes of a log, which as events take twenty times as many


def watch(
    run: RunArgument,
    against: Annotated[Path | None, typer.Option("--against", help="Another run, on the same axes.", show_default=False)] = None,
    readonly: Annotated[bool, typer.Option("--readonly", help="Look only: keys that control the training do nothing.")] = False,
    ascii: AsciiOption = False,
) -> None:
    """Look at a run in the terminal dashboard: running, finished or crashed. Arrows and r replay it.

    Where stdout is not a terminal, prints the run's events so far as plain lines.

    Examples: trs watch mnist-trs, trs watch mnist-cos-only --against mnist-trs
    """
    found = run_at(run)
    other = run_at(against) if against is not None else None
    if other is not None and other.path.resolve() == found.path.resolve():
        raise UsageError(f"--against {against}: that is the run itself; name another one")
    if can_draw():
        from trs_explorer.tui import watch as dashboard

        raise SystemExit(dashboard(found, readonly=readonly, ascii_only=ascii_wanted(ascii), against=other))
    from trs_explorer.cli.display import display

    with display(found, "plain", live=False) as show:
        offset, damaged = 0, 0
        while (batch := runs.read_events(found, offset, AT_ONCE)).offset > offset:
            for event in batch.events:
                show.event(event)
            offset, damaged = batch.offset, damaged + batch.damaged
        if damaged:
            print(f"{damaged} lines of the log are damaged and were passed over")
        print(f"state: {text(found.status().get('state', 'unknown'))}")
