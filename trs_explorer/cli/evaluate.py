"""`trs evaluate`."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from trs_explorer import runs
from trs_explorer.catalogue import ATTACKS, DATA
from trs_explorer.cli.evaluations import check_classes, check_saved, store
from trs_explorer.cli.flags import (
    CsvFileOption,
    DeviceOption,
    JsonFileOption,
    LimitOption,
    SeedOption,
    check_parent,
    parse_constants,
    parse_list,
    parse_radii,
    run_at,
)
from trs_explorer.cli.measured import Plan, measured
from trs_explorer.cli.rates import show, write_csv
from trs_explorer.evaluation.table1 import ASKED, parameters
from trs_explorer.options import UsageError, unknown

SETS = {"table1": ASKED, "all": tuple(name for name, attack in ATTACKS.items() if not attack.for_others)}


def evaluate(
    run: Annotated[list[Path], typer.Argument(help="One run's folder or more.", show_default=False)],
    attacks: Annotated[
        str, typer.Option("--attacks", help=f"Comma-separated: {', '.join(ATTACKS)}; or table1, or all.")
    ] = "fgsm,pgd",
    eps: Annotated[str | None, typer.Option("--eps", help="Comma-separated radii in [0, 1]. Default: the paper's.")] = None,
    c: Annotated[str | None, typer.Option("--c", help="Comma-separated constants of cw and ead. Default: the paper's.")] = None,
    limit: LimitOption = 1000,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps of the iterated attacks.")] = 50,
    restarts: Annotated[
        int, typer.Option("--restarts", min=1, help="Random starts, where an attack has them; the worst counts.")
    ] = 1,
    seed: SeedOption = 0,
    trust: Annotated[bool, typer.Option("--trust", help="Make all 17 checks of whether the figures can be trusted.")] = False,
    device: DeviceOption = "auto",
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
    radii = parse_radii(eps) if eps is not None else None
    chosen = list({one.path.resolve(): one for one in map(run_at, run)}.values())
    for file in (json_file, csv_file):
        check_parent(file)

    from trs_explorer.evaluation.shares import processes
    from trs_explorer.training.device import resolve_device

    plans = [_plan(one, names, asked, radii, constants, Plan([], limit, steps, restarts, seed, trust)) for one in chosen]
    with processes() as team:
        where = team.device(resolve_device(device))
        found, unfinished = [], []
        for one, plan in zip(chosen, plans, strict=True):
            result, kept = measured(one, plan, where, team)
            unfinished.append(kept)
            if result is not None:
                found.append(result)
                show(result, checks=trust)
        # not before all are measured: then an interruption costs nothing of those that were done
        stored = team.agree([store(one, "evaluate", result) for one, result in zip(chosen, found, strict=False)])
        for kept, safe in zip(unfinished, stored, strict=True):
            if safe:
                kept.forget()
    if json_file and not team.rank:
        json_file.write_text(json.dumps(found, indent=1) + "\n")
    if csv_file and not team.rank:
        write_csv(csv_file, found)


def _plan(
    run: runs.Run, names: list[str], asked: list[str], radii: list[float] | None, constants: list[float] | None, plan: Plan
) -> Plan:
    """The plan with a run's attacks. Raises UsageError, or RunError if the run has nothing to measure."""
    check_saved(run)
    for name in asked:
        if name not in SETS:  # those take what suits the data
            check_classes(name, run.config.data, "--attacks")
    left_out = tuple(name for name in names if ATTACKS[name].classes > DATA[run.config.data].classes)
    for name in left_out:
        typer.echo(f"{run.name}: without {name}, which needs {ATTACKS[name].classes} classes", err=True)
    kinds = [name for name in names if name not in left_out]
    pairs = [(name, value) for name in kinds for value in _parameters(name, run.config.data, radii, constants)]
    return replace(plan, attacks=list(dict.fromkeys(pairs)), left_out=left_out)


def _parameters(name: str, data: str, radii: list[float] | None, constants: list[float] | None) -> Sequence[float]:
    """The radii or constants of an attack: those given, else the paper's, else the data set's own."""
    return (radii if ATTACKS[name].ball else constants) or parameters(data, name)
