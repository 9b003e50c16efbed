"""Charts of all runs on a data set, in plotly.js's format: pure functions of stored and measured results.

A and B stand out by colour, dash and symbol. Other runs are grey; hover texts and tables name them.
"""

from collections.abc import Mapping, Sequence

from trs_explorer.evaluation.table1.columns import CLEAN, Column, Figure
from trs_explorer.evaluation.table1.rows import Row
from trs_explorer.files import Json
from trs_explorer.web.compare.stored_results import Point, Probe
from trs_explorer.web.figures import as_label, ink

STYLES = {
    "a": {"color": "#0072b2", "dash": "solid", "symbol": "circle", "words": "solid blue, circles"},
    "b": {"color": "#d55e00", "dash": "dash", "symbol": "square", "words": "dashed orange, squares"},
}
GREY = {"color": "rgba(128,128,128,.55)", "dash": "solid", "symbol": "circle-open"}
COLUMNS, HEIGHT = 4, 170  # charts per row, and the height of one in pixels
LABEL_SIDES = ("middle right", "middle left")  # alternate from the lowest point up, so that labels do not overlap
WORST = "worst"
MASKED_SHARE = 0.5  # with more vanishing gradients of the cross-entropy than this, attacks that follow it are weak

Curves = dict[str, dict[str, list[Point]]]  # by attack, then by run


def robust_curves(rows: Sequence[Row], others: Mapping[str, Mapping[str, Sequence[Point]]] | None = None) -> Curves:
    """Return the stored accuracies over eps, starting with the clean one, by attack and run.

    rows: the table's figures; "worst" is the worst of several attacks of one eps.
    others: points of other evaluations of the same weights, by run and attack; used at radii that the table does not have.
    """
    curves: Curves = {}
    for row in rows:
        clean = row.figures.get(CLEAN)
        first = [_point(CLEAN, clean)] if clean else []
        for column in (c for c in row.figures if c.eps):
            curves.setdefault(_attack(column), {}).setdefault(row.run, [*first]).append(_point(column, row.figures[column]))
        for attack, points in (others or {}).get(row.run, {}).items():
            line = curves.setdefault(attack, {}).setdefault(row.run, [*first])
            radii = {point[0] for point in line}
            line += [point for point in points if point[0] not in radii]
    return {attack: {run: sorted(points) for run, points in runs.items()} for attack, runs in curves.items()}


def curves_caption(curves: Curves, rows: Sequence[Row], sides: Mapping[str, str]) -> str:
    """Describe the stored curves: their source, which lines are A and B, and which runs have none."""
    if not curves:
        return "Nothing is stored yet: run trs compare to measure it."
    runs_with_curve = {run for runs in curves.values() for run in runs}
    sentences = ["Stored by trs compare and trs evaluate; 95 % intervals on A and B, other runs in grey."]
    for side, run in sides.items():
        line = STYLES[side]["words"] if run in runs_with_curve else "nothing is stored, trs compare measures it"
        sentences.append(f"{side.upper()} ({run}): {line}.")
    if masked := ", ".join(row.label for row in rows if row.masked):
        sentences.append(f"Masked, so too high: {masked}.")
    return " ".join(sentences)


def _attack(column: Column) -> str:
    return WORST if column.attack.startswith("worst") else column.attack


def _point(column: Column, figure: Figure) -> Point:
    return (column.eps or 0.0, figure.percent, *figure.interval, figure.n)


