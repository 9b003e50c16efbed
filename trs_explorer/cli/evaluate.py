"""`trs evaluate`."""

import csv
import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trs_explorer import runs
from trs_explorer.catalogue import ATTACKS, DATA
from trs_explorer.cli.flags import (
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
from trs_explorer.evaluation import paper
from trs_explorer.options import UsageError, unknown

if TYPE_CHECKING:
    import torch

SETS = {"table1": paper.ATTACKS, "all": tuple(ATTACKS)}


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
    device: DeviceOption = "auto",
    json_file: JsonFileOption = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Also write the rates to this file, a row each.")] = None,
) -> None:
    """Clean and robust accuracy with 95 % intervals: correct on the adversarial image / all test images used.

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

    from trs_explorer.training.device import resolve_device

    where = resolve_device(device)
    results = []
    for one in chosen:
        about = DATA[one.config.data]
        plan = []
        for name in names:
            if name == "apgd-dlr" and about.classes < 3:
                if name in asked:
                    raise UsageError(
                        f"--attacks: apgd-dlr needs 3 classes, {one.config.data} has {about.classes}: take apgd-ce or mora"
                    )
                typer.echo(f"{one.name}: without apgd-dlr, which needs 3 classes", err=True)
                continue
            given, other = (radii, about.probe_eps) if ATTACKS[name].ball else (constants, 1.0)
            plan += [(name, value) for value in given or paper.parameters(one.config.data, name) or (other,)]
        result = _evaluate(one, plan, limit=limit, steps=steps, restarts=restarts, seed=seed, device=where)
        results.append(result)
        _store(one, result)
    _show(results)
    if json_file:
        json_file.write_text(json.dumps(results, indent=1) + "\n")
    if csv_file:
        _write_csv(csv_file, results)


def _evaluate(
    run: runs.Run, plan: list[tuple[str, float]], *, limit: int, steps: int, restarts: int, seed: int, device: "torch.device"
) -> dict:
    """Measure one run's newest checkpoint; returns what its file under results/ holds."""
    from trs_explorer import data
    from trs_explorer.catalogue import load
    from trs_explorer.cli.progress import progress
    from trs_explorer.cli.results import about
    from trs_explorer.evaluation import accuracy, trust
    from trs_explorer.models.stored import load_ensemble

    ensemble, weights = load_ensemble(run, device=device)
    test = data.load(run.config.data, train=False, data_dir=run.config.data_dir)
    chosen = slice(0, min(limit, len(test)))
    x, y = test.images(chosen).to(device), test.y[chosen].to(device)
    attacks = []
    for name, radius in plan:
        function = load(ATTACKS[name].function)
        if not ATTACKS[name].ball:  # its own numbers of steps; how near it comes does not count, only whether it fools
            attacks.append((name, function, {"c": radius, "early_stop": True}))
            continue
        known = inspect.signature(function).parameters
        own = {key: value for key, value in (("steps", steps), ("restarts", restarts)) if key in known}
        label = name + (f"-{steps}" if "steps" in own else "") + (f" x{restarts}" if own.get("restarts", 1) > 1 else "")
        attacks.append((label, function, {"eps": radius, **own}))
    rates: dict[int, accuracy.Rate] = {}
    with progress(run.name) as advance:
        for position, rate in accuracy.measure(ensemble, x, y, attacks=attacks, seed=seed):
            rates[position] = rate
            advance(position * len(x) + rate.n, (len(attacks) + 1) * len(x))
    warnings = trust.check_model(ensemble, x[:100], y[:100]) + trust.check_rates(list(rates.values()))
    found = [{**rate.to_json(), "paper": None} for rate in rates.values()]
    for (name, value), rate in zip(plan, found[1:], strict=True):
        rate["paper"] = paper.figure(run.config.data, name, value, run.config.method)
    found += [{**rate.to_json(), "paper": None} for rate in _worst(list(rates.values()))]
    return {
        **about(run, weights, len(x), device, seed),
        "kind": "evaluate",
        "options": {"steps": steps, "restarts": restarts},
        "rates": found,
        "warnings": warnings,
    }


def _worst(rates: list) -> list:
    """Of every radius that three attacks had or more: the accuracy under the worst of them, image by image."""
    from trs_explorer.evaluation.accuracy import worst_of

    same: dict[float, list] = {}
    for rate in rates:
        if rate.eps:
            same.setdefault(rate.eps, []).append(rate)
    return [worst_of(f"worst of {len(group)}", group) for _, group in sorted(same.items()) if len(group) > 2]


def _store(run: runs.Run, result: dict) -> None:
    try:
        runs.write_result(run, "evaluate", result)
    except runs.RunError as error:
        typer.echo(f"not stored with the run: {error}", err=True)


def _show(results: list[dict]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    for result in results:
        known = any(rate["paper"] is not None for rate in result["rates"])
        title = f"{escape(result['run'])}: right, in % (95 % interval, Wilson) of all {result['rates'][0]['n']} images"
        table = Table(title=title, title_justify="left")
        for heading in ("attack", "eps or c", "correct / n", "%", *(["the paper's"] if known else [])):
            table.add_column(heading, justify="left" if heading == "attack" else "right", no_wrap=True)
        for rate in result["rates"]:
            table.add_row(
                rate["name"],
                f"c {rate['c']:g}" if rate["eps"] is None else f"{rate['eps']:g}",
                f"{rate['correct']} / {rate['n']}",
                f"{100 * rate['correct'] / rate['n']:.1f} ({100 * rate['low']:.1f} - {100 * rate['high']:.1f})",
                *([f"{rate['paper']:.1f}" if rate["paper"] is not None else ""] if known else []),
            )
        console.print(table)
    for result in results:
        for warning in result["warnings"]:
            console.print(f"[bold]warning[/] {escape(result['run'])}: {escape(warning)}", highlight=False)


def _write_csv(path: Path, results: list[dict]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["run", "weights_sha256", "seed", "attack", "eps", "c", "correct", "n", "low", "high", "paper"])
        for result in results:
            for rate in result["rates"]:
                fixed = [result["run"], result["weights"], result["seed"]]
                writer.writerow([*fixed, *(rate[k] for k in ("name", "eps", "c", "correct", "n", "low", "high", "paper"))])
