"""`trs evaluate`."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from trs_explorer import runs
from trs_explorer.catalogue import ATTACKS, DATA
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
from trs_explorer.cli.rates import show
from trs_explorer.evaluation import paper
from trs_explorer.options import UsageError, unknown
from trs_explorer.results import write_result

SETS = {"table1": paper.ATTACKS, "all": tuple(name for name, attack in ATTACKS.items() if not attack.for_others)}


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
    chosen = [run_at(path) for path in run]
    for file in (json_file, csv_file):
        check_parent(file)

    from trs_explorer.evaluation.shares import processes
    from trs_explorer.training.device import resolve_device

    with processes() as team:
        where = team.device(resolve_device(device))
        found, unfinished = [], []
        for one in chosen:
            kinds = _possible(names, asked, one)
            pairs = [(name, value) for name in kinds for value in _parameters(name, one.config.data, radii, constants)]
            plan = Plan(pairs, limit=limit, steps=steps, restarts=restarts, seed=seed, trust=trust)
            result, kept = measured(one, plan, where, team)
            unfinished.append(kept)
            if result is not None:
                found.append(result)
    for one, result in zip(chosen, found, strict=False):  # only the first of several processes has results
        _store(one, result)
    for kept in unfinished:
        kept.forget()
    if not found:
        return
    show(found, checks=trust)
    if json_file:
        json_file.write_text(json.dumps(found, indent=1) + "\n")
    if csv_file:
        _write_csv(csv_file, found)


def _possible(names: list[str], asked: list[str], run: runs.Run) -> list[str]:
    """Without DLR where there are two classes; UsageError if it was asked for by name."""
    if "apgd-dlr" not in names or DATA[run.config.data].classes > 2:
        return names
    if "apgd-dlr" in asked:
        raise UsageError(f"--attacks: apgd-dlr needs 3 classes, {run.config.data} has 2: take apgd-ce or mora")
    typer.echo(f"{run.name}: without apgd-dlr, which needs 3 classes", err=True)
    return [name for name in names if name != "apgd-dlr"]


def _parameters(name: str, data: str, radii: list[float] | None, constants: list[float] | None) -> Sequence[float]:
    """The radii or constants of an attack: those given, else the paper's, else the data set's own."""
    given, other = (radii, DATA[data].probe_eps) if ATTACKS[name].ball else (constants, 1.0)
    return given or paper.parameters(data, name) or (other,)


def _store(run: runs.Run, result: dict) -> None:
    try:
        write_result(run, "evaluate", result)
    except runs.RunError as error:
        typer.echo(f"not stored with the run: {error}", err=True)


def _write_csv(path: Path, results: list[dict]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["run", "weights_sha256", "seed", "attack", "eps", "c", "correct", "n", "low", "high", "paper"])
        for result in results:
            for rate in result["rates"]:
                fixed = [result["run"], result["weights"], result["seed"]]
                writer.writerow([*fixed, *(rate[k] for k in ("name", "eps", "c", "correct", "n", "low", "high", "paper"))])
