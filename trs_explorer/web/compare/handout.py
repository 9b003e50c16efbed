"""The Compare page as one HTML file that works without the explorer."""

from urllib.parse import urlencode

from dash import html

from trs_explorer.catalogue import DATA
from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.library import Library
from trs_explorer.explore.slices import assemble
from trs_explorer.figures.of_ensemble import attacks_to_draw
from trs_explorer.figures.slice_figure import PAGE_PX, figure_size, slice_spec
from trs_explorer.files import Json
from trs_explorer.web.compare.page import TITLES
from trs_explorer.web.compare.pair import Pair
from trs_explorer.web.compare.sections import Section, live_sections, stored_sections
from trs_explorer.web.compare.slices import Side, side_attacks, side_samples, slices_caption
from trs_explorer.web.drawing import slice_to_draw
from trs_explorer.web.history import shown_checkpoint
from trs_explorer.web.markup import Html, markup
from trs_explorer.web.plotly_script import figure_html
from trs_explorer.web.slice_cache import SliceCache
from trs_explorer.web.state import hidden_at_first

STYLE = (
    ":root{--hot:213,94,0}body{font:15px/1.4 system-ui,sans-serif;margin:1.5rem;max-width:62rem;color:#000;background:#fff}"
    "p{overflow-wrap:anywhere}"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums}td,th{padding:.15rem .5rem;text-align:left}"
    "td,th{vertical-align:top}caption{text-align:left}.cell{display:block;padding:.2rem .5rem}"
    ".cell b{display:block;font-size:1.15rem}small{font-size:.8rem}h2{margin-top:2rem}"
)


def handout(library: Library, pair: Pair, jobs: Jobs, slices: SliceCache) -> str:
    """Return the page as HTML: figures on white, matrices as far as they are measured, tables, captions, and both digests."""
    sides = side_attacks(pair, slices)
    live = live_sections(pair, jobs, look="print", again=True)
    stored = stored_sections(library, pair, look="print")
    figures = _Figures()
    body = [
        html.H1(f"A {pair.names['a']}, B {pair.names['b']}"),
        [html.P(_about(pair, side)) for side in "ab"],
        html.P(f"The same screen: trs explore, then /compare?{urlencode(pair.address())}"),
        html.H2(TITLES[DATA[pair.a.loaded.data.name].examples]),
        [[html.H3(f"{side.upper()}: {pair.names[side]}"), figures.add(_slices(sides[side], slices))] for side in "ab"],
        html.P(slices_caption(pair, sides)),
        [[html.H2(f"Transfer in {side.upper()}: {pair.names[side]}"), one.table, html.P(one.words)]
         for side, one in live.matrices.items()],
        figures.section(TITLES["live"], live.curves),
        [figures.section(TITLES[name], stored[name]) for name in ("cosine", "robust", "curves")],
        figures.section(TITLES["table"], stored["table1"]),
    ]  # fmt: skip
    title = markup(f"trs compare: {pair.names['a']} and {pair.names['b']}")
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style></head>'
        f"<body>{markup(body)}</body></html>"
    )


def _about(pair: Pair, side: str) -> str:
    loaded = pair.sides[side].loaded
    return f"{side.upper()}: {loaded.name}, {shown_checkpoint(loaded)}, weights {loaded.digest}"


def _slices(side: Side, slices: SliceCache) -> Json:
    view = side.view
    data = slice_to_draw(view, assemble(side_samples(view, slices), view.grids))
    hidden = hidden_at_first(len(view.models) - 1)
    figure = slice_spec(data, attacks_to_draw(side.attacks), surrogate=None, look="print", hidden=hidden)
    figure["layout"] |= figure_size(figure, len(view.models) - len(hidden), width=PAGE_PX)
    return figure


class _Figures:
    """Figures as HTML; plotly's script is written before the first."""

    def __init__(self) -> None:
        self._has_script = False

    def add(self, figure: Json) -> Html:
        figure = {**figure, "layout": {**figure["layout"], "width": PAGE_PX}}
        text = figure_html(figure, script=not self._has_script)
        self._has_script = True
        return Html(text)

    def section(self, title: str, section: Section) -> list:
        drawn = self.add(section.figure) if section.figure else None
        return [html.H2(title), drawn, html.P(section.words), section.table]
