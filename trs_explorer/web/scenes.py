"""The scenes of this process, their samples, and what the page is told about one."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch

from trs_explorer.explore.angles import angles, event_line, fooled_in_words
from trs_explorer.explore.library import Loaded
from trs_explorer.explore.live import Cache, Latest, turn
from trs_explorer.explore.slices import coordinates, new_points, sample
from trs_explorer.files import Json
from trs_explorer.web.asked import Asked
from trs_explorer.web.history import angle_table
from trs_explorer.web.markup import markup
from trs_explorer.web.scene import Scene, make_scene, packed, the
from trs_explorer.web.state import SCENE
from trs_explorer.web.walks import make_walks, slice_words, surrogate_walk

KEPT_SCENES = 128
_SAMPLES = Cache()  # of this process: all pages may show the same slice


@dataclass(frozen=True)
class Drawn:
    """A scene with the members to sample."""

    scene: Scene
    loaded: Loaded


class Scenes:
    """The scenes of this process by key, and their samples: what has been computed once is answered at once."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._by_key, self._by_wish = OrderedDict[str, Drawn](), OrderedDict[tuple, Drawn]()
        self._samples, self._latest = _SAMPLES, Latest()

    def drawn(self, asked: Asked) -> Drawn:
        """What was asked for; made anew only where a field that the scene depends on has changed."""
        wish = (asked.loaded.digest, *(getattr(asked.state, name) for name in SCENE))
        with self._lock:
            known = self._by_wish.get(wish)
        drawn = known or Drawn(make_scene(asked.loaded, asked.state), asked.loaded)
        with self._lock:
            _keep(self._by_wish, wish, drawn)
            _keep(self._by_key, drawn.scene.key, drawn)
        return drawn

    def get(self, key: str) -> Drawn | None:
        """The scene of that key, None if it is not kept."""
        with self._lock:
            return self._by_key.get(key)

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
            drawn = self.drawn(asked)
            scene, first = drawn.scene, self.samples(drawn, 0)
        own, image = asked.state.own, asked.state.image
        picked = f"own picture: taken as a {scene.y} ({scene.whose})" if own else f"{image}: class {scene.y} ({scene.whose})"
        return {**scene.to_json(), "first": packed(first), "picked": markup(picked), **understood(asked, wish)}

    def walks(self, asked: Asked, wish: Mapping[str, object]) -> Json:
        """The attacks in that scene, and all in words. "key" says which scene it is: the page may have gone on."""
        with turn():
            scene = self.drawn(asked).scene
            walks = make_walks(asked.loaded, asked.state, scene)
        fooled = [the(name) for k, name in enumerate(scene.models) if walks.fools(asked.state.surrogate, k)]
        return {
            **walks.to_json(),
            "key": scene.key,
            "words": markup(slice_words(scene, walks, asked.state)),
            "fooledWords": markup(fooled_in_words(the(scene.models[asked.state.surrogate]), fooled)),
            **understood(asked, wish),
        }

    def surrogate(self, asked: Asked, wish: Mapping[str, object]) -> Json:
        """The attack on the surrogate alone: the first of `walks`, in a third of the time."""
        with turn():
            scene = self.drawn(asked).scene
            walk = surrogate_walk(asked.loaded, asked.state, scene)
        return {**walk, "key": scene.key, **understood(asked, wish)}

    def angles(self, asked: Asked, wish: Mapping[str, object]) -> Json:
        """The angles at that image and around it, in words and numbers."""
        state = asked.state
        with turn():
            scene = self.drawn(asked).scene
            x, y = scene.x[None], torch.tensor([scene.y])
            found = angles(asked.loaded.ensemble, x, y, eps=state.eps, norm=state.norm, seed=state.seed)
        i, j = state.surrogate, state.target
        pair = (i, j) if i != j and max(i, j) < len(asked.loaded.ensemble) else None
        told = {"words": markup(event_line(found, pair=pair)), "table": markup(angle_table(found))}
        return {**told, "key": scene.key, **understood(asked, wish)}


def _keep(kept: OrderedDict, key: object, drawn: Drawn) -> None:
    """Put it last; the first ones are forgotten."""
    kept[key] = drawn
    kept.move_to_end(key)
    while len(kept) > KEPT_SCENES:
        kept.popitem(last=False)


def understood(asked: Asked, wish: Mapping[str, object]) -> Json:
    """The state as it was understood, whole, which of its fields are not what was wished, and what is to be said of that."""
    fixed = asked.state.to_json()
    corrected = [name for name, value in fixed.items() if not _granted(wish.get(name), value)]
    return {"fixed": fixed, "corrected": corrected, "notice": "\n".join(asked.complaints)}


def _granted(wished: object, value: object) -> bool:
    """Whether a wish was granted; nothing wished, nothing refused."""
    if wished in (None, ""):
        return True
    try:
        return float(str(wished)) == float(str(value))
    except ValueError:
        return str(wished) == str(value)
