"""plotly's JavaScript, for pages and for files that work offline: the small bundle that ships here, if it fits."""

from functools import cache
from pathlib import Path

import plotly.io
from plotly.offline import get_plotlyjs_version

from trs_explorer.files import Json
from trs_explorer.shipped import folder

CARTESIAN = (
    folder("assets") / "web" / "plotly" / "plotly-cartesian.min.js"
)  # of the kinds of trace that are drawn here, and some more
WHOLE = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"  # four times as large, and as long to start


@cache
def plotly_script() -> Path:
    """Return the script that draws the installed plotly's figures: the small bundle if it is of the same version."""
    with CARTESIAN.open(encoding="utf-8") as file:
        return CARTESIAN if f"v{get_plotlyjs_version()}\n" in file.read(200) else WHOLE


def figure_html(figure: Json, *, script: bool = True, **options: object) -> str:
    """Return a figure as HTML that needs nothing else.

    script: with plotly's script before it, which a document needs once.
    options: of `plotly.io.to_html`.
    """
    settings = {"include_plotlyjs": False, "full_html": False, "config": {"displayModeBar": False}, "validate": False}
    code = f"<script>{plotly_script().read_text(encoding='utf-8')}</script>" if script else ""
    return code + plotly.io.to_html(figure, **settings | options)  # type: ignore[arg-type]
