"""`trs watch`."""

from typing import Annotated

import typer

from trs_explorer import runs
from trs_explorer.cli.flags import RunArgument, can_draw, run_at


def watch(
    run: RunArgument,
    readonly: Annotated[bool, typer.Option("--readonly", help="Look only: keys that control the training do nothing.")] = False,
) -> None:
    """Look at a run in the terminal dashboard: running, finished or crashed.

    Where stdout is not a terminal, prints the run's events so far as plain lines.
    """
    found = run_at(run)
    if can_draw():
        from trs_explorer.tui import watch as dashboard

        dashboard(found, readonly=readonly)
        return
    from trs_explorer.cli.display import display

    with display(found, "plain") as show:
        batch = runs.read_events(found)
        for event in batch.events:
            show.event(event)
        if batch.damaged:
            print(f"{batch.damaged} lines of the log are damaged and were passed over")
        print(f"state: {found.status().get('state', 'unknown')}")
