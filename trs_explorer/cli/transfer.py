"""`trs transfer`: measure the transfer matrix between the members of a run."""

from pathlib import Path
from typing import Annotated

import typer

from trs_explorer.attack_catalogue import attack as attack_of
from trs_explorer.catalogue import DATA
from trs_explorer.cli import exit_on_interrupt
from trs_explorer.cli.blocks import Column, print_table
from trs_explorer.cli.custom_options import custom_attack_options
from trs_explorer.cli.evaluate_report import NORM_SUFFIX, options_text, value_of
from trs_explorer.cli.exports import IMAGES_SUFFIXES, ImagesFileOption, as_csv, as_json, check_parent, check_suffix, exported
from trs_explorer.cli.flags import (
    ATTACK_NAMES,
    AllowCodeOption,
    ConfidenceOption,
    CsvFileOption,
    DataDirOption,
    DeviceOption,
    JsonFileOption,
    LimitOption,
    LossOption,
    NormOption,
    RestartsOption,
    RunArgument,
    SeedOption,
    StepSizeOption,
    StepsOption,
    attack_options,
    check_classes,
    check_loss,
    check_reach,
    check_saved,
    parse_attacks,
    parse_constants,
    parse_radii,
    run_at,
    say,
)
from trs_explorer.cli.progress import progress
from trs_explorer.files import printable
from trs_explorer.options import UsageError, unknown
from trs_explorer.parse_events import parse_probe
from trs_explorer.results import write_probe
from trs_explorer.runs import Run, RunError

# Columns of the CSV file before and after the counts.
BEFORE, AFTER = ("attack", "eps", "c", "protocol", "targeted"), ("norm", "confidence")
WIDE = 5  # with more members than this, cells hold the rate alone


def transfer(
    context: typer.Context,
    run: RunArgument,
    attack: Annotated[
        str,
        typer.Option("--attack", help=f"One of {ATTACK_NAMES}; or your own, mine.py:square."),
    ] = "pgd",
    eps: Annotated[
        str | None,
        typer.Option("--eps", help="Radius such as 0.1 or 8/255. Default: 0.3 on MNIST; of your data 8/255, grey 0.1."),
    ] = None,
    norm: NormOption = "linf",
    c: Annotated[str | None, typer.Option("--c", help="Constant of cw and ead, which have no radius. Default: 1.")] = None,
    confidence: ConfidenceOption = None,
    loss: LossOption = None,
    step_size: StepSizeOption = None,
    restarts: RestartsOption = 1,
    targeted: Annotated[bool, typer.Option("--targeted", help="Targeted: towards a random other class.")] = False,
    protocol: Annotated[
        str, typer.Option("--protocol", help="Images that count: def6 (paper, Definition 6) or all-right (all members correct).")
    ] = "def6",
    steps: StepsOption = 50,
    limit: LimitOption = 1000,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    data_dir: DataDirOption = None,
    probe: Annotated[bool, typer.Option("--probe", help="Repeat the training's last probe instead, and store it.")] = False,
    json_file: JsonFileOption = None,
    csv_file: CsvFileOption = None,
    allow_code: AllowCodeOption = False,
    images_file: ImagesFileOption = None,
) -> None:
    """Measure the transfer matrix: which members are fooled by adversarial examples made on another one.

    Rows: surrogate, the member attacked. Columns: target, the model tested.

    --protocol def6, the paper's Definition 6: of the images that both classify correctly and that fool the
    surrogate, the share that fools the target.

    Its diagonal: of the images that the member classifies correctly, the share that fools it.

    --protocol all-right, as in DVERGE: of the first images that all members classify correctly, the share that fools the target
    with any of five starts.

    --targeted: a model is fooled if it answers the wanted class.

    --save-images: clean, labels (image); adversarial (surrogate, image); eligible, fooled (surrogate, target, image), where the
    last target is the ensemble; wanted (image) with --targeted; options, as JSON text: what was measured.

    --probe: the training's own small measurement, on the newest weights: for logs of older versions, which lack |cos| by the
    log-odds. Only --device, --data-dir and --json count beside it. Stored as results/probe.json.
    """
    del allow_code
    if probe:
        _repeat_probe(run_at(run), device, data_dir, json_file)
        return
    (attack,) = parse_attacks(attack, "--attack") if "," not in attack else [attack]
    attack_entry = attack_of(attack, "--attack")
    if protocol not in ("def6", "all-right"):
        raise UsageError(unknown("--protocol", protocol, ("def6", "all-right")))
    chosen = run_at(run)
    for file in (json_file, csv_file, images_file):
        check_parent(file)
    check_suffix(images_file, "--save-images", IMAGES_SUFFIXES)
    if images_file is not None and protocol == "all-right":
        raise UsageError("--save-images: --protocol all-right makes several images of each: take def6")
    dataset = DATA[chosen.config.data]
    check_classes(attack, chosen.config.data, "--attack")
    if attack_entry.has_radius and c is not None:
        raise UsageError(f"--c: {attack} has a radius, --eps")
    if not attack_entry.has_radius and eps is not None:
        raise UsageError(f"--eps: {attack} has no radius, but a constant, --c")
    check_loss(loss, chosen.config.data)
    starts = restarts if restarts > 1 else None
    custom = custom_attack_options(context, [attack])
    options = attack_options(
        [attack], norm=norm, custom=custom, confidence=confidence, loss=loss, step_size=step_size, restarts=starts
    )
    values = parse_radii(eps, norm) if attack_entry.has_radius else parse_constants(c) if c is not None else None
    check_reach(values if attack_entry.has_radius else None, norm, chosen.config.data)
    if values is not None and len(values) != 1:
        raise UsageError(f"{'--eps' if attack_entry.has_radius else '--c'}: a matrix has one value, got {eps or c}")
    value = values[0] if values else dataset.probe_eps if attack_entry.has_radius else 1.0
    check_saved(chosen)

    with exit_on_interrupt():
        from trs_explorer.measure import Reporting, TransferPlan, connect_processes, saved_content, store, transfer_run
        from trs_explorer.training.device import resolve_device

    plan = TransferPlan(attack, value, steps, limit, seed, targeted, protocol, options, str(data_dir or ""))
    with connect_processes() as group:
        where = group.local_device(resolve_device(device))
        with progress(f"{chosen.name}: transfer", quiet=group.rank > 0) as advance:
            reporting, images = Reporting(advance, say), images_file is not None
            measurement = transfer_run(chosen, plan, device=where, group=group, reporting=reporting, images=images)
        store([measurement], group, say)
    result = measurement.result
    if result is None:
        return
    images_content = images_file, lambda: saved_content(measurement.images, images_file)
    with exported((json_file, lambda: as_json(result)), (csv_file, lambda: _csv(result)), images_content):
        _show(result)


