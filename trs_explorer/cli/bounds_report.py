"""What `trs bounds` prints and exports: the bounds beside the measured transfer, the quantities, and what makes them vacuous."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trs_explorer.cli.blocks import Column, print_table
from trs_explorer.cli.exports import as_csv
from trs_explorer.evaluation.bounds.rows import HEADER, rows
from trs_explorer.evaluation.bounds.words import percent
from trs_explorer.files import Json, printable

# Quantities of the table: heading, fields of a pair, and how several pairs are summed up, which is the way an estimate errs.
MEAN, MAX, MIN = "mean", "max", "min"
QUANTITIES = (
    ("α", ("alpha",), MEAN),
    ("η", ("risk_f", "risk_g"), MEAN),
    ("ξ", ("loss_f", "loss_g"), MEAN),
    ("ℓ_min", ("least",), MIN),
    ("S̲", ("lowest",), MIN),
    ("S̄", ("highest",), MAX),
    ("β", ("beta",), MAX),
    ("B", ("steepest",), MAX),
    ("c_F", ("c_f",), MAX),
    ("c_G", ("c_g",), MIN),
)
DIRECTION = {MEAN: "mean", MAX: "≥", MIN: "≤"}
RESPONSIVE = {"displayModeBar": False, "responsive": True}


def show(results: Sequence[Json], *, pairs: bool) -> None:
    """Print a table of all results, one for each checkpoint, and sentences about each. pairs: a row for every pair of members."""
    from rich.console import Console
    from rich.markup import escape

    console, first = Console(), results[0]
    run = escape(printable(first["run"]))
    lines = [row for result in results for row in (_pair_rows(result) if pairs else _rows(result))]
    aim = "targeted" if first["targeted"] else "untargeted"
    taken, classes = first["classes"]
    of_classes = f"all {classes} classes" if taken == classes else f"{taken} of {classes} classes of each image"
    title = f"{run}: bounds on the transfer by {aim} {first['attack']} in L2, {first['n']} test images; gradients of {of_classes}"
    console.print(f"[italic]{title}[/]", highlight=False)
    names = [] if len(results) == 1 else [Column("epoch", [row["epoch"] for row in lines])]
    names += [Column("ε", [f"{row['eps']:g}" for row in lines])]
    names += [Column("pair", [row["names"] for row in lines], "left")] if pairs else []
    columns = [
        Column("lower bound\n%", [row["lower"] for row in lines]),
        Column("Pr(T_r = 1) in %\n(95 % interval)", [row["rate"] for row in lines]),
        Column("T_r = 1 /\nimages" if pairs else "T_r = 1 /\nimages x pairs", [row["count"] for row in lines]),
        Column("upper bound\n%", [row["upper"] for row in lines]),
    ]
    columns += [
        Column(f"{heading}\n{DIRECTION[how]}", [row["values"][heading] for row in lines]) for heading, _, how in QUANTITIES
    ]
    print_table(console, names, columns)
    about = "" if pairs else f"Bounds: the strongest of {len(first['pairs']) // len(first['eps'])} ordered pairs. "
    about += "≥: the largest found, the true value is at least this. ≤: the smallest found, it is at most this."
    console.print(about, highlight=False)
    for result in results:
        if len(results) > 1:
            console.print(f"[bold]Epoch {int(result['checkpoint'].split('-')[0])}[/]", highlight=False)
        for text in result["sentences"]:
            console.print(escape(text), highlight=False)
    for warning in dict.fromkeys(warning for result in results for warning in result["warnings"]):
        console.print(f"[bold]warning[/] {run}: {escape(warning)}", highlight=False)


def _rows(result: Json) -> list[dict[str, Any]]:
    """A row for each radius, over all pairs."""
    rows = []
    for pooled in result["pooled"]:
        pairs = [pair for pair in result["pairs"] if pair["eps"] == pooled["eps"]]
        counts = pooled["transferred"], pooled["of"]
        rows.append(_row(result, pooled["eps"], pairs, counts, pooled["interval"], ""))
    return rows


def _pair_rows(result: Json) -> list[dict[str, Any]]:
    """A row for each radius and pair."""
    return [
        _row(result, pair["eps"], [pair], (pair["transferred"], pair["n"]), pair["interval"], names_of(pair))
        for pair in result["pairs"]
    ]


def names_of(pair: Mapping[str, Any]) -> str:
    """Surrogate and target of a pair: "F1 → F2"."""
    return f"F{pair['surrogate'] + 1} → F{pair['target'] + 1}"


def _row(
    result: Json, eps: float, pairs: Sequence[Json], counts: tuple[int, int], interval: Sequence[float], names: str
) -> dict[str, Any]:
    hits, tried = counts
    low, high = interval
    return {
        "epoch": str(int(result["checkpoint"].split("-")[0])),
        "eps": eps,
        "names": names,
        "lower": _bound(pairs, "lower", "at least", max),
        "rate": f"{100 * hits / tried:.1f} ({100 * low:.1f} - {100 * high:.1f})",
        "count": f"{hits} / {tried}",
        "upper": _bound(pairs, "upper", "at most", min),
        "values": {heading: _quantity(pairs, fields, how) for heading, fields, how in QUANTITIES},
    }


def _bound(pairs: Sequence[Json], side: str, limit: str, best: Callable[..., float]) -> str:
    """The strongest bound that says something, and of how many pairs one does; or that all are vacuous."""
    saying = [pair[f"{side}_bound"] for pair in pairs if pair[f"{side}_vacuous"] is None]
    if not saying:
        return "vacuous"
    return f"{limit} {percent(best(saying))}" + (f"\n({len(saying)} of {len(pairs)} pairs)" if len(pairs) > 1 else "")


def _quantity(pairs: Sequence[Json], fields: Sequence[str], how: str) -> str:
    values = [pair[field] for pair in pairs for field in fields if pair[field] is not None]
    if not values:
        return "-"
    return short_number({MEAN: sum(values) / len(values), MAX: max(values), MIN: min(values)}[how])


def short_number(value: float) -> str:
    """Three significant digits."""
    return f"{value:.3g}".replace("e+0", "e").replace("e-0", "e-")


def bounds_page(results: Sequence[Json]) -> str:
    """The figure and the sentences as an HTML page that needs no network: over eps, or along the training."""
    from html import escape

    from trs_explorer.figures.bounds_figure import bounds_spec, epochs_spec
    from trs_explorer.web.plotly_script import figure_html

    last = results[-1]
    caption = f"{printable(last['run'])}: {last['attack']}{', targeted' if last['targeted'] else ''}, {last['n']} test images"
    specs = [bounds_spec(last, look="print", caption=caption)]
    if len(results) > 1:
        specs = [epochs_spec(results, look="print", caption=caption), *specs]
    figures = [figure_html(spec, script=not k, config=RESPONSIVE) for k, spec in enumerate(specs)]
    text = "".join(f"<p>{escape(sentence)}</p>" for sentence in last["sentences"])
    title = escape(f"trs bounds: {printable(last['run'])}")
    style = "body{font:15px/1.4 system-ui,sans-serif;margin:1.5rem;max-width:60rem}"
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title><style>{style}</style>'
    )
    return f'<!DOCTYPE html><html lang="en"><head>{head}</head><body><h1>{title}</h1>{"".join(figures)}{text}</body></html>'


def bounds_csv(results: Sequence[Json]) -> str:
    """A row for every pair of members and radius of every result."""
    about = ("run", "checkpoint", "weights", "seed", "attack", "targeted")
    header = ["weights_sha256" if name == "weights" else name for name in about]
    return as_csv([*header, *HEADER], ([*(result[name] for name in about), *row] for result in results for row in rows(result)))