def curves_figure(curves: Mapping[str, Mapping[str, Sequence[Point]]], sides: Mapping[str, str], *, dark: bool) -> Json:
    """Draw one small chart per attack: accuracy in % over eps, one line per run, with 95 % intervals on A and B."""
    attacks = [attack for attack in curves if attack != WORST] + ([WORST] if WORST in curves else [])
    columns = min(COLUMNS, max(1, len(attacks)))
    rows = max(1, -(-len(attacks) // columns))
    layout = {**_layout(dark), "grid": {"rows": rows, "columns": columns, "pattern": "independent", "ygap": 0.34, "xgap": 0.14}}
    layout |= {"showlegend": False, "annotations": [], "height": HEIGHT * rows + 60}
    data: list[Json] = []
    for place, attack in enumerate(attacks):
        axis = str(place + 1) if place else ""
        layout[f"xaxis{axis}"] = {
            **_axis(),
            "title": {"text": "eps" if place >= len(attacks) - columns else "", "standoff": 2},
            "rangemode": "tozero",
        }
        layout[f"yaxis{axis}"] = {**_axis(), "range": [-3, 103], "dtick": 50}
        title = "worst of several" if attack == WORST else attack
        note = {"text": f"<b>{as_label(title)}</b>", "x": 0.5, "y": 1, "xref": f"x{axis} domain", "yref": f"y{axis} domain"}
        layout["annotations"].append({**note, "showarrow": False, "yanchor": "bottom", "font": {"size": 12}})
        for run, points in sorted(curves[attack].items(), key=lambda item: item[0] in sides.values()):
            data.append(_curve(run, points, sides) | {"xaxis": f"x{axis}", "yaxis": f"y{axis}"})
    return {"data": data, "layout": layout}


def _curve(run: str, points: Sequence[Point], sides: Mapping[str, str]) -> Json:
    style, chosen = _style(run, sides)
    trace: Json = {
        "type": "scatter", "mode": "lines+markers", "name": as_label(run),
        "x": [p[0] for p in points], "y": [p[1] for p in points],
        "line": {"color": style["color"], "dash": style["dash"], "width": 2.5 if chosen else 1},
        "marker": {"symbol": style["symbol"], "size": 7 if chosen else 4, "color": style["color"]},
        "customdata": [f"{low:.1f}-{high:.1f}, n {n}" for _, _, low, high, n in points],
        "hovertemplate": f"{as_label(run)}<br>eps %{{x}}: %{{y:.1f}} % (%{{customdata}})<extra></extra>",
    }  # fmt: skip
    if chosen:
        above, below = [p[3] - p[1] for p in points], [p[1] - p[2] for p in points]
        trace["error_y"] = {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1.3, "width": 3}
    return trace


def cosine_figure(probes: Mapping[str, Probe], labels: Mapping[str, str], sides: Mapping[str, str], *, dark: bool) -> Json:
    """Plot mean |cos| of the members' gradients against transfer, one point per run: low |cos| alone is not low transfer."""
    points = {name: (probe.cosine, probe.percent, *probe.interval) for name, probe in probes.items()}
    labels = {name: labels.get(name, name) + (" †" if probe.vanishing > MASKED_SHARE else "") for name, probe in probes.items()}
    figure = _scatter(points, labels, sides, dark=dark)
    figure["layout"] |= {
        "xaxis": {
            **_axis(),
            "title": {"text": "mean |cos| of pairs of gradients", "standoff": 4},
            "range": [-0.27, 1.03],
            "tickvals": [0, 0.25, 0.5, 0.75, 1],
        },
        "yaxis": {**_axis(), "title": {"text": "transfer, %"}, "range": [-8, 104]},
    }
    return figure


def robust_figure(
    rows: Sequence[Row], probes: Mapping[str, Probe], labels: Mapping[str, str], sides: Mapping[str, str], *, dark: bool
) -> tuple[Json, str]:
    """Plot the ensemble's robust accuracy against transfer between its members, one point per run; also name the attacks."""
    column = next((c for row in rows for c in sorted(row.figures, key=lambda c: c.eps or 0.0) if _attack(c) == WORST), None)
    points = {}
    for row in rows:
        figure = row.figures.get(column) if column else None
        if figure and row.run in probes:
            probe = probes[row.run]
            points[row.run] = (probe.percent, figure.percent, *figure.interval)
    labels = {row.run: labels.get(row.run, row.run) + (" ‡" if row.masked else "") for row in rows}
    chart = _scatter(points, labels, sides, dark=dark)
    attacks = column.words if column else "no attack: no table is stored"
    chart["layout"] |= {
        "xaxis": {
            **_axis(),
            "title": {"text": "transfer between members, %", "standoff": 4},
            "range": [-27, 104],
            "tickvals": [0, 25, 50, 75, 100],
        },
        "yaxis": {**_axis(), "title": {"text": "ensemble robust accuracy, %"}, "range": [-8, 104]},
    }
    return chart, attacks


def _scatter(points: Mapping[str, Sequence[float]], labels: Mapping[str, str], sides: Mapping[str, str], *, dark: bool) -> Json:
    """Draw a scatter chart. points: by run, x, y, and the interval of y."""
    data = []
    for place, (name, (x, y, low, high)) in enumerate(sorted(points.items(), key=lambda item: item[1][1])):
        style, chosen = _style(name, sides)
        error = {"array": [high - y], "arrayminus": [y - low], "color": style["color"], "thickness": 1.2}
        data.append({
            "type": "scatter", "mode": "markers+text", "name": as_label(name), "x": [x], "y": [y],
            "text": [as_label(labels.get(name, name))],
            "textposition": LABEL_SIDES[place % len(LABEL_SIDES)],
            "textfont": {"size": 12, "color": ink(dark).text if chosen else ink(dark).faint},
            "marker": {"symbol": style["symbol"], "size": 12 if chosen else 8, "color": style["color"]},
            "error_y": {"type": "data", "symmetric": False, **error},
            "hovertemplate": f"{as_label(name)}: %{{x:.3g}}, %{{y:.1f}} ({low:.1f}-{high:.1f})<extra></extra>",
        })  # fmt: skip
    return {"data": data, "layout": {**_layout(dark), "showlegend": False}}


def _style(run: str, sides: Mapping[str, str]) -> tuple[Json, bool]:
    side = next((side for side, name in sides.items() if name == run), None)
    return (STYLES[side], True) if side else (GREY, False)


def _axis() -> Json:
    return {"gridcolor": "rgba(128,128,128,.25)", "zeroline": False, "fixedrange": True}


def _layout(dark: bool) -> Json:
    colours = ink(dark)
    return {
        "margin": {"l": 48, "r": 10, "t": 22, "b": 40}, "dragmode": False, "hovermode": "closest",
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "font": {"color": colours.text, "size": 12},
        "hoverlabel": {"bgcolor": colours.paper, "font": {"color": colours.text}},
    }  # fmt: skip
