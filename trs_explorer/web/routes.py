"""What the page fetches besides Dash's own: samples of slices as raw numbers, and files to save."""

import io
from collections.abc import Callable, Mapping

import numpy as np
from flask import Flask, Response, abort, request

from trs_explorer.explore.library import Library
from trs_explorer.explore.live import turn
from trs_explorer.explore.slices import LEVELS, Cancelled, assemble
from trs_explorer.files import Json
from trs_explorer.options import UsageError
from trs_explorer.parse_events import parse_step
from trs_explorer.runs import RunError
from trs_explorer.tables import to_csv
from trs_explorer.web import pages
from trs_explorer.web.asked import Asked, understand
from trs_explorer.web.figures import slice_figure
from trs_explorer.web.scene import Scene
from trs_explorer.web.scenes import Scenes
from trs_explorer.web.walks import Walks, make_walks


def add_routes(server: Flask, library: Library) -> None:
    """GET scene, walks, surrogate, angles, figure (?STATE, JSON), slice/KEY/LEVEL (little-endian float32), export/ (files)."""
    scenes = Scenes()

    def answer(tell: Callable[[Asked, Mapping[str, object]], Json]) -> Response:
        return pages.answer(lambda: tell(understand(library, request.args), request.args))

    @server.get("/scene")
    def scene() -> Response:
        return answer(scenes.tell)

    @server.get("/walks")
    def walks() -> Response:
        return answer(scenes.walks)

    @server.get("/surrogate")
    def surrogate() -> Response:
        return answer(scenes.surrogate)

    @server.get("/angles")
    def angles() -> Response:
        return answer(scenes.angles)

    @server.get("/slice/<key>/<int:level>")
    def slice_level(key: str, level: int) -> Response:
        drawn = scenes.get(key)
        if drawn is None or level >= len(LEVELS):
            abort(404)
        try:
            found = scenes.samples(drawn, level, request.headers.get("X-Client", "")[:64])
        except Cancelled:
            return Response(status=204)  # a newer request took its place
        answer = Response(found.astype("<f4", copy=False).tobytes(), mimetype="application/octet-stream")
        answer.headers["Cache-Control"] = "private, max-age=86400, immutable"
        return answer

    @server.get("/figure")
    def figure() -> Response:
        try:
            asked = understand(library, request.args)
            with turn():
                scene = scenes.drawn(asked).scene
                walks = make_walks(asked.loaded, asked.state, scene)
        except (UsageError, RunError) as error:
            return Response(str(error), 404, mimetype="text/plain")
        drawn = slice_figure(scene, walks, hidden=asked.state.hidden(), surrogate=asked.state.surrogate, dark=asked.dark)
        return pages.as_json({"key": scene.key, **drawn})

    @server.get("/export/slice.<kind>")
    def export(kind: str) -> Response:
        level = request.args.get("level", len(LEVELS) - 1, type=int)
        if kind not in ("csv", "npz") or not 0 <= level < len(LEVELS):
            abort(404)
        try:
            asked = understand(library, request.args)
            with turn():
                drawn = scenes.drawn(asked)
                walks = make_walks(asked.loaded, asked.state, drawn.scene) if kind == "npz" else None
        except (UsageError, RunError) as error:
            return Response(str(error), 404, mimetype="text/plain")
        logits = assemble([scenes.samples(drawn, step) for step in range(level + 1)])
        data = as_npz(drawn.scene, walks, logits) if walks else as_csv(drawn.scene, logits)
        return _file(data, f"slice-{drawn.scene.key[:8]}.{kind}")

    @server.get("/export/history/<name>.csv")
    def history(name: str) -> Response:
        try:
            events = library.events(name)
        except (UsageError, RunError):
            abort(404)
        steps = (parse_step(event) for event in events if event["kind"] == "step")
        rows = ((step.step, term, value) for step in steps for term, value in step.terms.items())
        return _file(to_csv(("step", "term", "value"), rows).encode(), f"{name}-history.csv")


def as_csv(scene: Scene, logits: np.ndarray) -> bytes:
    """A row a grid point and member: coordinates and every class's logit, with the weights' hash in the first line."""
    n, members, classes = logits.shape[0], logits.shape[2], logits.shape[3]
    along = np.linspace(scene.low, scene.high, n)
    head = ("a", "b", "member", *(f"logit {c}" for c in range(classes)))
    rows = (
        (f"{along[column]:.6g}", f"{along[row]:.6g}", scene.models[m], *(f"{v:.6g}" for v in logits[row, column, m]))
        for row in range(n)
        for column in range(n)
        for m in range(members)
    )
    about = f"weights {scene.digest}; axes: {scene.plane.names[0]} / {scene.plane.names[1]}; true class {scene.y}"
    return to_csv(head, rows, about=about).encode()


def as_npz(scene: Scene, walks: Walks, logits: np.ndarray) -> bytes:
    """Logits [row (b), column (a), member, class], the axes, the plane's vectors, the outlines and the attacks' paths."""
    along = np.linspace(scene.low, scene.high, len(logits))
    buffer = io.BytesIO()
    trails = {f"path_{name}": trail for name, trail in zip(scene.models, walks.trails, strict=True)}
    plane = {"origin": scene.plane.origin.numpy(), "u": scene.plane.u.numpy(), "v": scene.plane.v.numpy()}
    about = {"weights": np.array(scene.digest), "axes": np.array(scene.plane.names), "y": np.array(scene.y)}
    np.savez_compressed(buffer, logits=logits, a=along, b=along, ball=walks.ball, box=scene.box, **plane, **trails, **about)
    return buffer.getvalue()


def _file(data: bytes, name: str) -> Response:
    answer = Response(data, mimetype="text/csv" if name.endswith("csv") else "application/octet-stream")
    answer.headers.set("Content-Disposition", "attachment", filename=name)
    return answer
