"""`trs evaluate`: measure clean and robust accuracy."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from trs_explorer import plugins, runs
from trs_explorer.attack_catalogue import ATTACKS, attack
from trs_explorer.catalogue import DATA
from trs_explorer.cli import exit_on_interrupt
from trs_explorer.cli.custom_options import custom_attack_options
from trs_explorer.cli.evaluate_report import rates_csv, show
from trs_explorer.cli.exports import IMAGES_SUFFIXES, ImagesFileOption, as_json, check_parent, check_suffix, exported
from trs_explorer.cli.flags import (
    ATTACK_NAMES,
    AllowCodeOption,
    ConfidenceOption,
    CsvFileOption,
    DataDirOption,
    DeviceOption,
    EffortOption,
    JsonFileOption,
    LimitOption,
    LossOption,
    NormOption,
    RestartsOption,
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
    parse_list,
    parse_radii,
    run_at,
    say,
)
from trs_explorer.cli.progress import progress
from trs_explorer.cli.smallest_eps import smallest_eps
from trs_explorer.evaluation.table1.columns import MEASURED_ATTACKS, parameters
from trs_explorer.options import UsageError

SETS = {"table1": MEASURED_ATTACKS, "all": tuple(name for name, attack in ATTACKS.items() if not attack.made_for_transfer)}


def evaluate(
    context: typer.Context,
    run: Annotated[list[Path], typer.Argument(help="Folders of one or more runs.", show_default=False)],
    attacks: Annotated[
        str,
        typer.Option(
            "--attacks",
            help=f"Comma-separated: {ATTACK_NAMES}; table1, or all; or your own, mine.py:square.",
        ),
    ] = "fgsm,pgd",
    eps: Annotated[
        str | None,
        typer.Option("--eps", help="Comma-separated radii such as 8/255. Default: the paper's; of your data 8/255, grey 0.1."),
    ] = None,
    norm: NormOption = "linf",
    c: Annotated[str | None, typer.Option("--c", help="Comma-separated constants of cw and ead. Default: the paper's.")] = None,
    confidence: ConfidenceOption = None,
    loss: LossOption = None,
    effort: EffortOption = None,
    step_size: StepSizeOption = None,
    limit: LimitOption = 1000,
    steps: StepsOption = 50,
    restarts: RestartsOption = 1,
    seed: SeedOption = 0,
    trust: Annotated[bool, typer.Option("--trust", help="Run all 17 sanity checks of the figures.")] = False,
    device: DeviceOption = "auto",
    data_dir: DataDirOption = None,
    json_file: JsonFileOption = None,
    csv_file: CsvFileOption = None,
    allow_code: AllowCodeOption = False,
    images_file: ImagesFileOption = None,
    smallest: Annotated[
        bool, typer.Option("--smallest-eps", help="Search each image's smallest eps instead, up to --eps (one radius).")
    ] = False,
    tolerance: Annotated[
        str | None, typer.Option("--tolerance", help="How exactly --smallest-eps searches. Default: --eps / 64.")
    ] = None,
) -> None:
    """Measure clean and robust accuracy with 95 % intervals: images classified correctly after the attack / all test images used.

    After an interruption, the same command continues.

    On several processors or GPUs, with the same results: torchrun --nproc-per-node 2 --no-python trs evaluate ...

    --attacks strong: the worst case that there is here. Several attacks in turn, each on the images that those before left; up to
    six minutes for 1,000 images of MNIST on two cores.

    --smallest-eps: bisection, image by image, by the attacks with a radius among --attacks; robust accuracy over eps is its
    distribution. Where --eps was evaluated before by the same attacks, it takes less time. --csv: a row for every image.

    --save-images: clean, labels, clean_correct (image); adversarial, correct (attack, image); options, as JSON text: what was
    measured, with the attacks in their order.

    Example: trs evaluate checkpoints/mnist-trs checkpoints/mnist-standard --attacks pgd --eps 0.1,0.15
    """
    del allow_code
    requested, names = parse_list(attacks, "--attacks"), parse_attacks(attacks, sets=SETS)
    constants = parse_constants(c) if c is not None else None
    radii = parse_radii(eps, norm)
    custom = custom_attack_options(context, names)
    flags = {"confidence": confidence, "loss": loss, "effort": effort, "step_size": step_size}
    options = attack_options(names, norm=norm, custom=custom, **flags)
    attack_options(names, restarts=restarts if restarts > 1 else None)  # checks that an attack takes it
    chosen = list({one.path.resolve(): one for one in map(run_at, run)}.values())
    for one in chosen:
        check_loss(loss, one.config.data)
    for file in (json_file, csv_file, images_file):
        check_parent(file)
    check_suffix(images_file, "--save-images", IMAGES_SUFFIXES)
    if images_file is not None and len(chosen) > 1:
        raise UsageError(f"--save-images takes the images of one run, got {len(chosen)} runs")
    if tolerance is not None and not smallest:
        raise UsageError("--tolerance is of --smallest-eps: give that too")
    if smallest:
        for given, flag in ((images_file, "--save-images"), (c, "--c"), (confidence, "--confidence"), (trust or None, "--trust")):
            if given is not None:
                raise UsageError(f"{flag} has no meaning with --smallest-eps")
        for name in requested:
            if name not in SETS and not attack(plugins.absolute(name)).has_radius:
                raise UsageError(f"--smallest-eps: {name} has no radius")
        settings = {"limit": limit, "steps": steps, "restarts": restarts, "seed": seed, "data_dir": str(data_dir or "")}
        files = {"json_file": json_file, "csv_file": csv_file}
        smallest_eps(chosen, names, eps=radii, tolerance=tolerance, device=device, options=options, **settings, **files)
        return
    attacks_of_run = [_attacks(one, names, requested, radii, constants, norm) for one in chosen]

    with exit_on_interrupt():
        from trs_explorer.measure import EvaluatePlan, Reporting, connect_processes, evaluate_run, saved_content, store
        from trs_explorer.training.device import resolve_device

    plan = EvaluatePlan([], limit, steps, restarts, seed, trust, options=options, data_dir=str(data_dir or ""))
    files = any(file is not None for file in (json_file, csv_file, images_file))
    images = images_file is not None
    with connect_processes() as group:
        where = group.local_device(resolve_device(device))
        measurements = []
        for one, (pairs, left_out) in zip(chosen, attacks_of_run, strict=True):
            with progress(one.name, quiet=group.rank > 0) as advance:
                its_plan = replace(plan, attacks=pairs, left_out=left_out)
                reporting = Reporting(advance, say)
                measurement = evaluate_run(one, its_plan, device=where, group=group, reporting=reporting, images=images)
            measurements.append(measurement)
            if measurement.result is not None and not files:
                show(measurement.result, checks=trust)
        store(measurements, group, say)  # not before all are measured: an interruption costs nothing of those that were done
        if group.rank or not files:
            return
    results = [measurement.result for measurement in measurements]
    images_content = images_file, lambda: saved_content(measurements[0].images, images_file)
    with exported((json_file, lambda: as_json(results)), (csv_file, lambda: rates_csv(results)), images_content):
        for result in results:
            show(result, checks=trust)


def _attacks(
    run: runs.Run, names: list[str], requested: list[str], radii: list[float] | None, constants: list[float] | None, norm: str
) -> tuple[list[tuple[str, float]], tuple[str, ...]]:
    """The attacks on a run, each with its eps or c; and those left out, which need more classes than its data has.

    Raises: UsageError, or RunError if the run has nothing to measure.
    """
    check_saved(run)
    check_reach(radii, norm, run.config.data)
    for name in requested:
        if name not in SETS:  # those take what suits the data
            check_classes(plugins.absolute(name), run.config.data, "--attacks")
    left_out = tuple(name for name in names if attack(name).classes > DATA[run.config.data].classes)
    for name in left_out:
        say(f"{run.name}: without {name}, which needs {attack(name).classes} classes")
    suitable = [name for name in names if name not in left_out]
    pairs = [(name, value) for name in suitable for value in _parameters(name, run.config.data, radii, constants)]
    return list(dict.fromkeys(pairs)), left_out


def _parameters(name: str, data: str, radii: list[float] | None, constants: list[float] | None) -> Sequence[float]:
    """The radii or constants of an attack: those given, else the paper's, else the data set's own."""
    return (radii if attack(name).has_radius else constants) or parameters(data, name)
