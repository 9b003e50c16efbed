"""Colours and plotly templates of all figures: one look each for light pages, dark pages and print."""

import colorsys
import math
from dataclasses import dataclass
from html import escape

from trs_explorer.files import Json

# Okabe and Ito's seven colours, which colour-blind people can tell apart, and three more; every use has a second cue.
CLASS_COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#a58bd6", "#a6761d", "#8fd3c7")
SERIES_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#a6761d", "#8b7bd8")
SERIES_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
UNDEFINED = "#808080"  # the colour of outputs that are not a number
GOLDEN = (math.sqrt(5) - 1) / 2  # steps of hue that never come back to an earlier one
FONT = "system-ui, sans-serif"


@dataclass(frozen=True)
class Look:
    """The colours of one look.

    text: of titles and numbers.
    faint: of axes and ticks.
    paper: the page behind the figure.
    background: the figure's own; transparent where it lies on a page.
    grid: of grid lines.
    """

    text: str
    faint: str
    paper: str
    background: str
    grid: str = "rgba(128,128,128,.25)"


LOOKS = {
    "light": Look("#1b1f24", "#5b6470", "#ffffff", "rgba(0,0,0,0)"),
    "dark": Look("#e8eaed", "#a4adb8", "#14171b", "rgba(0,0,0,0)"),
    "print": Look("#000000", "#444444", "#ffffff", "#ffffff"),
}


def class_colours(classes: int) -> list[str]:
    """Return one colour per class, all different: the first ten are CLASS_COLOURS, further ones are computed."""
    colours = list(CLASS_COLOURS[:classes])
    for k in range(len(colours), classes):
        lightness = (0.42, 0.58, 0.74)[k % 3]  # neighbours differ in lightness too
        red, green, blue = colorsys.hls_to_rgb(k * GOLDEN % 1, lightness, 0.55)
        colours.append(f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}")
    return colours


def template(look: str) -> Json:
    """Return the plotly template of a look, for `layout.template`. look: one of LOOKS."""
    colours = LOOKS[look]
    axis = {
        "gridcolor": colours.grid,
        "linecolor": colours.faint,
        "tickcolor": colours.faint,
        "zeroline": False,
        "automargin": True,
        "title": {"standoff": 6},
    }
    return {
        "layout": {
            "font": {"family": FONT, "color": colours.text, "size": 13},
            "paper_bgcolor": colours.background,
            "plot_bgcolor": colours.background,
            "colorway": list(SERIES_COLOURS),
            "xaxis": axis,
            "yaxis": axis,
            "hoverlabel": {"bgcolor": colours.paper, "bordercolor": colours.faint, "font": {"color": colours.text}},
            "legend": {"font": {"size": 12}},
            "margin": {"l": 48, "r": 8, "t": 28, "b": 40},
            "dragmode": False,
        }
    }


def as_label(name: str) -> str:
    """Escape a name for plotly, which would show `<b>` as bold and `%{x}` as a number."""
    return escape(name, quote=False).replace("{", "&#123;")
