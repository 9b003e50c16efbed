"""The scenes of this process, their samples, and what the page is told about one."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch

from trs_explorer.explore.angles import angles, in_words
from trs_explorer.explore.library import Loaded
from trs_explorer.explore.live import Cache, Latest, turn
from trs_explorer.explore.slices import coordinates, new_points, sample
from trs_explorer.files import Json
from trs_explorer.web.asked import Asked
from trs_explorer.web.history import angle_table
from trs_explorer.web.markup import markup
from trs_explorer.web.scene import Scene, image_of, make_scene, packed, slice_words, the
from trs_explorer.web.state import State

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
        points = coordinates(new_points(level), level, low=scene.low, high=scene.high)
        stop = ticket.cancelled if ticket else (lambda: False)
        found = sample(drawn.loaded.ensemble, scene.plane, points, stop=stop, turn=turn)
        return self._samples.put((scene.key, level), found)

    def tell(self, asked: Asked, wish: Mapping[str, object]) -> Json:
        """The scene that was asked for with its coarsest samples, the state as it was understood, and all in words."""
        state, loaded = asked.state, asked.loaded
        with turn():
            scene = make_scene(loaded, state)
            x, y, whose = image_of(loaded, state)
            found = angles(loaded.ensemble, x[None], torch.tensor([y]), eps=state.eps, seed=state.seed)
            self.put(scene, loaded)
            first = self.samples(Drawn(scene, loaded), 0)
        fixed = state.to_json()
        return {
            **scene.to_json(),
            "first": packed(first),
            "fixed": fixed,
            "corrected": [name for name, value in fixed.items() if not _granted(wish.get(name), value)],
            "words": markup(slice_words(scene, state)),
            "angleWords": markup(in_words(found, **_attack_and_pair(scene, state))),
            "angleTable": markup(angle_table(found)),
            "picked": markup(f"own picture: taken as a {y} ({whose})" if state.own else f"{state.image}: class {y} ({whose})"),
            "notice": "\n".join(asked.complaints),
        }


def _attack_and_pair(scene: Scene, state: State) -> dict:
    """Whom the attack on the surrogate fools, and which two members' angle is of interest, for `angles.in_words`."""
    fooled = [the(name) for k, name in enumerate(scene.models) if scene.fools(state.surrogate, k)]
    pair = (state.surrogate, state.target)
    members = max(pair) < len(scene.models) - 1 and pair[0] != pair[1]
    return {"fooled": {the(scene.models[state.surrogate]): fooled}, "pair": pair if members else None}


def _granted(wished: object, value: object) -> bool:
    """Whether a wish was granted; nothing wished, nothing refused."""
    if wished in (None, ""):
        return True
    try:
        return float(str(wished)) == float(str(value))
    except ValueError:
        return str(wished) == str(value)
