"""Runs a benchmark and prints its table."""

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from trs_explorer.bench.timing import machine


def run(what: str, *, rounds: int, model: str, json_file: Path | None) -> int:
    """Measure, print a table with the machine named, and write the figures to json_file if there is one.

    Returns the exit status: 1 if a variant that should give the published loss does not.
    """
    console = Console(highlight=False)
    with Console(stderr=True).status(f"measuring {what}: {rounds} interleaved rounds"):
        if what == "step":
            from trs_explorer.bench.step import bench_step

            rows = bench_step(model, rounds)
        else:
            from trs_explorer.bench.logging import bench_logging

            rows = bench_logging(model, rounds)
    table = Table(title=f"trs bench {what}: {model} x 3, MNIST, batch 128, median of {rounds}", title_justify="left")
    for name in rows[0]:
        table.add_column(name, justify="left" if name in ("variant", "part") else "right")
    for row in rows:
        table.add_row(*(_text(name, value) for name, value in row.items()))
    console.print(table)
    console.print(machine())
    if json_file:
        json_file.write_text(json.dumps({"bench": what, "machine": machine(), "rounds": rounds, "rows": rows}, indent=1) + "\n")
    return int(any(row.get("same loss") == "NO" for row in rows))


def _text(name: str, value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    formats = {"ms": "{:.3f}", "ratio": "{:.2f} x", "loss": "{:.5f}", "difference": "{:+.1e}", "share": "{:.2%}"}
    return formats[name].format(value)
