"""What the page's scripts fetch besides Dash's callbacks: slices, attack paths, samples as raw numbers, and exported files."""

import io
from collections.abc import Callable, Mapping

import numpy as np
from flask import Flask, Response, abort, request

from trs_explorer.explore.compute_lock import PROCESS_LOCK
from trs_explorer.explore.library import Library
from trs_explorer.explore.slices import LEVELS, Cancelled, assemble
from trs_explorer.files import Json
from trs_explorer.options import UsageError
from trs_explorer.parse_events import parse_step
from trs_explorer.runs import RunError
from trs_explorer.tables import to_csv
from trs_explorer.web import pages
from trs_explorer.web.attack_paths import AttackPaths, make_attack_paths
from trs_explorer.web.figures import slice_figure
from trs_explorer.web.page_request import PageRequest, parse_request
from trs_explorer.web.slice_cache import SliceCache
from trs_explorer.web.slice_view import SliceView


def add_routes(server: Flask, library: Library) -> None:
    """Add the routes.

    /scene, /walks, /surrogate, /angles, /figure: JSON; the query string is the state.
    /slice/KEY/LEVEL: samples as little-endian float32.
    /export/...: files.
    """
    slices = SliceCache()

    def respond(respond_to: Callable[[PageRequest, Mapping[str, object]], Json]) -> Response:
        return pages.json_response(lambda: respond_to(parse_request(library, request.args), request.args))

    @server.get("/scene")
    def scene() -> Response:
        return respond(slices.slice_response)

    @server.get("/walks")
    def walks() -> Response:
        return respond(slices.attack_response)

    @server.get("/surrogate")
    def surrogate() -> Response:
        return respond(slices.surrogate_response)

    @server.get("/angles")
    def angles() -> Response:
        return respond(slices.angles_response)

    @server.get("/slice/<key>/<int:level>")
    def slice_level(key: str, level: int) -> Response:
        view = slices.get(key)
        if view is None or level >= len(LEVELS):
            abort(404)
        try:
            samples = slices.samples(view, level, request.headers.get("X-Client", "")[:64])
        except Cancelled:
            return Response(status=204)  # a newer request has superseded this one
        response = Response(samples.astype("<f4", copy=False).tobytes(), mimetype="application/octet-stream")
        response.headers["Cache-Control"] = "private, max-age=86400, immutable"
        return response

    @server.get("/figure")
    def figure() -> Response:
        try:
            parsed = parse_request(library, request.args)
            with PROCESS_LOCK.hold():
                view = slices.view(parsed)
                attacks = make_attack_paths(parsed.loaded, parsed.state, view)
        except (UsageError, RunError) as error:
            return Response(str(error), 404, mimetype="text/plain")
        state = parsed.state
        content = slice_figure(view, attacks, hidden=state.hidden(), surrogate=state.surrogate, dark=parsed.dark)
        return pages.as_json({"key": view.key, **content})

    @server.get("/export/slice.<kind>")
    def export(kind: str) -> Response:
        level = request.args.get("level", len(LEVELS) - 1, type=int)
        if kind not in ("csv", "npz") or not 0 <= level < len(LEVELS):
            abort(404)
        try:
            parsed = parse_request(library, request.args)
            with PROCESS_LOCK.hold():
                view = slices.view(parsed)
                attacks = make_attack_paths(parsed.loaded, parsed.state, view) if kind == "npz" else None
        except (UsageError, RunError) as error:
            return Response(str(error), 404, mimetype="text/plain")
        logits = assemble([slices.samples(view, step) for step in range(level + 1)])
        data = slice_npz(view, attacks, logits) if attacks else slice_csv(view, logits)
        return _file(data, f"slice-{view.key[:8]}.{kind}")

    @server.get("/export/history/<name>.csv")
    def history(name: str) -> Response:
        try:
            events = library.events(name)
        except (UsageError, RunError):
            abort(404)
        steps = (parse_step(event) for event in events if event["kind"] == "step")
        rows = ((step.step, term, value) for step in steps for term, value in step.terms.items())
        return _file(to_csv(("step", "term", "value"), rows).encode(), f"{name}-history.csv")


def slice_csv(view: SliceView, logits: np.ndarray) -> bytes:
    """Write one row per grid point and member: coordinates and the logit of every class. The first line has the weights' hash.

    logits: [row (b), column (a), member, class].
    """
    n, members, classes = logits.shape[0], logits.shape[2], logits.shape[3]
    along = np.linspace(view.low, view.high, n)
    head = ("a", "b", "member", *(f"logit {c}" for c in range(classes)))
    rows = (
        (f"{along[column]:.6g}", f"{along[row]:.6g}", view.models[m], *(f"{v:.6g}" for v in logits[row, column, m]))
        for row in range(n)
        for column in range(n)
        for m in range(members)
    )
    about = f"weights {view.digest}; axes: {view.plane.names[0]} / {view.plane.names[1]}; true class {view.y}"
    return to_csv(head, rows, about=about).encode()


def slice_npz(view: SliceView, attacks: AttackPaths, logits: np.ndarray) -> bytes:
    """Write logits [row (b), column (a), member, class], the axes, the plane's vectors, the outlines and the attack paths."""
    along = np.linspace(view.low, view.high, len(logits))
    buffer = io.BytesIO()
    paths = {f"path_{name}": path for name, path in zip(view.models, attacks.paths, strict=True)}
    plane = {"origin": view.plane.origin.numpy(), "u": view.plane.u.numpy(), "v": view.plane.v.numpy()}
    about = {"weights": np.array(view.digest), "axes": np.array(view.plane.names), "y": np.array(view.y)}
    np.savez_compressed(buffer, logits=logits, a=along, b=along, ball=attacks.ball, box=view.box, **plane, **paths, **about)
    return buffer.getvalue()


def _file(data: bytes, name: str) -> Response:
    response = Response(data, mimetype="text/csv" if name.endswith("csv") else "application/octet-stream")
    response.headers.set("Content-Disposition", "attachment", filename=name)
    return response
