"""`trs bench`."""

from pathlib import Path
from typing import Annotated

import typer

from trs_explorer.catalogue import MODELS, entry
from trs_explorer.cli.exports import check_parent
from trs_explorer.options import UsageError, unknown

WHAT = {
    "step": "a TRS step against the published one",
    "logging": "what it costs",
    "attacks": "our PGD against foolbox's, and against plain passes",
    "tui": "the dashboard's speed against its targets",
    "explore": "the web explorer's speed, in a real browser, against its targets",
}
HELP = " ".join(f"{name}: {text}." for name, text in WHAT.items())


def bench(
    what: Annotated[str, typer.Argument(help=HELP)] = "step",
    rounds: Annotated[
        int,
        typer.Option(
            "--rounds",
            min=3,
            help="Interleaved runs of each variant; medians are shown. tui, explore: how often each thing is done.",
        ),
    ] = 15,
    model: Annotated[str, typer.Option("--model", help="Architecture of the members.")] = "patch",
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures to this file.")] = None,
) -> None:
    """Measure speed: interleaved runs, medians and ratios, with the machine and the versions named."""
    if what not in WHAT:
        raise UsageError(unknown("trs bench", what, WHAT))
    entry(MODELS, "--model", model)
    check_parent(json_file)
    from trs_explorer.bench import report

    raise SystemExit(report.run(what, rounds=rounds, model=model, json_file=json_file))
