"""`trs evaluate --smallest-eps`: search the smallest radius that fools a run's ensemble, image by image."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from trs_explorer.attack_catalogue import attack
from trs_explorer.catalogue import DATA
from trs_explorer.cli import exit_on_interrupt
from trs_explorer.cli.blocks import Column, print_table
from trs_explorer.cli.evaluate_report import NORM_SUFFIX, in_percent, options_text
from trs_explorer.cli.exports import as_csv, as_json, exported
from trs_explorer.cli.flags import check_reach, check_saved, say
from trs_explorer.cli.progress import progress
from trs_explorer.files import printable
from trs_explorer.options import UsageError, number
from trs_explorer.runs import Run

STEPS = 64  # of the default tolerance: seven attacks on an image
MOST_STEPS = 10_000  # as in evaluation.smallest_eps, which needs torch
SHOWN = 9  # radii of the printed table
CSV_HEADER = ("run", "weights_sha256", "seed", "attacks", "norm", "image", "smallest_eps", "fooled")


def smallest_eps(
    chosen: Sequence[Run],
    names: Sequence[str],
    *,
    eps: Sequence[float] | None,
    tolerance: str | None,
    device: str,
    json_file: Path | None,
    csv_file: Path | None,
    **settings: object,
) -> None:
    """Search, store, export and print. names: attacks with a radius.  eps: the largest radius.  settings: of `SmallestPlan`."""
    if eps is not None and len(eps) != 1:
        raise UsageError(f"--smallest-eps takes one --eps, the largest radius, got {len(eps)}")
    exact = _tolerance(tolerance)
    options = settings["options"]
    assert isinstance(options, Mapping)
    plans = {}
    for run in chosen:
        check_saved(run)
        classes = DATA[run.config.data].classes
        attacks = [name for name in names if attack(name).has_radius and attack(name).classes <= classes]
        if not attacks:
            raise UsageError("--smallest-eps needs an attack with a radius, such as pgd")
        high = eps[0] if eps else DATA[run.config.data].probe_eps
        check_reach([high], str(options.get("norm", "linf")), run.config.data)
        if high == 0:
            raise UsageError("--smallest-eps: --eps must be above 0, got 0")
        if exact is not None and not high / MOST_STEPS <= exact <= high:
            raise UsageError(f"--tolerance must lie between --eps / {MOST_STEPS:,} and --eps ({high:g}), got {tolerance}")
        plans[run.path] = {"attacks": attacks, "high": high, "tolerance": exact or high / STEPS, **settings}

    with exit_on_interrupt():
        from trs_explorer.measure import Reporting, SmallestPlan, connect_processes, smallest_eps_run, store
        from trs_explorer.training.device import resolve_device

    with connect_processes() as group:
        where = group.local_device(resolve_device(device))
        measurements = []
        for run in chosen:
            with progress(f"{run.name}: smallest ε", quiet=group.rank > 0) as advance:
                plan, reporting = SmallestPlan(**plans[run.path]), Reporting(advance, say)
                measurements.append(smallest_eps_run(run, plan, device=where, group=group, reporting=reporting))
        store(measurements, group, say)
        if group.rank:
            return
    results = [measurement.result for measurement in measurements]
    with exported((json_file, lambda: as_json(results)), (csv_file, lambda: _csv(results))):
        for result in results:
            _show(result)


def _tolerance(text: str | None) -> float | None:
    """Parse --tolerance. Raises: UsageError unless it is a number."""
    try:
        return None if text is None else number(text)
    except (ValueError, OverflowError):
        raise UsageError(f"--tolerance takes a number such as 0.005 or 1/255, got {text!r}") from None


def _show(result: dict) -> None:
    """Print robust accuracy over eps, and the median of the smallest eps."""
    from rich.console import Console
    from rich.markup import escape

    console, run, curve = Console(), escape(printable(result["run"])), result["curve"]
    about = f"{', '.join(result['attacks'])}{options_text(result['options'], ('confidence', 'step_size'), ', ')}"
    norm = NORM_SUFFIX[result["norm"]]
    title = f"{run}: robust accuracy over ε{norm} in % (95 % Wilson interval) on {result['n']} test images; {about}"
    console.print(f"[italic]{title}[/]", highlight=False)
    last = len(curve) - 1
    points = [curve[i] for i in sorted({round(last * k / (SHOWN - 1)) for k in range(SHOWN)})]
    columns = [
        Column("correct / n", [f"{point['correct']} / {point['n']}" for point in points]),
        Column("%", [in_percent(point["correct"] / point["n"], point) for point in points]),
    ]
    print_table(console, [Column("ε", [f"{point['eps']:.4g}" for point in points])], columns)
    median = result["median"]
    half = f"median smallest ε {median:.4g}" if median is not None else f"at ε {result['high']:g} most images remain correct"
    console.print(f"{run}: {half} (to {result['tolerance']:.2g}); an upper bound, other attacks may need less", highlight=False)
    for warning in result["warnings"]:
        console.print(f"[bold]warning[/] {run}: {escape(warning)}", highlight=False)


def _csv(results: Sequence[dict]) -> str:
    """A row for every image of every result; smallest_eps is empty where no attack succeeded."""
    rows = (
        [
            result["run"],
            result["weights"],
            result["seed"],
            " ".join(result["attacks"]),
            result["norm"],
            image,
            eps,
            int(eps is not None),
        ]
        for result in results
        for image, eps in enumerate(result["smallest_eps"])
    )
    return as_csv(CSV_HEADER, rows)
