"""The slices of this process: views and samples are computed once, and answered from memory afterwards."""

from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock

import numpy as np
import torch

from trs_explorer.explore.angles import angles, angles_sentence, fooled_sentence
from trs_explorer.explore.array_cache import ArrayCache
from trs_explorer.explore.compute_lock import PROCESS_LOCK
from trs_explorer.explore.latest import Latest
from trs_explorer.explore.slices import coordinates, new_points, sample
from trs_explorer.files import Json
from trs_explorer.web.attack_paths import make_attack_paths, slice_caption, surrogate_path
from trs_explorer.web.history import angle_table
from trs_explorer.web.markup import markup
from trs_explorer.web.page_request import PageRequest
from trs_explorer.web.slice_view import SliceView, base64_floats, make_slice_view, the
from trs_explorer.web.state import SLICE_FIELDS

MAX_VIEWS = 128
_SAMPLES = ArrayCache()  # of this process: all pages may show the same slice


class SliceCache:
    """Slice views by key, with their samples and the responses to the page that are about one slice."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._by_key, self._by_fields = OrderedDict[str, SliceView](), OrderedDict[tuple, SliceView]()
        self._samples, self._latest = _SAMPLES, Latest()

    def view(self, request: PageRequest) -> SliceView:
        """Return the request's slice; it is built anew only if a field that it depends on has changed."""
        fields = (request.loaded.digest, *(getattr(request.state, name) for name in SLICE_FIELDS))
        with self._lock:
            cached = self._by_fields.get(fields)
        view = cached or make_slice_view(request.loaded, request.state)
        with self._lock:
            _put_last(self._by_fields, fields, view)
            _put_last(self._by_key, view.key, view)
        return view

    def get(self, key: str) -> SliceView | None:
        """Return the view with this key; None if it is not cached (any more)."""
        with self._lock:
            return self._by_key.get(key)

    def samples(self, view: SliceView, level: int, client: str = "") -> np.ndarray:
        """Return the logits at a level's new points, [point, member, class].

        Raises: Cancelled as soon as the same client requests another slice.
        """
        cached = self._samples.get((view.key, level))
        ticket = self._latest.enter(f"slice of {client}") if client else None
        if cached is not None:
            return cached
        points = coordinates(new_points(level), level, low=view.low, high=view.high)
        stop = ticket.cancelled if ticket else (lambda: False)
        logits = sample(view.loaded.ensemble, view.plane, points, stop=stop, lock=PROCESS_LOCK.hold)
        return self._samples.put((view.key, level), logits)

    def slice_response(self, request: PageRequest, fields: Mapping[str, object]) -> Json:
        """Respond with the slice, its coarsest samples, and the resolved state."""
        with PROCESS_LOCK.hold():
            view = self.view(request)
            first = self.samples(view, 0)
        uploaded, image = request.state.own, request.state.image
        picked = f"own picture: class {view.y}" if uploaded else f"{image}: class {view.y}"
        return {
            **view.to_json(),
            "first": base64_floats(first),
            "picked": markup(f"{picked} ({view.label_source})"),
            **request.resolved_fields(fields),
        }

    def attack_response(self, request: PageRequest, fields: Mapping[str, object]) -> Json:
        """Respond with the attack paths in the slice and their caption. "key": the page may show another slice by now."""
        with PROCESS_LOCK.hold():
            view = self.view(request)
            attacks = make_attack_paths(request.loaded, request.state, view)
        surrogate = request.state.surrogate
        fooled = [the(name) for k, name in enumerate(view.models) if attacks.fools(surrogate, k)]
        return {
            **attacks.to_json(),
            "key": view.key,
            "words": markup(slice_caption(view, attacks, request.state)),
            "fooledWords": markup(fooled_sentence(the(view.models[surrogate]), fooled)),
            **request.resolved_fields(fields),
        }

    def surrogate_response(self, request: PageRequest, fields: Mapping[str, object]) -> Json:
        """Respond with the attack on the surrogate alone: one of `attack_response`, in a third of the time."""
        with PROCESS_LOCK.hold():
            view = self.view(request)
            path = surrogate_path(request.loaded, request.state, view)
        return {**path, "key": view.key, **request.resolved_fields(fields)}

    def angles_response(self, request: PageRequest, fields: Mapping[str, object]) -> Json:
        """Respond with the angles between the members' gradients at the image and around it, as a sentence and a table."""
        state = request.state
        with PROCESS_LOCK.hold():
            view = self.view(request)
            x, y = view.x[None], torch.tensor([view.y])
            measured = angles(request.loaded.ensemble, x, y, eps=state.eps, norm=state.norm, seed=state.seed)
        i, j = state.surrogate, state.target
        pair = (i, j) if i != j and max(i, j) < len(request.loaded.ensemble) else None
        return {
            "words": markup(angles_sentence(measured, pair=pair)),
            "table": markup(angle_table(measured)),
            "key": view.key,
            **request.resolved_fields(fields),
        }


def _put_last(views: OrderedDict, key: object, view: SliceView) -> None:
    """Store a view as the most recent one, and drop the oldest."""
    views[key] = view
    views.move_to_end(key)
    while len(views) > MAX_VIEWS:
        views.popitem(last=False)
