"""`trs blackbox`: measure robust accuracy under adversarial images made on other ensembles."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from trs_explorer.attack_catalogue import attack, check_attack_options, check_norm
from trs_explorer.catalogue import DATA
from trs_explorer.cli import exit_on_interrupt
from trs_explorer.cli.blackbox_page import curve_page
from trs_explorer.cli.blocks import Column, print_table
from trs_explorer.cli.custom_options import custom_attack_options
from trs_explorer.cli.evaluate_report import NORM_SUFFIX, in_percent, options_text, percent_of
from trs_explorer.cli.exports import as_csv, as_json, check_parent, exported
from trs_explorer.cli.flags import (
    WITH_RADIUS,
    AllowCodeOption,
    CsvFileOption,
    DataDirOption,
    DeviceOption,
    JsonFileOption,
    LimitOption,
    LossOption,
    NormOption,
    RestartsOption,
    SeedOption,
    StepSizeOption,
    attack_options,
    check_classes,
    check_loss,
    check_reach,
    check_saved,
    parse_attacks,
    parse_list,
    parse_radii,
    run_at,
    say,
)
from trs_explorer.cli.progress import progress
from trs_explorer.cli.trainer import train_with_progress
from trs_explorer.config import same_split
from trs_explorer.evaluation.table1 import paper
from trs_explorer.files import printable
from trs_explorer.options import UsageError, unknown
from trs_explorer.runs import Run

BAR, WIDE = 20, 100  # characters: of the longest bar, and of a terminal with room for it


def blackbox(
    context: typer.Context,
    run: Annotated[list[Path], typer.Argument(help="Folders of one or more runs, on one data set.", show_default=False)],
    surrogates: Annotated[
        list[str] | None,
        typer.Option("--surrogates", help="Runs to make the adversarial images on, comma-separated. Default: 3, trained once."),
    ] = None,
    attacks: Annotated[
        str,
        typer.Option(
            "--attacks",
            help=f"Comma-separated: {', '.join(WITH_RADIUS)}; or your own, mine.py:square. pgd is the paper's protocol.",
        ),
    ] = "pgd",
    eps: Annotated[
        str | None, typer.Option("--eps", help="Comma-separated radii such as 0.1 or 8/255. Default: the paper's.")
    ] = None,
    norm: NormOption = "linf",
    loss: LossOption = None,
    step_size: StepSizeOption = None,
    restarts: RestartsOption = 1,
    limit: LimitOption = 1000,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    data_dir: DataDirOption = None,
    json_file: JsonFileOption = None,
    csv_file: CsvFileOption = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="Also write an HTML page with the curves over eps.")] = None,
    allow_code: AllowCodeOption = False,
) -> None:
    """Measure black-box robust accuracy: images classified correctly after every attempt / all test images used.

    The adversarial images are made on other ensembles (surrogates). Several runs share them.

    pgd is the paper's protocol (section 4.1): 18 attempts per image, on standard ensembles of 3, 5 and 8 members.

    An attempt is 50 steps of eps/10 on one of them, on cross-entropy or on the margin, from one of 3 starts.

    Other attacks make one start of 50 steps on each ensemble. ira takes twenty times as long as pgd.

    Without --surrogates, the three ensembles are trained first, once, and kept as checkpoints/surrogate-....

    After an interruption, the same command continues.

    Example: trs blackbox mnist-trs mnist-standard --attacks pgd,ila,mdi2 --eps 0.2,0.3
    """
    del allow_code
    kinds = parse_attacks(attacks)
    for kind in kinds:
        if not attack(kind).has_radius:
            raise UsageError(unknown("--attacks", kind, WITH_RADIUS))
    radii = parse_radii(eps, norm)
    check_norm(kinds, norm)
    starts = restarts if restarts > 1 else None
    options = attack_options(kinds, custom=custom_attack_options(context, kinds), step_size=step_size, restarts=starts)
    options |= check_attack_options(kinds, {} if loss is None else {"loss": loss})  # one loss is never what pgd here usually has
    chosen = list({one.path.resolve(): one for one in map(run_at, run)}.values())
    for noun, values in {
        "data set": sorted({one.config.data for one in chosen}),
        "model": sorted({one.config.model for one in chosen}) if not surrogates else [],
    }.items():
        if len(values) > 1:
            raise UsageError(f"runs of one {noun} share the images, these are of {' and '.join(values)}: take them one by one")
    for one in chosen:
        if not same_split(one.config, chosen[0].config, "test"):
            names = f"{chosen[0].name} and {one.name} have other images or labels (their SHA-256 differs)"
            raise UsageError(f"runs of one data set share the images, {names}: take them one by one")
        check_saved(one)
    name = chosen[0].config.data
    check_reach(radii, norm, name)
    check_loss(loss, name)
    for kind in kinds:
        check_classes(kind, name, "--attacks")
    for file in (json_file, csv_file, html_file):
        check_parent(file)
    radii = list(dict.fromkeys(radii or paper.BLACK_BOX_EPS.get(name) or (DATA[name].probe_eps / 2, DATA[name].probe_eps)))

    with exit_on_interrupt():
        from trs_explorer.measure import BlackboxPlan, Reporting, blackbox_runs, connect_processes, shared_test_split, store
        from trs_explorer.measure.session import load_newest
        from trs_explorer.training.device import resolve_device

    folder = str(data_dir or "")
    plan = BlackboxPlan(kinds, radii, norm, limit, seed, folder, options)
    with connect_processes() as group:
        where = group.local_device(resolve_device(device))
        test = shared_test_split(chosen, folder)  # before surrogates are trained
        for one in chosen:  # also that each can be loaded: its code may not be allowed
            load_newest(one, where)
        made_on = _surrogates(chosen[0], surrogates or (), device, folder) if group.rank == 0 else []
        group.broadcast(None)  # the first process trains what is missing
        made_on = made_on or _surrogates(chosen[0], surrogates or (), device, folder)
        with progress("black box", quiet=group.rank > 0) as advance:
            reporting = Reporting(advance, say)
            measurements = blackbox_runs(chosen, made_on, plan, test=test, device=where, group=group, reporting=reporting)
        store(measurements, group, say)
        if group.rank:
            return
    results = [measurement.result for measurement in measurements]
    with exported(
        (json_file, lambda: as_json(results)), (csv_file, lambda: _csv(results)), (html_file, lambda: curve_page(results))
    ):
        _show(results)


def _surrogates(target: Run, named: Iterable[str], device: str, data_dir: str) -> list[Run]:
    """The runs that the user names; by default standard ensembles for the target's data and model, trained if missing."""
    given = [run_at(Path(name)) for text in named for name in parse_list(text, "--surrogates")]
    if len({run.name for run in given}) < len(given):
        raise UsageError(f"--surrogates: two of one name: {', '.join(run.name for run in given)}")
    for run in given:
        if run.config.data != target.config.data:
            raise UsageError(f"--surrogates: {run.name} is on {run.config.data}, {target.name} on {target.config.data}")
        if not same_split(run.config, target.config, "test"):
            what = f"the {run.config.data} of {run.name} is not that of {target.name} (its SHA-256 differs)"
            raise UsageError(f"--surrogates: {what}")
    if given:
        return given
    from trs_explorer.training.surrogates import standard_surrogates

    return standard_surrogates(target, device=device, data_dir=data_dir, train=train_with_progress, notify=say)


