"""The routes of the Compare page."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import plotly
from flask import Flask, Response, request, send_file

from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.library import Library
from trs_explorer.figures.runs import RunPoint, curves_spec, scatter_spec
from trs_explorer.files import Json
from trs_explorer.web.attack_paths import configured_attack
from trs_explorer.web.compare import charts, measurements, stored_results
from trs_explorer.web.compare.page import compare_page
from trs_explorer.web.compare.pair import Pair, parse_pair
from trs_explorer.web.compare.slices import both_slices
from trs_explorer.web.markup import markup
from trs_explorer.web.pages import json_response, no_runs_page
from trs_explorer.web.slice_cache import SliceCache

PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
ONE_DAY_S = 86400
UNFINISHED = ("running", "paused")
TRANSFER = "transfer between members, %"
MASKED = "‡: gradients are masked, the accuracy is too high."


def add_compare(server: Flask, library: Library, jobs: Jobs) -> None:
    """Add /compare, /compare/{slices,live,stored} (JSON; the query string is the state), and /plotly.js."""
    slices = SliceCache()

    def respond(respond_to: Callable[[Pair], Json]) -> Response:
        def compute() -> Json:
            pair = parse_pair(library, request.args)
            digests = {side: one.loaded.digest for side, one in pair.sides.items()}
            return {**respond_to(pair), "fixed": pair.to_json(), "digests": digests, "notice": "\n".join(pair.warnings)}

        return json_response(compute)

    @server.get("/compare")
    def page() -> str | Response:
        library_runs = library.runs()
        return compare_page({name: run.config.data for name, run in library_runs.items()}) if library_runs else no_runs_page()

    @server.get("/compare/slices")
    def compare_slices() -> Response:
        return respond(lambda pair: both_slices(pair, slices))

    @server.get("/compare/live")
    def live() -> Response:
        return respond(lambda pair: _live(library, pair, jobs, again=bool(request.args.get("again"))))

    @server.get("/compare/stored")
    def stored() -> Response:
        return respond(lambda pair: _stored(library, pair))

    @server.get("/plotly.js")
    def plotly_js() -> Response:
        return send_file(PLOTLY, mimetype="text/javascript", max_age=ONE_DAY_S)


def _live(library: Library, pair: Pair, jobs: Jobs, *, again: bool) -> Json:
    matrices, curves, done = measurements.live_measurements(pair, jobs, again=again)
    state, (attack, _) = pair.a.state, configured_attack(pair.a.state)
    count, norm = min(state.n, len(pair.a.loaded.data)), "L2" if state.norm == "l2" else "max norm"
    caption = f"{attack} on the ensembles, eps in {norm}, first {count} test images, seed {state.seed}; 95 % intervals."
    figure = curves_spec({attack: curves}, pair.names, look=_look(pair))
    training = any(library.status(name).get("state") in UNFINISHED for name in pair.names.values())
    return {**matrices, "curve": figure, "curveWords": caption, "done": done, "training": training}


def _stored(library: Library, pair: Pair) -> Json:
    config, names, look = pair.a.loaded.run.config, pair.names, _look(pair)
    rows = stored_results.stored_rows(library, config)
    labels = {row.run: row.label.removeprefix(f"{config.data}-") for row in rows}
    runs = stored_results.runs_on_same_data(library, config)
    probes = {name: probe for name in runs if (probe := stored_results.last_probe(library, name))}
    cosines = charts.cosine_points(probes, labels)
    accuracies, attacks = charts.robust_points(rows, probes, labels)
    if accuracies:
        robust_caption = f"Accuracy under {attacks}, image by image, against the transfer rate of the last probe. {MASKED}"
    else:
        robust_caption = "No accuracy under several attacks is stored for these runs yet. Measure it with: trs compare"
    curves = charts.robust_curves(rows, stored_results.other_points(library, rows))
    return {
        "curves": curves_spec(curves, names, look=look) if curves else None,
        "curvesWords": charts.curves_caption(curves, rows, names),
        "cosine": _scatter(cosines, names, x_title="mean |cos| of pairs of gradients", y_title=TRANSFER, x_span=1.0, look=look),
        "cosineWords": stored_results.probe_caption(probes),
        "cosineTable": markup(stored_results.probe_table(probes, names)),
        "robust": _scatter(accuracies, names, x_title=TRANSFER, y_title="ensemble robust accuracy, %", look=look),
        "robustWords": robust_caption,
        "table": markup(stored_results.table1(rows, names)),
    }


def _scatter(points: Mapping[str, RunPoint], names: Mapping[str, str], **settings: Any) -> Json | None:
    """Draw a scatter chart; None without any point: an empty chart would say nothing."""
    return scatter_spec(points, names, **settings) if points else None


def _look(pair: Pair) -> str:
    return "dark" if pair.a.dark else "light"
