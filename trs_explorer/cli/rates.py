"""What `trs evaluate` prints and exports: a table a run, then what is to be said against the figures."""

import csv
from pathlib import Path


def show(result: dict, *, checks: bool) -> None:
    """A table, warnings, and which checks were made; with checks, a line for each."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console, run = Console(), escape(result["run"])
    known = any(rate["paper"] is not None for rate in result["rates"])
    title = f"{run}: right, in % (95 % interval, Wilson) of all {result['rates'][0]['n']} images"
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
    for warning in result["warnings"]:
        console.print(f"[bold]warning[/] {run}: {escape(warning)}", highlight=False)
    made = [check for check in result["trust"] if check["warnings"] is not None]
    warned = ", ".join(str(check["check"]) for check in made if check["warnings"])
    verdict = f"warnings from {warned}" if warned else "no warning"
    more = "" if checks else " (--trust makes all)"
    console.print(f"{run}: {len(made)} of {len(result['trust'])} checks of trust made, {verdict}{more}", highlight=False)
    for check in result["trust"] if checks else ():
        mark = "-" if check["warnings"] is None else "WARNS" if check["warnings"] else "passed"
        nothing = " (nothing to compare)" if check["warnings"] is None else ""
        console.print(f"{check['check']:>4}  {mark:<6}  {check['name']}{nothing}", highlight=False)


def write_csv(path: Path, results: list[dict]) -> None:
    """A row for every rate of every result; "paper" is the paper's figure, in per cent."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["run", "weights_sha256", "seed", "attack", "eps", "c", "correct", "n", "low", "high", "paper"])
        for result in results:
            for rate in result["rates"]:
                fixed = [result["run"], result["weights"], result["seed"]]
                writer.writerow([*fixed, *(rate[k] for k in ("name", "eps", "c", "correct", "n", "low", "high", "paper"))])