def _show(results: list[dict]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.progress_bar import ProgressBar

    console = Console()
    for result in results:
        run, rows = escape(printable(result["run"])), result["rows"]
        n, norm = rows[0]["robust"]["n"], NORM_SUFFIX[result["norm"]]
        first = [
            Column("attempts", [f"{row['attack']} x {row['attempts']}" for row in rows], "left"),
            Column("ε", [f"{row['robust']['eps']:g}" for row in rows]),
        ]
        bars = [ProgressBar(total=1, completed=row["robust"]["correct"] / n, width=BAR) for row in rows]
        each = [row["per_attempt"] for row in rows]
        columns = [
            Column("after all", [percent_of(row["robust"]) for row in rows]),
            *([Column("", bars, "left")] if console.width >= WIDE else []),
            Column("mean attempt", [in_percent(one["share"], one) for one in each]),
            Column("white box", [f"{100 * row['white_box']['correct'] / n:.1f}" for row in rows]),
        ]
        title = f"{run}: black-box accuracy in % (95 % interval) on {n} test images{'; ε' if norm else ''}{norm}"
        title += options_text(result.get("options", {}), ("loss", "step_size", "restarts"), "; ")
        console.print(f"[italic]{title}[/]", highlight=False)
        print_table(console, first, columns, box=SIMPLE_HEAD)
        made_on = ", ".join(f"{printable(maker['name'])} ({maker['members']} members)" for maker in result["surrogates"])
        console.print(
            f"adversarial images made on {escape(made_on)}; after all: correct after every attempt; "
            "mean attempt: mean accuracy of single attempts; white box: PGD-50 on the run itself, one start",
            highlight=False,
        )
    for result in results:
        for warning in result["warnings"]:
            console.print(f"[bold]warning[/] {escape(printable(result['run']))}: {escape(warning)}", highlight=False)


def _csv(results: list[dict]) -> str:
    """A row for every attempt and radius, for all attempts together, and for the white box."""
    rows = []
    for result in results:
        fixed = [result["run"], result["weights"], result["seed"]]
        for row in result["rows"]:
            rates = {"every attempt": row["robust"], "white box": row["white_box"]}
            if row["attack"] != "all":  # whose attempts are those of the other rows
                rates |= {rate["name"]: rate for rate in row["each"]}
            for name, rate in rates.items():
                counts = (rate[key] for key in ("eps", "correct", "n", "low", "high", "norm"))
                rows.append([*fixed, row["attack"], name, *counts])
    header = ["run", "weights_sha256", "seed", "attack", "attempt", "eps", "correct", "n", "low", "high", "norm"]
    return as_csv(header, rows)
