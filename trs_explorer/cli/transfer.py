"""`trs transfer`."""

import csv
import inspect
import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from trs_explorer.catalogue import ATTACKS, DATA, entry, load
from trs_explorer.cli.flags import (
    CsvFileOption,
    DeviceOption,
    JsonFileOption,
    LimitOption,
    RunArgument,
    SeedOption,
    check_parent,
    parse_constants,
    parse_radii,
    run_at,
)
from trs_explorer.options import UsageError, unknown
from trs_explorer.results import write_result
from trs_explorer.runs import Run, RunError

WIDE = 5  # with more members than this, cells hold the rate alone


def transfer(
    run: RunArgument,
    attack: Annotated[str, typer.Option("--attack", help=f"One of {', '.join(ATTACKS)}.")] = "pgd",
    eps: Annotated[str | None, typer.Option("--eps", help="Radius in [0, 1] pixels. Default: 0.3 on MNIST.")] = None,
    c: Annotated[str | None, typer.Option("--c", help="Constant of cw and ead, which have no radius. Default: 1.")] = None,
    targeted: Annotated[bool, typer.Option("--targeted", help="Each image is to be taken for a random other class.")] = False,
    protocol: Annotated[str, typer.Option("--protocol", help="def6, or all-right: images that all members have right.")] = "def6",
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps of the iterated attacks in a ball.")] = 50,
    limit: LimitOption = 1000,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    json_file: JsonFileOption = None,
    csv_file: CsvFileOption = None,
) -> None:
    """The transfer matrix: who else falls to the examples made on one member. Rows = surrogate, columns = target.

    def6, off the diagonal: of images that both have right and that fool the surrogate, how many fool the target (Definition 6).

    On the diagonal: of the images that the member has right, how many it is fooled on.

    all-right: of the first images that all members have right, how many fool the target with any of five starts (DVERGE's way).

    --targeted: to be fooled is to answer the wanted class.
    """
    known = entry(ATTACKS, "--attack", attack)
    if protocol not in ("def6", "all-right"):
        raise UsageError(unknown("--protocol", protocol, ("def6", "all-right")))
    chosen = run_at(run)
    for file in (json_file, csv_file):
        check_parent(file)
    about_data = DATA[chosen.config.data]
    if attack == "apgd-dlr" and about_data.classes < 3:
        raise UsageError(f"--attack: apgd-dlr needs 3 classes, {chosen.config.data} has 2: take apgd-ce or mora")
    if known.ball and c is not None:
        raise UsageError(f"--c: {attack} has a radius, --eps")
    if not known.ball and eps is not None:
        raise UsageError(f"--eps: {attack} has no radius, but a constant, --c")
    values = parse_radii(eps) if eps is not None else parse_constants(c) if c is not None else None
    if values is not None and len(values) != 1:
        raise UsageError(f"{'--eps' if known.ball else '--c'}: a matrix has one value, got {eps or c}")
    value = values[0] if values else about_data.probe_eps if known.ball else 1.0
    result = _measure(chosen, attack, value, steps, limit, seed, device, targeted=targeted, protocol=protocol)
    try:
        write_result(chosen, "transfer", result)
    except RunError as error:
        typer.echo(f"not stored with the run: {error}", err=True)
    _show(result)
    if json_file:
        json_file.write_text(json.dumps(result, indent=1) + "\n")
    if csv_file:
        _write_csv(csv_file, result)


