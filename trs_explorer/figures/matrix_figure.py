"""The transfer matrix as a figure: a row for each model that is attacked, a column for each that its images are tried on."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from trs_explorer.figures.theme import LOOKS, as_label, template
from trs_explorer.files import Json

HOT = "213,94,0"  # the colour of a rate of 100 %; the number is its second cue
CELL_PX, BRIEF_PX, HEAD_PX, LINE_PX = 64, 32, 56, 18  # heights: of a cell with and without its interval
PAGE_PX, COLUMN_PX, NAMES_PX = 560, 46, 110  # widths on a page: of a small matrix; of a column of a large one, and of its names
SMALL = 8  # members above which a cell shows its rate alone


@dataclass(frozen=True, eq=False)
class Transfer:
    """Transfer between models, [surrogate, target]: rates are fooled / eligible.

    surrogates, targets: names of the models that attacks are made on, and of those that the images are tried on.
    fooled, eligible: numbers of images.
    intervals: the 95 % interval of each rate, as shares.
    """

    surrogates: Sequence[str]
    targets: Sequence[str]
    fooled: Sequence[Sequence[int]]
    eligible: Sequence[Sequence[int]]
    intervals: Sequence[Sequence[tuple[float, float]]]

    def rate(self, surrogate: int, target: int) -> float | None:
        """The share of eligible images that fool the target; None without any."""
        eligible = self.eligible[surrogate][target]
        return self.fooled[surrogate][target] / eligible if eligible else None


def matrix_figure(transfer: Transfer, **settings: object) -> go.Figure:
    """Return the matrix as a plotly figure, every property checked by plotly. Arguments: see `matrix_spec`."""
    return go.Figure(matrix_spec(transfer, **settings))  # type: ignore[arg-type]


def matrix_spec(transfer: Transfer, *, selected: tuple[int, int] | None = None, look: str = "light", caption: str = "") -> Json:
    """Draw a cell for each pair, with its rate in %, 95 % interval and number of images, as a plain dictionary.

    selected: (surrogate, target) of the cell with a frame.
    look: one of `theme.LOOKS`.
    caption: printed below, for exports; its lines are kept.
    """
    rows, columns = len(transfer.surrogates), len(transfer.targets)
    brief = rows > SMALL
    cells = [[_cell(transfer, i, j, brief=brief) for j in range(columns)] for i in range(rows)]
    ink = LOOKS[look].text
    heat = {
        "type": "heatmap",
        "z": [[None if (rate := transfer.rate(i, j)) is None else 100 * rate for j in range(columns)] for i in range(rows)],
        "x": list(range(columns)), "y": list(range(rows)), "zmin": 0, "zmax": 100, "showscale": False, "xgap": 2, "ygap": 2,
        "colorscale": [[0, f"rgba({HOT},.04)"], [1, f"rgba({HOT},.6)"]], "hoverongaps": True,
        "customdata": [[hover for _, hover in row] for row in cells], "hovertemplate": "%{customdata}<extra></extra>",
    }  # fmt: skip
    lines = [as_label(line) for line in caption.splitlines()]
    below = LINE_PX * len(lines) + 8 if lines else 4
    axis = {"showgrid": False, "showline": False, "ticks": "", "fixedrange": True, "tickfont": {"size": 13}}
    layout: Json = {
        "template": template(look),
        "height": (BRIEF_PX if brief else CELL_PX) * rows + HEAD_PX + below - 4,
        "margin": {"l": 8, "r": 8, "t": HEAD_PX - 8, "b": below},
        "xaxis": axis | _names(transfer.targets) | {"side": "top", "title": {"text": "fools →", "standoff": 2}},
        "yaxis": axis
        | _names(transfer.surrogates)
        | {"autorange": "reversed", "title": {"text": "attack made on ↓", "standoff": 4}},
        "shapes": [_frame(*selected, ink)] if selected else [],
        # Not the trace's own text: plotly draws lines of two sizes over one another there.
        "annotations": [
            {"text": cells[i][j][0], "x": j, "y": i, "showarrow": False, "font": {"size": 13 if brief else 15, "color": ink}}
            for i in range(rows) for j in range(columns)
        ],
    }  # fmt: skip
    if lines:
        layout["annotations"].append({
            "text": "<br>".join(lines), "x": 0, "y": 0, "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "top",
            "yshift": -4, "showarrow": False, "align": "left",
        })  # fmt: skip
    return {"data": [heat], "layout": layout}


def matrix_width(columns: int) -> int:
    """Return the width on a page of a figure with so many columns, in pixels: all numbers are legible."""
    return max(PAGE_PX, COLUMN_PX * columns + NAMES_PX)


def _cell(transfer: Transfer, i: int, j: int, *, brief: bool) -> tuple[str, str]:
    """Return what a cell shows, and what it says under the mouse."""
    pair = f"attack made on {as_label(transfer.surrogates[i])}, tried on {as_label(transfer.targets[j])}"
    rate = transfer.rate(i, j)
    if rate is None:
        return "-", f"{pair}: no image yet"
    low, high = (100 * end for end in transfer.intervals[i][j])
    counts = f"{transfer.fooled[i][j]} of {transfer.eligible[i][j]} images"
    details = "" if brief else f"<br><span style='font-size:11px'>{low:.0f}-{high:.0f}, n {transfer.eligible[i][j]}</span>"
    return f"<b>{100 * rate:.0f}</b>{details}", f"{pair}: {100 * rate:.1f} % ({low:.1f}-{high:.1f}), {counts}"


def _names(models: Sequence[str]) -> Json:
    return {"tickvals": list(range(len(models))), "ticktext": [as_label(name) for name in models]}


def _frame(surrogate: int, target: int, colour: str) -> Json:
    return {
        "type": "rect", "x0": target - 0.5, "x1": target + 0.5, "y0": surrogate - 0.5, "y1": surrogate + 0.5,
        "line": {"color": colour, "width": 2},
    }  # fmt: skip
