"""What `trs evaluate` prints and exports: a table for each run, then the warnings about its figures."""

from collections.abc import Mapping, Sequence

from trs_explorer.cli.blocks import Column, print_table
from trs_explorer.cli.exports import as_csv
from trs_explorer.files import printable

CSV_FIELDS = ("name", "eps", "c", "correct", "n", "low", "high", "paper", "norm")
RATE_HEADER = ("run", "weights_sha256", "seed", "attack", *CSV_FIELDS[1:])
NORM_SUFFIX = {"linf": "", "l2": " in L2"}  # after a radius; the maximum norm is the usual one


def options_text(options: Mapping[str, object], names: Sequence[str], before: str) -> str:
    """Those of the attacks' options that are named and set, each with `before` before it: "; confidence 2"."""
    values = {name: options[name] for name in names if name in options}
    texts = [f"{name.replace('_', ' ')} {value if isinstance(value, str) else f'{value:g}'}" for name, value in values.items()]
    return "".join(before + text for text in texts)


def show(result: dict, *, checks: bool) -> None:
    """Print the table, the warnings, and how many sanity checks were run; with `checks`, a line for each check."""
    from rich.console import Console
    from rich.markup import escape

    console, run, rates = Console(), escape(printable(result["run"])), result["rates"]
    attack = Column("attack", [rate["name"] for rate in rates], "left")
    at = Column("ε or c", [value_of(rate) for rate in rates])
    figures = [
        Column("correct / n", [f"{rate['correct']} / {rate['n']}" for rate in rates]),
        Column("%", [percent_of(rate) for rate in rates]),
    ]
    if any(rate["paper"] is not None for rate in rates):
        figures.append(Column("the paper's", ["" if rate["paper"] is None else f"{rate['paper']:.1f}" for rate in rates]))
    balls = NORM_SUFFIX[result["options"].get("norm", "linf")]
    note = f"; ε{balls}" if balls else ""
    note += options_text(result["options"], ("confidence", "step_size"), "; ")
    console.print(f"[italic]{run}: accuracy in % (95 % Wilson interval) on {rates[0]['n']} test images{note}[/]", highlight=False)
    print_table(console, [attack, at], figures)
    for rate in rates:
        if rate.get("parts"):
            console.print(f"{run}: {parts_text(rate)}", highlight=False)
    for warning in result["warnings"]:
        console.print(f"[bold]warning[/] {run}: {escape(warning)}", highlight=False)
    done = [check for check in result["trust"] if check["warnings"] is not None]
    numbers = [str(check["check"]) for check in done if check["warnings"]]
    warned = f"{_enumeration(numbers)} warn{'s' if len(numbers) == 1 else ''}" if numbers else "no warnings"
    more = "" if checks else " (--trust runs all)"
    console.print(f"{run}: {len(done)} of {len(result['trust'])} sanity checks run; {warned}{more}", highlight=False)
    for check in result["trust"] if checks else ():
        mark = "-" if check["warnings"] is None else "WARNS" if check["warnings"] else "passed"
        nothing = " (nothing to compare)" if check["warnings"] is None else ""
        console.print(f"{check['check']:>4}  {mark:<6}  {check['name']}{nothing}", highlight=False)


def _enumeration(parts: list[str]) -> str:
    """The parts with commas and an "and": 5, 8 and 15."""
    return " and ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)


def parts_text(rate: dict) -> str:
    """What each part of an attack in parts fooled, of the images that those before it left."""
    parts = ", ".join(f"{part['attack']} {part['fooled']} of {part['attacked']}" for part in rate["parts"])
    return f"{rate['name']}, ε {rate['eps']:g}, fooled by each part in turn: {parts}"


def value_of(rate: dict) -> str:
    """The eps or c of a rate as text."""
    return f"c {rate['c']:g}" if rate["eps"] is None else f"{rate['eps']:g}"


def percent_of(rate: dict) -> str:
    """The accuracy of a rate and its interval, in per cent."""
    return in_percent(rate["correct"] / rate["n"], rate)


def in_percent(share: float, interval: dict) -> str:
    """A share and its interval, from low to high, in per cent."""
    return f"{100 * share:.1f} ({100 * interval['low']:.1f} - {100 * interval['high']:.1f})"


def rates_csv(results: list[dict]) -> str:
    """A row for every rate of every result. paper: the paper's figure in per cent. norm: of the radius, if there is one."""
    return as_csv(RATE_HEADER, (rate_row(result, rate) for result in results for rate in result["rates"]))


def rate_row(result: dict, rate: dict) -> list[object]:
    """One rate of a result, as RATE_HEADER names its values."""
    norm = rate.get("norm", "linf") if rate["eps"] else None
    return [result["run"], result["weights"], result["seed"], *({**rate, "norm": norm}[name] for name in CSV_FIELDS)]