def _repeat_probe(run: Run, device: str, data_dir: Path | None, json_file: Path | None) -> None:
    check_parent(json_file)
    check_saved(run)
    with exit_on_interrupt():
        from trs_explorer.cli.display import probe_line
        from trs_explorer.measure import probe_run
        from trs_explorer.training.device import resolve_device

    result = probe_run(run, device=resolve_device(device), data_dir=str(data_dir or ""))
    try:
        write_probe(run, result)
    except RunError as error:
        say(f"not stored with the run: {error}")
    with exported((json_file, lambda: as_json(result))):
        typer.echo(f"{run.name}: {probe_line(parse_probe(result))}")


def _show(result: dict) -> None:
    from rich.console import Console
    from rich.markup import escape

    console, run = Console(), escape(printable(result["run"]))
    value = value_of(result) if result["eps"] is None else f"ε {value_of(result)}{NORM_SUFFIX[result['norm']]}"
    value += options_text(result.get("options", {}), ("confidence", "step_size"), ", ")
    aim = "targeted, " if result["targeted"] else ""
    what = f"{run}: transfer of {result['attack']}, {aim}{value}"
    console.print(f"[italic]{what}, in % (fooled / eligible; 95 % interval)[/]", highlight=False)
    members = range(len(result["fooled"]))
    names = _names(result)
    columns = [Column(names[j], [_cell(result, i, j) for i in members]) for j in range(len(names))]
    print_table(console, [Column("", [names[i] for i in members], "left")], columns)
    caption = "attack made on ↓ (surrogate), fools → (target)"
    if result["protocol"] == "all-right":
        caption += f"; images that all members classify correctly, any of {result['starts']} starts"
    console.print(caption, highlight=False)
    fooled, eligible = result["pooled"]
    low, high = result["pooled_interval"]
    pooled = f"{fooled} / {eligible} = {100 * fooled / eligible:.1f} % ({100 * low:.1f} - {100 * high:.1f})" if eligible else "-"
    console.print(f"Transfer over all pairs of different members: {pooled}", highlight=False)
    for warning in result["warnings"]:
        console.print(f"[bold]warning[/] {run}: {escape(warning)}", highlight=False)


def _cell(result: dict, i: int, j: int) -> str:
    """The rate of one cell in per cent; with few members also its interval and counts."""
    rate, (low, high), alone = result["rates"][i][j], result["intervals"][i][j], len(result["fooled"]) > WIDE
    if rate is None:
        share = "-" if alone else "none eligible"
    else:
        share = f"{100 * rate:.0f}" if alone else f"{100 * rate:.0f} ({100 * low:.0f} - {100 * high:.0f})"
    return share if alone else f"{share}\n{result['fooled'][i][j]} / {result['eligible'][i][j]}"


def _names(result: dict) -> list[str]:
    return [*(f"F{j + 1}" for j in range(len(result["fooled"]))), "ensemble"]


def _csv(result: dict) -> str:
    names, fixed = _names(result), [result[key] for key in ("run", "weights", "seed", *BEFORE)]
    later = [result[key] for key in AFTER]
    header = [
        "run",
        "weights_sha256",
        "seed",
        *BEFORE,
        "surrogate",
        "target",
        "fooled",
        "eligible",
        "low",
        "high",
        *AFTER,
    ]
    rows = [
        [*fixed, names[i], names[j], fooled, result["eligible"][i][j], *result["intervals"][i][j], *later]
        for i, row in enumerate(result["fooled"])
        for j, fooled in enumerate(row)
    ]
    return as_csv(header, rows)
