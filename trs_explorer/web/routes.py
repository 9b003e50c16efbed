"""What the page fetches besides Dash's own: samples of slices as raw numbers, and files to save."""

import csv
import io
import json
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
from flask import Flask, Response, abort, request

from trs_explorer.explore.library import Library, Loaded
from trs_explorer.explore.live import Cache, Latest, turn
from trs_explorer.explore.slices import LEVELS, Cancelled, assemble, new_points, sample
from trs_explorer.explore.slices import coordinates as grid_coordinates
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError
from trs_explorer.web.asked import understand
from trs_explorer.web.figures import slice_figure
from trs_explorer.web.scene import Scene, make_scene

KEPT_SCENES = 128


@dataclass(frozen=True)
class Drawn:
    """A scene with the members to sample."""

    scene: Scene
    loaded: Loaded


class Scenes:
    """The scenes of this process by key, and their samples: what has been computed once is answered at once."""

    def __init__(self) -> None:
        self._lock, self._scenes = Lock(), OrderedDict[str, Drawn]()
        self._samples, self._latest = Cache(), Latest()

    def put(self, scene: Scene, loaded: Loaded) -> None:
        """Keep a scene; the oldest ones are forgotten."""
        with self._lock:
            self._scenes[scene.key] = Drawn(scene, loaded)
            self._scenes.move_to_end(scene.key)
            while len(self._scenes) > KEPT_SCENES:
                self._scenes.popitem(last=False)

    def get(self, key: str) -> Drawn | None:
        """The scene of that key, None if it is not kept."""
        with self._lock:
            return self._scenes.get(key)

    def samples(self, drawn: Drawn, level: int, client: str = "") -> np.ndarray:
        """The logits at a level's new points, [point, member, class]. Raises Cancelled when the client asks for another slice."""
        scene = drawn.scene
        known = self._samples.get((scene.key, level))
        ticket = self._latest.enter(f"slice of {client}") if client else None
        if known is not None:
            return known
        points = grid_coordinates(new_points(level), level, low=scene.low, high=scene.high)
        stop = ticket.cancelled if ticket else (lambda: False)
        found = sample(drawn.loaded.ensemble, scene.plane, points, stop=stop, turn=turn)
        return self._samples.put((scene.key, level), found)


def add_routes(server: Flask, scenes: Scenes, library: Library, *, readonly: bool = False) -> None:
    """GET slice/KEY/LEVEL (little-endian float32), figure?STATE, export/KEY.csv, export/KEY.npz, export/history/RUN.csv."""

    @server.get("/slice/<key>/<int:level>")
    def slice_level(key: str, level: int) -> Response:
        drawn = scenes.get(key)
        if drawn is None or level >= len(LEVELS):
            abort(404)
        try:
            found = scenes.samples(drawn, level, request.headers.get("X-Client", "")[:64])
        except Cancelled:
            return Response("a newer request took its place", 409, mimetype="text/plain")
        answer = Response(found.astype("<f4", copy=False).tobytes(), mimetype="application/octet-stream")
        answer.headers["Cache-Control"] = "private, max-age=86400, immutable"
        return answer

    @server.get("/figure")
    def figure() -> Response:
        try:
            with turn():
                asked = understand(library, request.args, readonly=readonly)
                scene = make_scene(asked.loaded, asked.state)
        except (UsageError, RunError) as error:
            return Response(str(error), 404, mimetype="text/plain")
        drawn = slice_figure(scene, hidden=asked.state.hidden(), surrogate=asked.state.surrogate, dark=asked.dark)
        return Response(json.dumps(drawn), mimetype="application/json")

    @server.get("/export/<key>.<kind>")
    def export(key: str, kind: str) -> Response:
        drawn = scenes.get(key)
        level = request.args.get("level", len(LEVELS) - 1, type=int)
        if drawn is None or kind not in ("csv", "npz") or not 0 <= level < len(LEVELS):
            abort(404)
        logits = assemble([scenes.samples(drawn, step) for step in range(level + 1)])
        data = as_csv(drawn.scene, logits) if kind == "csv" else as_npz(drawn.scene, logits)
        return _file(data, f"slice-{key[:8]}.{kind}")

    @server.get("/export/history/<name>.csv")
    def history(name: str) -> Response:
        try:
            events = library.events(name)
        except UsageError:
            abort(404)
        steps = [e for e in events if e["kind"] == "step" and isinstance(e.get("terms"), dict)]
        rows = ((e.get("step"), term, value) for e in steps for term, value in e["terms"].items())
        return _file(table(("step", "term", "value"), rows), f"{name}-history.csv")


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
    about = f"# weights {scene.digest}; axes: {scene.plane.names[0]} / {scene.plane.names[1]}; true class {scene.y}\n"
    return about.encode() + table(head, rows)


def as_npz(scene: Scene, logits: np.ndarray) -> bytes:
    """Logits [row (b), column (a), member, class], the axes, the plane's vectors, the outlines and the attacks' paths."""
    along = np.linspace(scene.low, scene.high, len(logits))
    buffer = io.BytesIO()
    trails = {f"path_{name}": trail for name, trail in zip(scene.models, scene.trails, strict=True)}
    plane = {"origin": scene.plane.origin.numpy(), "u": scene.plane.u.numpy(), "v": scene.plane.v.numpy()}
    about = {"weights": np.array(scene.digest), "axes": np.array(scene.plane.names), "y": np.array(scene.y)}
    np.savez_compressed(buffer, logits=logits, a=along, b=along, ball=scene.ball, box=scene.box, **plane, **trails, **about)
    return buffer.getvalue()


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """A CSV file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue().encode()


def _file(data: bytes, name: str) -> Response:
    answer = Response(data, mimetype="text/csv" if name.endswith("csv") else "application/octet-stream")
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer
