"""`trs watch`: the terminal dashboard on a run."""

from pathlib import Path
from typing import Annotated

import typer

from trs_explorer import runs
from trs_explorer.cli.flags import AsciiOption, RunArgument, ascii_wanted, can_draw, run_at
from trs_explorer.options import UsageError
from trs_explorer.values import text

BATCH_BYTES = 1 << 20  # of a log, read at once; parsed events take twenty times as much memory


def watch(
    run: RunArgument,
    against: Annotated[
        Path | None, typer.Option("--against", help="Another run, drawn on the same axes.", show_default=False)
    ] = None,
    readonly: Annotated[bool, typer.Option("--readonly", help="View only: no key controls the training.")] = False,
    ascii: AsciiOption = False,
) -> None:
    """Watch a run in the terminal dashboard: running, finished or crashed. Arrow keys and r replay it.

    If stdout is not a terminal, print the run's events so far as plain lines.

    Examples: trs watch mnist-trs, trs watch mnist-cos-only --against mnist-trs
    """
    watched = run_at(run)
    other = run_at(against) if against is not None else None
    if other is not None and other.path.resolve() == watched.path.resolve():
        raise UsageError(f"--against {against}: that is the run itself; name another one")
    if can_draw():
        from trs_explorer.tui import watch as dashboard

        raise SystemExit(dashboard(watched, readonly=readonly, ascii_only=ascii_wanted(ascii), against=other))
    from trs_explorer.cli.display import display

    if watched.config.imported:
        from trs_explorer.tui.panels import NO_TRAINING

        print(NO_TRAINING)
    with display(watched, "plain", live=False) as show:
        offset, damaged = 0, 0
        while (batch := runs.read_events(watched, offset, BATCH_BYTES)).offset > offset:
            for event in batch.events:
                show.event(event)
            offset, damaged = batch.offset, damaged + batch.damaged
        if damaged:
            print(f"{damaged} lines of the log are damaged and were skipped")
        print(f"state: {text(watched.status().get('state', 'unknown'))}")
