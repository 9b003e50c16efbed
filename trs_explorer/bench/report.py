"""Runs a benchmark and prints its table."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from rich.console import Console
from rich.table import Table

from trs_explorer.bench.timing import machine
from trs_explorer.options import UsageError


def run(what: str, *, rounds: int, model: str, json_file: Path | None) -> int:
    """Measure, print a table with the machine named, and write the figures to json_file if there is one.

    Returns the exit status: 1 if a variant that should give the published loss does not, or our attack is weaker than the
    one it is timed against. A target that is missed is not a failure: it may be the machine.
    """
    console = Console(highlight=False)
    with Console(stderr=True).status(f"measuring {what}: {rounds} interleaved rounds") as status:
        title, beside, rows = _measure(what, rounds, model, lambda doing: status.update(f"measuring {what}: {doing}"))
    if json_file:  # before anything is printed: that may fail, and the figures took minutes
        figures = {"bench": what, "beside": beside, "machine": machine(), "rounds": rounds, "rows": rows}
        json_file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    table = Table(title=f"trs bench {what}: {title}", title_justify="left")
    for name in rows[0]:
        table.add_column(name, justify="left" if name in ("variant", "part", "what", "unit") else "right")
    for row in rows:
        table.add_row(*(_text(name, value) for name, value in row.items()))
    console.print(table)
    for line in (*beside, machine()):
        console.print(line)
    return int(any(row.get("same loss") == "NO" or row.get("met") == "WEAKER" for row in rows))


def _measure(what: str, rounds: int, model: str, say: Callable[[str], None]) -> tuple[str, list[str], list[dict]]:
    """The table's title, lines below it, and its rows."""
    if what == "tui":
        try:
            from trs_explorer.bench import dashboard
        except ImportError as error:
            raise UsageError(f"trs bench tui needs a pseudo-terminal, which this system does not have ({error})") from error
        return dashboard.TITLE, [dashboard.BESIDE], dashboard.bench_tui(rounds, say)
    if what == "explore":
        explore = _needing("explore", "playwright")
        return explore.TITLE, *explore.bench_explore(rounds, say)
    if what == "attacks":
        attacks = _needing("attacks", "foolbox")
        return attacks.TITLE, *attacks.bench_attacks(rounds, say)
    title = f"{model} x 3, MNIST, batch 128, median of {rounds}"
    if what == "step":
        from trs_explorer.bench.step import bench_step

        return title, [], bench_step(model, rounds)
    from trs_explorer.bench.logging import bench_logging

    return title, [], bench_logging(model, rounds)


def _needing(what: str, package: str) -> ModuleType:
    """The module of a benchmark that needs a test dependency. Raises UsageError where that is missing."""
    try:
        return importlib.import_module(f"trs_explorer.bench.{what}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise UsageError(f"trs bench {what} needs {package}, a test dependency: pip install 'trs-explorer[test]'") from error


def _text(name: str, value: object) -> str:
    if name == "target":
        return f"<= {value:g}" if isinstance(value, int | float) else str(value or "")
    if name in ("p50", "p95", "requests", "against", "ours"):
        return "" if value is None else f"{value:.1f}"
    if value is None:
        return "" if name == "ratio" else "not measured"
    if not isinstance(value, float):
        return str(value)
    formats = {
        "ms": "{:.3f}",
        "ratio": "{:.2f} x",
        "loss": "{:.5f}",
        "difference": "{:+.1e}",
        "share": "{:.2%}",
        "measured": "{:.1f}",
    }
    return formats[name].format(value)
