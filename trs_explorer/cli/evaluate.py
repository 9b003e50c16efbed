"""`trs evaluate`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from trs_explorer import runs
from trs_explorer.catalogue import ATTACKS, DATA
from trs_explorer.cli import leaving_at_once
from trs_explorer.cli.evaluations import attack_options, check_classes, check_saved, store
from trs_explorer.cli.exports import as_json, check_parent, exported
from trs_explorer.cli.flags import (
    ConfidenceOption,
    CsvFileOption,
    DataDirOption,
    DeviceOption,
    JsonFileOption,
    LimitOption,
    NormOption,
    RestartsOption,
    SeedOption,
    StepsOption,
    check_reach,
    parse_confidence,
    parse_constants,
    parse_list,
    parse_radii,
    run_at,
    say,
)
from trs_explorer.cli.measured import Plan, measured
from trs_explorer.cli.rates import rates_csv, show
from trs_explorer.evaluation.table1 import ASKED, parameters
from trs_explorer.options import UsageError, unknown

SETS = {"table1": ASKED, "all": tuple(name for name, attack in ATTACKS.items() if not attack.for_others)}


def evaluate(
    run: Annotated[list[Path], typer.Argument(help="One run's folder or more.", show_default=False)],
    attacks: Annotated[
        str, typer.Option("--attacks", help=f"Comma-separated: {', '.join(ATTACKS)}; or table1, or all.")
    ] = "fgsm,pgd",
    eps: Annotated[
        str | None, typer.Option("--eps", help="Comma-separated radii such as 0.1 or 8/255. Default: the paper's.")
    ] = None,
    norm: NormOption = "linf",
    c: Annotated[str | None, typer.Option("--c", help="Comma-separated constants of cw and ead. Default: the paper's.")] = None,
    confidence: ConfidenceOption = None,
    limit: LimitOption = 1000,
    steps: StepsOption = 50,
    restarts: RestartsOption = 1,
    seed: SeedOption = 0,
    trust: Annotated[bool, typer.Option("--trust", help="Make all 17 checks of whether the figures can be trusted.")] = False,
    device: DeviceOption = "auto",
    data_dir: DataDirOption = None,
    json_file: JsonFileOption = None,
    csv_file: CsvFileOption = None,
) -> None:
    """Clean and robust accuracy with 95 % intervals: correct on the adversarial image / all test images used.

    Interrupted, the same command goes on where it stopped.

    On several processors or GPUs, with the same figures: torchrun --nproc-per-node 2 --no-python trs evaluate ...

    Example: trs evaluate checkpoints/mnist-trs checkpoints/mnist-standard --attacks pgd --eps 0.1,0.15
    """
    asked = parse_list(attacks, "--attacks")
    names = list(dict.fromkeys(one for name in asked for one in SETS.get(name, (name,))))
    for name in names:
        if name not in ATTACKS:
            raise UsageError(unknown("--attacks", name, (*ATTACKS, *SETS)))
    constants = parse_constants(c) if c is not None else None
    radii = parse_radii(eps, norm)
    options = attack_options(names, norm, parse_confidence(confidence))
    chosen = list({one.path.resolve(): one for one in map(run_at, run)}.values())
    for file in (json_file, csv_file):
        check_parent(file)
    plan = Plan([], limit, steps, restarts, seed, trust, **options, data_dir=str(data_dir or ""))
    plans = [_plan(one, names, asked, radii, constants, plan) for one in chosen]

    with leaving_at_once():
        from trs_explorer.evaluation.shares import processes
        from trs_explorer.training.device import resolve_device

    files = json_file is not None or csv_file is not None
    with processes() as team:
        where = team.device(resolve_device(device))
        found, unfinished = [], []
        for one, plan in zip(chosen, plans, strict=True):
            result, kept = measured(one, plan, where, team)
            unfinished.append(kept)
            if result is not None:
                found.append(result)
                if not files:
                    show(result, checks=trust)
        # not before all are measured: then an interruption costs nothing of those that were done
        stored = team.agree([store(one, "evaluate", result) for one, result in zip(chosen, found, strict=False)])
        for kept, safe in zip(unfinished, stored, strict=True):
            if safe:
                kept.forget()
        if team.rank or not files:
            return
    with exported((json_file, lambda: as_json(found)), (csv_file, lambda: rates_csv(found))):
        for result in found:
            show(result, checks=trust)


def _plan(
    run: runs.Run, names: list[str], asked: list[str], radii: list[float] | None, constants: list[float] | None, plan: Plan
) -> Plan:
    """The plan with a run's attacks. Raises UsageError, or RunError if the run has nothing to measure."""
    check_saved(run)
    check_reach(radii, plan.norm, run.config.data)
    for name in asked:
        if name not in SETS:  # those take what suits the data
            check_classes(name, run.config.data, "--attacks")
    left_out = tuple(name for name in names if ATTACKS[name].classes > DATA[run.config.data].classes)
    for name in left_out:
        say(f"{run.name}: without {name}, which needs {ATTACKS[name].classes} classes")
    kinds = [name for name in names if name not in left_out]
    pairs = [(name, value) for name in kinds for value in _parameters(name, run.config.data, radii, constants)]
    return replace(plan, attacks=list(dict.fromkeys(pairs)), left_out=left_out)


def _parameters(name: str, data: str, radii: list[float] | None, constants: list[float] | None) -> Sequence[float]:
    """The radii or constants of an attack: those given, else the paper's, else the data set's own."""
    return (radii if ATTACKS[name].ball else constants) or parameters(data, name)
