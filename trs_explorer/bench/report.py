"""Run a benchmark, store its figures and print its table."""

import json
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from trs_explorer.bench.timing import machine

# Takes the number of rounds and a function that shows what is being measured; returns title, notes below the table, and rows.
Measure = Callable[[int, Callable[[str], None]], tuple[str, list[str], list[dict]]]
Page = tuple[Path, Callable[[str, list[dict]], str]]

JSON_ONLY = ("model", "difference", "setting")
LEFT_ALIGNED = ("variant", "part", "what", "unit", "same loss")
FORMATS = {
    "ms": "{:.3f}",
    "ratio": "{:.2f} x",
    "to released": "{:.2f} x",
    "ms per unit": "{:.4f}",
    "against linear": "{:.2f}",
    "slope": "{:.2f}",
    "loss": "{:.5f}",
    "difference": "{:+.1e}",
    "share": "{:.2%}",
    "measured": "{:.1f}",
    "exchange ms": "{:.3f}",
}


def run(name: str, measure: Measure, *, rounds: int, json_file: Path | None, page: Page | None = None) -> int:
    """Run a benchmark and print its table, with the machine and the versions below it.

    name: in the JSON file and in the progress line.
    measure: returns the title, notes and rows.
    rounds: how often everything is measured.
    json_file: where the figures are written, before anything is printed; None writes no file.
    page: a file, and what makes its text of title and rows: also written.

    Returns the exit status: 1 if a variant that should have the published loss has another, or if our attack is weaker than
    the one it is timed against. A missed target is not a failure, because it may be due to the machine.
    """
    console = Console(highlight=False)
    with Console(stderr=True).status(f"measuring {name}: {rounds} interleaved rounds") as status:
        title, notes, rows = measure(rounds, lambda what: status.update(f"measuring {name}: {what}"))
    if json_file:  # printing may fail, and the figures took minutes
        figures = {"bench": name, "beside": notes, "machine": machine(), "rounds": rounds, "rows": rows}
        json_file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if page:
        file, draw = page
        file.write_text(draw(f"{title}<br>{machine()}", rows), encoding="utf-8")
    for model, same in groupby(rows, lambda row: row.get("model")):
        console.print(_table(f"{title} ({model})" if model else title, list(same)))
    for line in (*notes, machine()):
        console.print(line)
    return int(any(row.get("same loss") == "NO" or row.get("met") == "WEAKER" for row in rows))


def _table(title: str, rows: list[dict]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    columns = [column for column in rows[0] if column not in JSON_ONLY]
    for column in columns:
        table.add_column(column, justify="left" if column in LEFT_ALIGNED else "right")
    for row in rows:
        table.add_row(*(_format(column, row[column]) for column in columns))
    return table


def _format(column: str, value: object) -> str:
    if column == "target":
        return f"<= {value:g}" if isinstance(value, int | float) else str(value or "")
    if column in ("p50", "p95", "requests", "against", "ours"):
        return "" if value is None else f"{value:.1f}"
    if value is None:
        return "" if column in ("ratio", "loss", "difference", "slope") else "not measured"
    return FORMATS[column].format(value) if isinstance(value, float) else str(value)