def _measure(
    run: Run, attack: str, value: float, steps: int, limit: int, seed: int, device: str, *, targeted: bool, protocol: str
) -> dict:
    import torch

    from trs_explorer import data
    from trs_explorer.cli.progress import progress
    from trs_explorer.cli.results import about
    from trs_explorer.evaluation.intervals import wilson
    from trs_explorer.evaluation.transfer import STARTS, all_right, measure_transfer, other_classes
    from trs_explorer.models.stored import load_ensemble
    from trs_explorer.training.device import resolve_device

    where = resolve_device(device)
    ensemble, weights = load_ensemble(run, device=where)
    test = data.load(run.config.data, train=False, data_dir=run.config.data_dir)
    places = torch.arange(min(limit, len(test)))
    if protocol == "all-right":
        places = all_right(ensemble, test.images(slice(None)), test.y, limit=limit)
    x, y = test.images(places).to(where), test.y[places].to(where)
    function = load(ATTACKS[attack].function)
    takes_steps = ATTACKS[attack].ball and "steps" in inspect.signature(function).parameters
    options = {"steps": steps} if takes_steps else {}
    value_name = "eps" if ATTACKS[attack].ball else "c"
    wanted = other_classes(y, DATA[run.config.data].classes, seed=seed) if targeted else None
    with progress(f"{run.name}: transfer") as advance:
        for done, matrix in enumerate(  # noqa: B007
            measure_transfer(
                ensemble,
                x,
                y,
                attack=partial(function, **{value_name: value}, **options),
                wanted=wanted,
                protocol=protocol,
                ensemble_column=True,
                seed=seed,
            )
        ):
            advance(done, len(ensemble) * -(-len(x) // 256))
    said = about(run, weights, len(x), where, seed)
    if protocol == "all-right":
        said["data"] = f"{run.config.data}, first {len(x)} test images that all members have right"
    return {
        **said,
        "kind": "transfer",
        "attack": f"{attack}-{steps}" if takes_steps else attack,
        "eps": value if value_name == "eps" else None,
        "c": value if value_name == "c" else None,
        "options": options,
        "starts": STARTS[protocol],
        "pooled_interval": list(wilson(*matrix.pooled())),
        **matrix.to_json(),
    }


def _show(result: dict) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    value = f"c {result['c']:g}" if result["eps"] is None else f"eps {result['eps']:g}"
    aim = "targeted, " if result["targeted"] else ""
    what = f"{escape(result['run'])}: transfer of {result['attack']}, {aim}{value}"
    title = f"{what}, in % (fooled / eligible; 95 % interval)"
    words = "rows: surrogate, columns: target"
    if result["protocol"] == "all-right":
        words += f"; images that all members have right, any of {result['starts']} starts"
    table = Table(title=title, title_justify="left", caption=words, caption_justify="left")
    table.add_column("")
    members = len(result["fooled"])
    for name in [*(f"F{j + 1}" for j in range(members)), "ensemble"]:
        table.add_column(name, justify="right")
    for i in range(members):
        cells = []
        for j, rate in enumerate(result["rates"][i]):
            low, high = result["intervals"][i][j]
            share = "none eligible" if rate is None else f"{100 * rate:.0f} ({100 * low:.0f} - {100 * high:.0f})"
            if members > WIDE:
                share = "-" if rate is None else f"{100 * rate:.0f}"
            cells.append(share if members > WIDE else f"{share}\n{result['fooled'][i][j]} / {result['eligible'][i][j]}")
        table.add_row(f"F{i + 1}", *cells)
    console = Console()
    console.print(table)
    fooled, eligible = result["pooled"]
    low, high = result["pooled_interval"]
    words = f"{fooled} / {eligible} = {100 * fooled / eligible:.1f} % ({100 * low:.1f} - {100 * high:.1f})" if eligible else "-"
    console.print(f"all pairs of different members together: {words}", highlight=False)


def _write_csv(path: Path, result: dict) -> None:
    names = [*(f"F{j + 1}" for j in range(len(result["fooled"]))), "ensemble"]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["run", "weights_sha256", "seed", "attack", "surrogate", "target", "fooled", "eligible", "low", "high"])
        fixed = [result[key] for key in ("run", "weights", "seed", "attack")]
        for i, row in enumerate(result["fooled"]):
            for j, fooled in enumerate(row):
                writer.writerow([*fixed, names[i], names[j], fooled, result["eligible"][i][j], *result["intervals"][i][j]])
