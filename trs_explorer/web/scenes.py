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
from trs_explorer.web.scene import Scene, make_scene, packed, the
from trs_explorer.web.state import State
from trs_explorer.web.walks import Walks, make_walks, slice_words

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
        """The scene that was asked for with its coarsest samples, and the state as it was understood."""
        with turn():
            scene = make_scene(asked.loaded, asked.state)
            self.put(scene, asked.loaded)
            first = self.samples(Drawn(scene, asked.loaded), 0)
        own, image = asked.state.own, asked.state.image
        picked = f"own picture: taken as a {scene.y} ({scene.whose})" if own else f"{image}: class {scene.y} ({scene.whose})"
        return {**scene.to_json(), "first": packed(first), "picked": markup(picked), **understood(asked, wish)}


def tell_walks(asked: Asked, wish: Mapping[str, object]) -> Json:
    """The attacks in that scene, and all in words. "key" says which scene it is: the page may have gone on."""
    state, loaded = asked.state, asked.loaded
    with turn():
        scene = make_scene(loaded, state)
        walks = make_walks(loaded, state, scene)
        found = angles(loaded.ensemble, scene.x[None], torch.tensor([scene.y]), eps=state.eps, norm=state.norm, seed=state.seed)
    return {
        **walks.to_json(),
        "key": scene.key,
        "words": markup(slice_words(scene, walks, state)),
        "angleWords": markup(in_words(found, **_attack_and_pair(scene, walks, state))),
        "angleTable": markup(angle_table(found)),
        **understood(asked, wish),
    }


def understood(asked: Asked, wish: Mapping[str, object]) -> Json:
    """The state as it was understood, whole, which of its fields are not what was wished, and what is to be said of that."""
    fixed = asked.state.to_json()
    corrected = [name for name, value in fixed.items() if not _granted(wish.get(name), value)]
    return {"fixed": fixed, "corrected": corrected, "notice": "\n".join(asked.complaints)}


def _attack_and_pair(scene: Scene, walks: Walks, state: State) -> dict:
    """Whom the attack on the surrogate fools, and which two members' angle is of interest, for `angles.in_words`."""
    fooled = [the(name) for k, name in enumerate(scene.models) if walks.fools(state.surrogate, k)]
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
