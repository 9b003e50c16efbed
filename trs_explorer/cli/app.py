"""The Typer application: all commands, in the order of a first use."""

from typing import Annotated

import typer

from trs_explorer import __version__
from trs_explorer.cli import (
    bench,
    blackbox,
    bounds,
    compare,
    data,
    evaluate,
    explore,
    export,
    import_,
    lesson,
    sweep,
    train,
    transfer,
    watch,
)
from trs_explorer.cli.custom_options import with_names

app = typer.Typer(
    name="trs",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="First run: trs train --tui.  Every command takes --debug for a full traceback.",
)


def _version(requested: bool) -> None:
    if requested:
        print(f"trs-explorer {__version__}")
        raise typer.Exit


@app.callback()
def trs(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Train ensembles whose members do not fall to the same adversarial example, and see why they do or don't."""
    del version


app.command("train", cls=with_names(method="method", model="model", data="data", data_dir="data"))(train.train)
app.command("import", cls=with_names(data="data", data_dir="data"))(import_.import_)
app.command("watch")(watch.watch)
app.command("explore", cls=with_names(data_dir="data"))(explore.explore)
app.command("lesson")(lesson.lesson)
app.command("evaluate", cls=with_names(attacks="attack", data_dir="data"))(evaluate.evaluate)
app.command("transfer", cls=with_names(attack="attack", data_dir="data"))(transfer.transfer)
app.command("blackbox", cls=with_names(attacks="attack", data_dir="data"))(blackbox.blackbox)
app.command("bounds", cls=with_names(attack="attack", data_dir="data"))(bounds.bounds)
app.command("compare", cls=with_names(data_dir="data"))(compare.compare)
app.command("sweep", cls=sweep.SweepCommand)(sweep.sweep)
app.command("export")(export.export)
app.command("bench")(bench.bench)
app.command("data")(data.data)
