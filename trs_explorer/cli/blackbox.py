"""`trs blackbox`."""

import csv
import json
from pathlib import Path
from typing import Annotated

import typer

from trs_explorer.catalogue import ATTACKS, DATA
from trs_explorer.cli.curve import write_curve
from trs_explorer.cli.evaluations import check_classes, check_saved, store
from trs_explorer.cli.flags import (
    CsvFileOption,
    DeviceOption,
    JsonFileOption,
    LimitOption,
    SeedOption,
    check_parent,
    parse_list,
    parse_radii,
    run_at,
)
from trs_explorer.evaluation import paper
from trs_explorer.options import UsageError, unknown

KINDS = tuple(name for name, attack in ATTACKS.items() if attack.ball)
BAR, WIDE, NARROW = 20, 100, 76  # letters of the longest bar, and of terminals that have room for it, and for a row in one line


def blackbox(
    run: Annotated[list[Path], typer.Argument(help="One run's folder or more, of one data set.", show_default=False)],
    surrogates: Annotated[
        list[str] | None,
        typer.Option("--surrogates", help="Runs to make the images on, comma-separated. Default: 3, trained once."),
    ] = None,
    attacks: Annotated[
        str, typer.Option("--attacks", help=f"Comma-separated: {', '.join(KINDS)}. pgd is the paper's protocol.")
    ] = "pgd",
    eps: Annotated[str | None, typer.Option("--eps", help="Comma-separated radii in [0, 1]. Default: the paper's.")] = None,
    limit: LimitOption = 1000,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    json_file: JsonFileOption = None,
    csv_file: CsvFileOption = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="Also draw the curves over eps, as a page of its own.")] = None,
) -> None:
    """Robust accuracy under images made on other ensembles: right after every attempt / all test images used.

    pgd is the paper's protocol (section 4.1): 18 attempts an image, on standard ensembles of 3, 5 and 8 members.

    An attempt is 50 steps of eps/10 on one of them, on cross-entropy or on the margin, from one of 3 starts.

    Other attacks make one start of 50 steps on each ensemble; ira takes twenty times as long as pgd. Several runs share images.

    Without --surrogates, the three ensembles are trained first, once, and kept as checkpoints/surrogate-....

    Interrupted, the same command goes on where it stopped.

    Example: trs blackbox mnist-trs mnist-standard --attacks pgd,ila,mdi2 --eps 0.2,0.3
    """
    kinds = list(dict.fromkeys(parse_list(attacks, "--attacks")))
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(unknown("--attacks", kind, KINDS))
    radii = parse_radii(eps) if eps is not None else None
    chosen = list({one.path.resolve(): one for one in map(run_at, run)}.values())
    for what, values in {
        "data set": sorted({one.config.data for one in chosen}),
        "model": sorted({one.config.model for one in chosen}) if not surrogates else [],
    }.items():
        if len(values) > 1:
            raise UsageError(f"runs of one {what} share the images, these are of {' and '.join(values)}: take them one by one")
    for one in chosen:
        check_saved(one)
    name = chosen[0].config.data
    for kind in kinds:
        check_classes(kind, name, "--attacks")
    for file in (json_file, csv_file, html_file):
        check_parent(file)
    radii = list(dict.fromkeys(radii or paper.BLACK_BOX_EPS.get(name) or (DATA[name].probe_eps / 2, DATA[name].probe_eps)))

    from trs_explorer.cli.attempts import attempted
    from trs_explorer.cli.surrogates import surrogates_of
    from trs_explorer.evaluation.shares import processes
    from trs_explorer.training.device import resolve_device

    with processes() as team:
        where = team.device(resolve_device(device))
        makers = surrogates_of(chosen[0], surrogates or (), device) if team.rank == 0 else []
        team.agree(None)  # the first process trains what is missing
        makers = makers or surrogates_of(chosen[0], surrogates or (), device)
        results, unfinished = attempted(chosen, makers, kinds, radii, limit=limit, seed=seed, device=where, team=team)
        stored = team.agree([store(one, "blackbox", result) for one, result in zip(chosen, results, strict=False)])
        for kept, safe in zip(unfinished, stored, strict=True):
            if safe:
                kept.forget()
        if team.rank:
            return
    _show(results)
    if json_file:
        json_file.write_text(json.dumps(results, indent=1) + "\n")
    if csv_file:
        _write_csv(csv_file, results)
    if html_file:
        write_curve(html_file, results)


def _show(results: list[dict]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    console = Console()
    wide, narrow = console.width >= WIDE, console.width < NARROW
    for result in results:
        n = result["rows"][0]["robust"]["n"]
        title = f"{escape(result['run'])}: right, in % (95 % interval) of all {n} images"
        made_on = ", ".join(f"{maker['name']} ({maker['members']} members)" for maker in result["surrogates"])
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
        headings = ("attempts", "eps", "under every one", *([""] if wide else []), "one attempt", "white box")
        for heading in headings:
            table.add_column(heading, justify="left" if heading in ("attempts", "") else "right", no_wrap=not narrow)
        for row in result["rows"]:
            robust, each, white = row["robust"], row["per_attempt"], row["white_box"]
            share = robust["correct"] / n
            table.add_row(
                f"{row['attack']} x {row['attempts']}",
                f"{robust['eps']:g}",
                f"{100 * share:.1f} ({100 * robust['low']:.1f} - {100 * robust['high']:.1f})",
                *([ProgressBar(total=1, completed=share, width=BAR)] if wide else []),
                f"{100 * each['share']:.1f} ({100 * each['low']:.1f} - {100 * each['high']:.1f})",
                f"{100 * white['correct'] / n:.1f}",
            )
        console.print(table)
        console.print(
            f"images made on {escape(made_on)}; one attempt: their mean; white box: PGD-50 on the run itself, one start",
            highlight=False,
        )
    for result in results:
        for warning in result["warnings"]:
            console.print(f"[bold]warning[/] {escape(result['run'])}: {escape(warning)}", highlight=False)


def _write_csv(path: Path, results: list[dict]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["run", "weights_sha256", "seed", "attack", "attempt", "eps", "correct", "n", "low", "high"])
        for result in results:
            fixed = [result["run"], result["weights"], result["seed"]]
            for row in result["rows"]:
                rates = {"every attempt": row["robust"], "white box": row["white_box"]}
                if row["attack"] != "all":  # whose attempts are those of the other rows
                    rates |= {rate["name"]: rate for rate in row["each"]}
                for name, rate in rates.items():
                    counts = (rate[key] for key in ("eps", "correct", "n", "low", "high"))
                    writer.writerow([*fixed, row["attack"], name, *counts])
