"""`trs bench`: run a benchmark."""

from pathlib import Path
from typing import Annotated

import typer

from trs_explorer.catalogue import MODELS, entry
from trs_explorer.cli.exports import check_parent
from trs_explorer.cli.flags import parse_list
from trs_explorer.options import UsageError, unknown

BENCHMARKS = {
    "step": "a TRS training step against the published one",
    "scaling": "that step over members and image sizes",
    "logging": "what logging costs a training",
    "tui": "the dashboard's speed against its targets",
}
# They need packages of the test extra, which an installed trs does not have.
SCRIPTS = {"attacks": "our PGD against foolbox's", "explore": "the web explorer's speed, in a real browser"}
HELP = " ".join(f"{name}: {text}." for name, text in BENCHMARKS.items())


def bench(
    name: Annotated[str, typer.Argument(metavar="[WHAT]", help=HELP)] = "step",
    rounds: Annotated[
        int,
        typer.Option(
            "--rounds",
            min=3,
            help="Interleaved runs of each variant; medians are shown. tui: how often each thing is done.",
        ),
    ] = 15,
    model: Annotated[
        str | None, typer.Option("--model", help="Architecture of the members. Default: patch; of step patch,lenet.")
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option("--processes", min=1, help="step: time it in so many processes, as under torchrun, against threads."),
    ] = None,
    compiled: Annotated[
        bool,
        typer.Option("--compile", help="step: also time the default step with its search compiled, see trs train --compile."),
    ] = False,
    html: Annotated[Path | None, typer.Option("--html", help="scaling: also draw it, a page for the browser.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures to this file.")] = None,
) -> None:
    """Measure speed: interleaved runs, medians and ratios, with the machine and the versions named."""
    if name in SCRIPTS:
        raise UsageError(
            f"trs bench {name} is now a script of the repository: python tests/bench/{name}.py "
            "(it needs pip install 'trs-explorer[test]')"
        )
    if name not in BENCHMARKS:
        raise UsageError(unknown("trs bench", name, BENCHMARKS))
    if processes is not None and name != "step":
        raise UsageError(f"--processes is for trs bench step, not for {name}: drop it")
    if compiled and (name != "step" or processes is not None):
        raise UsageError("--compile is for trs bench step without --processes: drop it")
    if html is not None and name != "scaling":
        raise UsageError(f"--html is for trs bench scaling, not for {name}: drop it")
    several = name == "step" and processes is None
    models = parse_list(model or ("patch,lenet" if several else "patch"), "--model")
    for one in models:
        entry(MODELS, "--model", one)
    if len(models) > 1 and not several:
        raise UsageError(f"--model {model}: trs bench {name} measures one architecture")
    check_parent(html)
    check_parent(json_file)
    from trs_explorer.bench import report

    page = None if html is None else (html, _scaling_page)
    raise SystemExit(report.run(name, _measure(name, models, processes, compiled), rounds=rounds, json_file=json_file, page=page))


def _scaling_page(title: str, rows: list[dict]) -> str:
    from trs_explorer.figures.scaling_figure import scaling_figure

    return scaling_figure(rows, title=title).to_html(include_plotlyjs=True)


def _measure(name: str, models: list[str], processes: int | None = None, compiled: bool = False):
    """The function of a benchmark, see `report.Measure`. Its modules are imported here because they load torch."""
    if name == "tui":
        try:
            from trs_explorer.bench import dashboard
        except ImportError as error:
            raise UsageError(f"trs bench tui needs a pseudo-terminal, which this system does not have ({error})") from error
        return lambda rounds, show: (f"trs bench tui: {dashboard.TITLE}", [dashboard.NOTE], dashboard.bench_tui(rounds, show))
    model, several = ", ".join(models), name == "step"
    if processes is not None:
        from trs_explorer.bench.processes import bench_processes

        title = f"trs bench step: {model} x 3, MNIST, batch 128, {processes} processes against threads, median of {{}}"
        return lambda rounds, show: (title.format(rounds), [], bench_processes(model, rounds, processes))
    if name == "scaling":
        from trs_explorer.bench.scaling import SETTINGS, bench_scaling

        title = f"trs bench scaling: {model}, a default TRS step, median of {{}}"
        return lambda rounds, show: (title.format(rounds), [SETTINGS], bench_scaling(model, rounds))
    if name == "step":
        from trs_explorer.bench.step import bench_step

        def bench_model(model: str, rounds: int) -> list[dict]:
            return [row for one in models for row in bench_step(one, rounds, compiled=compiled)]
    else:
        from trs_explorer.bench.logging import bench_logging as bench_model
    title = "trs bench {}: {}3 members, MNIST, batch 128, median of {}"
    named = "" if several else f"{model}, "  # otherwise each table is
    return lambda rounds, show: (title.format(name, named, rounds), [], bench_model(model, rounds))
