"""The addresses of the Compare page."""

from collections.abc import Callable
from pathlib import Path

import plotly
from flask import Flask, Response, request, send_file

from trs_explorer.explore.library import Library
from trs_explorer.explore.live import Jobs
from trs_explorer.files import Json
from trs_explorer.web.compare import charts, live, rows, sides
from trs_explorer.web.compare.page import compare_page
from trs_explorer.web.compare.pair import Pair, pair_of
from trs_explorer.web.markup import markup
from trs_explorer.web.pages import answer, nothing_to_show
from trs_explorer.web.scenes import Scenes
from trs_explorer.web.walks import attack_of

PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
A_DAY = 86400
UNFINISHED = ("running", "paused")
MASKED = "‡: gradients are masked, the figure is too high."


def add_compare(server: Flask, library: Library, jobs: Jobs) -> None:
    """GET compare, compare/{slices,live,stored}?STATE (JSON), plotly.js."""
    scenes = Scenes()

    def told(tell: Callable[[Pair], Json]) -> Response:
        def whole() -> Json:
            pair = pair_of(library, request.args)
            digests = {side: asked.loaded.digest for side, asked in pair.sides.items()}
            return {**tell(pair), "fixed": pair.to_json(), "digests": digests, "notice": "\n".join(pair.complaints)}

        return answer(whole)

    @server.get("/compare")
    def page() -> str | Response:
        known = library.runs()
        return compare_page({name: run.config.data for name, run in known.items()}) if known else nothing_to_show()

    @server.get("/compare/slices")
    def slices() -> Response:
        return told(lambda pair: sides.both_slices(pair, scenes))

    @server.get("/compare/live")
    def measured() -> Response:
        return told(lambda pair: _live(library, pair, jobs, again=bool(request.args.get("again"))))

    @server.get("/compare/stored")
    def stored() -> Response:
        return told(lambda pair: _stored(library, pair))

    @server.get("/plotly.js")
    def plotly_js() -> Response:
        return send_file(PLOTLY, mimetype="text/javascript", max_age=A_DAY)


def _live(library: Library, pair: Pair, jobs: Jobs, *, again: bool) -> Json:
    told, found, done = live.measured(pair, jobs, again=again)
    state, (attack, _) = pair.a.state, attack_of(pair.a.state)
    count, norm = min(state.n, len(pair.a.loaded.data)), "L2" if state.norm == "l2" else "max norm"
    words = f"{attack} on the ensembles, eps in {norm}, first {count} test images, seed {state.seed}; 95 % intervals."
    figure = charts.curves_figure({attack: found}, pair.names, dark=pair.a.dark)
    training = any(library.status(name).get("state") in UNFINISHED for name in pair.names.values())
    return {**told, "curve": figure, "curveWords": words, "done": done, "training": training}


def _stored(library: Library, pair: Pair) -> Json:
    config, named, dark = pair.a.loaded.run.config, pair.names, pair.a.dark
    found = rows.stored_rows(library, config)
    labels = {one.run: one.label.removeprefix(f"{config.data}-") for one in found}
    probes = {name: probe for name in rows.same_data(library, config) if (probe := rows.last_probe(library, name))}
    robust, under = charts.robust_figure(found, probes, labels, named, dark=dark)
    curves = charts.robust_curves(found, rows.other_points(library, found))
    return {
        "curves": charts.curves_figure(curves, named, dark=dark),
        "curvesWords": charts.curves_words(curves, found, named),
        "cosine": charts.cosine_figure(probes, labels, named, dark=dark),
        "cosineWords": rows.probe_words(probes),
        "cosineTable": markup(rows.probe_table(probes, named)),
        "robust": robust,
        "robustWords": f"Right under {under}, image by image, against the transfer of the last probe, as beside. {MASKED}",
        "table": markup(rows.table(found, named)),
    }
