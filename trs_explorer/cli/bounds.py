"""`trs bounds`: the paper's bounds on transfer, estimated for a run, beside the measured transfer."""

from pathlib import Path
from typing import Annotated

import typer

from trs_explorer import plugins
from trs_explorer.attack_catalogue import attack as attack_of
from trs_explorer.attack_catalogue import takes
from trs_explorer.cli import exit_on_interrupt
from trs_explorer.cli.bounds_report import bounds_csv, bounds_page, show
from trs_explorer.cli.custom_options import custom_attack_options
from trs_explorer.cli.exports import as_json, check_parent, exported
from trs_explorer.cli.flags import (
    WITH_RADIUS,
    AllowCodeOption,
    CsvFileOption,
    DataDirOption,
    DeviceOption,
    JsonFileOption,
    LimitOption,
    RunArgument,
    SeedOption,
    StepsOption,
    attack_options,
    check_classes,
    check_reach,
    check_saved,
    parse_attacks,
    parse_radii,
    run_at,
    say,
)
from trs_explorer.cli.progress import progress
from trs_explorer.options import UsageError

MOST_SAMPLES, MOST_CLASSES = 10_000, 100_000


def bounds(
    context: typer.Context,
    run: RunArgument,
    eps: Annotated[
        str | None,
        typer.Option("--eps", help="Comma-separated L2 radii such as 0.1,0.5. Default: four, by the size of the images."),
    ] = None,
    attack: Annotated[
        str, typer.Option("--attack", help=f"One with a radius, in L2: {', '.join(WITH_RADIUS)}; or your own, mine.py:square.")
    ] = "pgd",
    targeted: Annotated[
        bool, typer.Option("--targeted", help="Targeted, as the theorems in the paper: towards a random other class.")
    ] = False,
    steps: StepsOption = 50,
    limit: LimitOption = 500,
    samples: Annotated[int, typer.Option("--samples", help="Random points of each ball whose gradients are taken, too.")] = 4,
    classes: Annotated[
        int,
        typer.Option("--classes", help="Classes of each image whose gradients are taken: the true one, then the likeliest."),
    ] = 10,
    epochs: Annotated[
        str, typer.Option("--epochs", help="Along the training: all stored epochs, or some, such as 18,36. Default: the newest.")
    ] = "",
    pairs: Annotated[bool, typer.Option("--pairs", help="A row for every pair of members, not for all together.")] = False,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    data_dir: DataDirOption = None,
    json_file: JsonFileOption = None,
    csv_file: CsvFileOption = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="Also write an HTML page with the figure.")] = None,
    allow_code: AllowCodeOption = False,
) -> None:
    """Estimate the bounds of the paper's Theorems 1 and 2 on the transfer between members, beside the measured transfer.

    For each radius and each ordered pair, surrogate F and target G: the quantities η, ξ, α, S̲, S̄, β, B of the theorems, the
    bounds, and Pr(T_r = 1), which they bound: of ALL images, the share that both classify correctly and on which the attack on F
    fools both. (trs transfer counts among those that fool F.)

    The quantities are estimates from a sample, and most bounds are vacuous: it says so, and which quantity makes them so.

    Untargeted, the bounds are derived by the paper's proofs: its own, of targeted attacks, by --targeted.

    After an interruption, the same command continues.

    Cost: for each image and member, an attack within every radius, and the gradients of --classes classes at every point.
    """
    del allow_code
    (attack,) = parse_attacks(attack, "--attack") if "," not in attack else [attack]
    entry, chosen = attack_of(attack, "--attack"), run_at(run)
    for file in (json_file, csv_file, html_file):
        check_parent(file)
    check_saved(chosen)
    if not entry.has_radius:
        raise UsageError(f"--attack: {attack} has no radius: the theorems bound attacks within one; take pgd")
    check_classes(attack, chosen.config.data, "--attack")
    for flag, value, low, most in (("--samples", samples, 0, MOST_SAMPLES), ("--classes", classes, 2, MOST_CLASSES)):
        if not low <= value <= most:
            raise UsageError(f"{flag} must lie in [{low}, {most:,}], got {value}")
    custom = custom_attack_options(context, [attack])
    # An attack of others without a norm may stay within an L2 ball all the same: its images are checked.
    norm = "l2" if takes(attack, "norm") or not plugins.is_foreign("attack", attack) else "linf"
    options = attack_options([attack], norm=norm, custom=custom)
    radii = sorted(set(parse_radii(eps, "l2") or ())) if eps is not None else None
    check_reach(radii, "l2", chosen.config.data)
    if radii and radii[0] == 0:
        raise UsageError("--eps: the bounds are of attacks with a radius above 0, got 0")

    with exit_on_interrupt():
        from trs_explorer.measure import (
            BoundsPlan,
            Reporting,
            bounds_run,
            checkpoints_of,
            connect_processes,
            default_radii,
            store,
        )
        from trs_explorer.training.device import resolve_device

    of_epochs = checkpoints_of(chosen, epochs)
    plan = BoundsPlan(
        radii or default_radii(chosen.config.data),
        attack,
        steps,
        limit,
        seed,
        targeted,
        samples,
        classes,
        options,
        str(data_dir or ""),
    )
    with connect_processes() as group:
        where = group.local_device(resolve_device(device))
        measurements = []
        for checkpoint in of_epochs:
            title = f"{chosen.name}: bounds" + (f" at epoch {checkpoint.name}" if len(of_epochs) > 1 else "")
            with progress(title, quiet=group.rank > 0) as advance:
                reporting = Reporting(advance, say)
                measurement = bounds_run(chosen, plan, checkpoint=checkpoint, device=where, group=group, reporting=reporting)
            measurements.append(measurement)
        store(measurements, group, say)
        if group.rank:
            return
    results = [measurement.result for measurement in measurements if measurement.result is not None]
    page = html_file, lambda: bounds_page(results)
    with exported((json_file, lambda: as_json(results)), (csv_file, lambda: bounds_csv(results)), page):
        show(results, pairs=pairs)
