"""A training step's time against the number of members and the size of the images, beside straight proportion."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from trs_explorer.figures.theme import LOOKS, SERIES_COLOURS, template
from trs_explorer.files import Json

PANELS = {"members": "members", "pixels": "pixels of an image"}


def scaling_figure(rows: Sequence[Json], *, title: str = "", look: str = "light") -> go.Figure:
    """Return two panels with logarithmic axes: milliseconds of a step over members and over pixels, measured and proportional.

    rows: of `trs bench scaling`.  title: printed above.  look: one of `theme.LOOKS`.
    """
    data: list[Json] = []
    layout: Json = {
        "template": template(look),
        "title": {"text": title, "font": {"size": 14}},
        "height": 420,
        "margin": {"r": 60},
        "hovermode": "closest",
    }
    for place, (unit, name) in enumerate(PANELS.items()):
        of_unit = [row for row in rows if row["unit"] == unit]
        n, ms = [row["n"] for row in of_unit], [row["ms"] for row in of_unit]
        axis = str(place + 1) if place else ""
        common = {"x": n, "xaxis": f"x{axis}", "yaxis": f"y{axis}", "showlegend": not place}
        line = {"color": LOOKS[look].faint, "width": 1.5, "dash": "dash"}
        data.append(common | {
            "type": "scatter", "mode": "lines", "name": "proportional to the first", "y": [ms[0] * one / n[0] for one in n],
            "line": line, "hoverinfo": "skip",
        })  # fmt: skip
        data.append(common | {
            "type": "scatter", "mode": "lines+markers", "name": "measured", "y": ms,
            "line": {"color": SERIES_COLOURS[0], "width": 2}, "marker": {"size": 8},
            "customdata": [[row["setting"], row["against linear"]] for row in of_unit],
            "hovertemplate": "%{customdata[0]}: %{y:.1f} ms, %{customdata[1]:.2f} x proportional<extra></extra>",
        })  # fmt: skip
        left = 0.55 * place
        layout[f"xaxis{axis}"] = {
            "type": "log",
            "title": {"text": name},
            "tickvals": n,
            "ticktext": [str(one) if unit == "members" else "{0} × {0}".format(math.isqrt(one)) for one in n],
            "domain": [left, left + 0.45],
            "anchor": f"y{axis}",
        }
        layout[f"yaxis{axis}"] = {"type": "log", "dtick": "D2", "title": {"text": "ms a step"}, "anchor": f"x{axis}"}
    layout["legend"] = {"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"}
    return go.Figure({"data": data, "layout": layout})
