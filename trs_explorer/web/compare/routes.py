"""The addresses of the Compare page."""

from collections.abc import Callable
from pathlib import Path

import plotly
from flask import Flask, Response, request, send_file

from trs_explorer.explore.library import Library
from trs_explorer.explore.live import Jobs
from trs_explorer.files import Json
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError
from trs_explorer.web.compare import charts, live, rows, sides
from trs_explorer.web.compare.page import compare_page
from trs_explorer.web.compare.pair import Pair, pair_of
from trs_explorer.web.markup import markup
from trs_explorer.web.pages import answer
from trs_explorer.web.scenes import Scenes

PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
A_DAY = 86400


def add_compare(server: Flask, library: Library, jobs: Jobs) -> None:
    """GET compare, compare/{slices,live,stored}?STATE (JSON), plotly.js."""
    scenes = Scenes()

    def told(tell: Callable[[Pair], Json]) -> Response:
        def whole() -> Json:
            pair = pair_of(library, request.args)
            return {**tell(pair), "fixed": pair.to_json(), "notice": "\n".join(pair.complaints)}

        return answer(whole)

    @server.get("/compare")
    def page() -> Response | str:
        runs = {name: library.run(name).config.data for name in library.names}
        try:
            first = pair_of(library, {}).to_json()
        except (UsageError, RunError):  # no run can be read: the page says so when it asks
            first = {}
        return compare_page(runs, first)

    @server.get("/compare/slices")
    def slices() -> Response:
        return told(lambda pair: sides.both_slices(pair, scenes))

    @server.get("/compare/live")
    def measured() -> Response:
        return told(lambda pair: _live(pair, jobs, dark=_dark()))

    @server.get("/compare/stored")
    def stored() -> Response:
        return told(lambda pair: _stored(library, pair, dark=_dark()))

    @server.get("/plotly.js")
    def plotly_js() -> Response:
        return send_file(PLOTLY, mimetype="text/javascript", max_age=A_DAY)


def _dark() -> bool:
    return request.args.get("dark") in ("1", "true")


def _named(pair: Pair) -> dict[str, str]:
    return {side: asked.loaded.name for side, asked in pair.sides.items()}


def _live(pair: Pair, jobs: Jobs, *, dark: bool) -> Json:
    told, found, done = live.measured(pair, jobs)
    state = pair.a.state
    attack = state.attack.upper() if state.attack == "fgsm" else f"{state.attack.upper()}-{state.steps}"
    count = min(state.n, len(pair.a.loaded.data))
    words = f"{attack} on the ensembles, first {count} test images, seed {state.seed}; 95 % intervals."
    return {**told, "curve": charts.curves_figure({attack: found}, _named(pair), dark=dark), "curveWords": words, "done": done}


def _stored(library: Library, pair: Pair, *, dark: bool) -> Json:
    data = pair.a.loaded.data.name
    found, named = rows.stored_rows(library, data), _named(pair)
    labels = {one.run: one.label for one in found}
    probes = {name: probe for name in rows.same_data(library, data) if (probe := rows.last_probe(library, name))}
    robust, under = charts.robust_figure(found, probes, labels, named, dark=dark)
    curves = charts.robust_curves(found)
    return {
        "curves": charts.curves_figure(curves, named, dark=dark),
        "curvesWords": "Stored with the runs by trs compare; 95 % intervals on A and B, other runs in grey."
        if curves
        else "Nothing is stored yet: trs compare measures it.",
        "cosine": charts.cosine_figure(probes, labels, named, dark=dark),
        "cosineWords": rows.probe_words(probes),
        "cosineTable": markup(rows.probe_table(probes, named)),
        "robust": robust,
        "robustWords": f"Right under {under}, against the transfer of the training's last probe, as beside.",
        "table": markup(rows.table(found, named)),
    }
