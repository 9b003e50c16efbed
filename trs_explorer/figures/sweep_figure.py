"""The figures of a sweep as a chart: what was measured over the setting that varies, with its intervals."""

from collections.abc import Sequence

import plotly.graph_objects as go

from trs_explorer.figures.theme import SERIES_COLOURS, SERIES_DASHES, as_label, template
from trs_explorer.files import Json
from trs_explorer.measure.sweep.figures import SweepRow
from trs_explorer.sweep_plan import value_text

COLUMNS, HEIGHT = 3, 240  # panels in a row, and the height of one in pixels
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")


def sweep_figure(rows: Sequence[SweepRow], *, look: str = "light") -> go.Figure:
    """Return the figures of a sweep as a plotly figure. Arguments: see `sweep_spec`."""
    return go.Figure(sweep_spec(rows, look=look))


def sweep_spec(rows: Sequence[SweepRow], *, look: str = "light") -> Json:
    """Draw a panel for each thing that was measured: the rate in % over a setting, with its 95 % interval.

    The setting is the one with the most different numbers; each combination of the other settings is a line. Where no setting
    varies in numbers, each row is a category.

    - rows: of `measure.sweep.figures.sweep_rows`.
    - look: one of `theme.LOOKS`.
    """
    labels = list(dict.fromkeys(label for row in rows for label in row.rates))
    axis_key = _axis_key(rows)
    lines: dict[str, list[SweepRow]] = {}
    for row in rows:
        lines.setdefault(_line_name(row, axis_key), []).append(row)
    columns = min(COLUMNS, max(1, len(labels)))
    lines_of_panels = max(1, -(-len(labels) // columns))
    layout: Json = {
        "template": template(look), "height": HEIGHT * lines_of_panels + 110, "hovermode": "closest", "annotations": [],
        "grid": {"rows": lines_of_panels, "columns": columns, "pattern": "independent", "ygap": 0.4, "xgap": 0.14},
        "showlegend": axis_key is not None and len(lines) > 1, "margin": {"l": 48, "r": 10, "t": 60, "b": 60},
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "top", "yref": "container"},
    }  # fmt: skip
    data: list[Json] = []
    for place, label in enumerate(labels):
        axis = str(place + 1) if place else ""
        layout[f"xaxis{axis}"] = {
            "title": {"text": as_label(axis_key or "")},
            "type": "category" if axis_key is None else "linear",
        }
        layout[f"yaxis{axis}"] = {"range": [-3, 103], "title": {"text": "%" if place % columns == 0 else ""}}
        layout["annotations"].append({
            "text": f"<b>{as_label(label)}</b>", "x": 0.5, "y": 1, "xref": f"x{axis} domain", "yref": f"y{axis} domain",
            "showarrow": False, "yanchor": "bottom",
        })  # fmt: skip
        for number, (name, same) in enumerate(lines.items()):
            trace = _trace(name, same, label, axis_key, number)
            data.append({**trace, "xaxis": f"x{axis}", "yaxis": f"y{axis}", "showlegend": place == 0})
    return {"data": data, "layout": layout}


def _trace(name: str, rows: Sequence[SweepRow], label: str, axis_key: str | None, number: int) -> Json:
    """One line of one panel; a category axis has marks without a line."""
    measured = [row for row in rows if label in row.rates]
    rates = [row.rates[label] for row in measured]
    colour, symbol = SERIES_COLOURS[number % len(SERIES_COLOURS)], SYMBOLS[number % len(SYMBOLS)]
    texts = [f"{rate.low:.1f}-{rate.high:.1f}, n {rate.n:,}{f', {rate.seeds} seeds' if rate.seeds > 1 else ''}" for rate in rates]
    return {
        "type": "scatter", "mode": "markers" if axis_key is None else "lines+markers", "name": as_label(name),
        "legendgroup": as_label(name), "cliponaxis": False,
        "x": [_row_name(row) if axis_key is None else row.varying[axis_key] for row in measured],
        "y": [rate.percent for rate in rates],
        "error_y": {"type": "data", "symmetric": False, "array": [rate.high - rate.percent for rate in rates],
                    "arrayminus": [rate.percent - rate.low for rate in rates], "thickness": 1.3, "width": 3},
        "line": {"color": colour, "dash": SERIES_DASHES[number % len(SERIES_DASHES)]},
        "marker": {"color": colour, "symbol": symbol, "size": 7},
        "customdata": texts, "hovertemplate": f"{as_label(name)}<br>%{{x}}: %{{y:.1f}} % (%{{customdata}})<extra></extra>",
    }  # fmt: skip


def _axis_key(rows: Sequence[SweepRow]) -> str | None:
    """The setting with the most different numbers, the first of several; None if none varies in numbers in all rows."""
    counts = {}
    for key in rows[0].varying if rows else ():
        values = [row.varying.get(key) for row in rows]
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            counts[key] = len(set(values))
    best = max(counts, key=lambda key: counts[key], default=None)
    return best if best is not None and counts[best] > 1 else None


def _line_name(row: SweepRow, axis_key: str | None) -> str:
    """The other settings of a row, in words."""
    if axis_key is None:
        return "all"
    others = {key: value for key, value in row.varying.items() if key != axis_key}
    return (
        ", ".join(value_text(value) if key == "method" else f"{key} {value_text(value)}" for key, value in others.items())
        or "all"
    )


def _row_name(row: SweepRow) -> str:
    """All settings of a row as a category."""
    return as_label(_line_name(row, "") if row.varying else row.name)
