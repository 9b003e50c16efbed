"""One slice ready to be drawn: the plane, what lies in it, and the attacks from where the user points."""

import base64
import hashlib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from trs_explorer.catalogue import ATTACKS
from trs_explorer.catalogue import load as load_function
from trs_explorer.data import Dataset
from trs_explorer.explore.gallery import answers
from trs_explorer.explore.library import Loaded
from trs_explorer.explore.paths import Path, paths
from trs_explorer.explore.planes import (
    Plane,
    along_gradient,
    ball_polygon,
    box_polygon,
    domain,
    loss_gradients,
    three_images,
    two_gradients,
)
from trs_explorer.explore.slices import LEVELS
from trs_explorer.files import Json
from trs_explorer.options import UsageError
from trs_explorer.web.state import State, is_plane, own_pixels

Points = np.ndarray


@dataclass(frozen=True)
class Scene:
    """What a slice figure shows. Coordinates are the plane's: L2 distances in [0, 1] pixels from x; the data's own in 2-D.

    key: of weights, plane and square, so that equal keys mean equal samples.  y: the class that attacks leave.
    start: where the attacks start.  cut: whether that is not the point asked for, but what [0, 1] leaves of it.
    ball, box: corners of the plane's intersection with the attack's ball and with [0, 1]^d.
    trails: per model, members then ensemble, the shadow in the plane of the images that the attack on it visited.
    ends: [model, attacked model] the class that a model sees in the image that came back from the attack on the attacked one.
    off: how far each of those lies from the plane.  before: the class that each model sees where the attacks start.
    """

    key: str
    digest: str
    plane: Plane
    models: list[str]
    classes: int
    y: int
    low: float
    high: float
    start: tuple[float, float]
    cut: bool
    before: list[int]
    ball: Points
    box: Points
    trails: list[Points]
    ends: list[list[int]]
    off: list[float]
    attack: str
    examples: Points

    def fools(self, attacked: int, model: int) -> bool:
        """Whether the attack on one model fools another: it saw y at the start, and another class in what came back."""
        return self.before[model] == self.y != self.ends[model][attacked]

    def headline(self, model: int) -> str:
        """What an attack on a model does to it, in two or three words."""
        before, after = self.before[model], self.ends[model][model]
        if before != self.y:
            return f"{before}, wrong already"
        return f"{before}, holds" if after == before else f"{before}, attacked {after}"

    def to_json(self) -> Json:
        """All of it that the page draws."""
        return {
            "key": self.key,
            "digest": self.digest,
            "models": self.models,
            "headlines": [self.headline(k) for k in range(len(self.models))],
            "classes": self.classes,
            "shape": list(self.plane.origin.shape),
            "kind": self.plane.kind,
            "y": self.y,
            "low": self.low,
            "high": self.high,
            "levels": list(LEVELS),
            "start": list(self.start),
            "names": list(self.plane.names),
            "ball": self.ball.tolist(),
            "box": self.box.tolist(),
            "trails": [trail.tolist() for trail in self.trails],
            "before": self.before,
            "ends": self.ends,
            "examples": self.examples.tolist(),
            **{name: packed(getattr(self.plane, name).numpy()) for name in ("origin", "u", "v")},
        }


def packed(array: np.ndarray) -> str:
    """Little-endian float32 in base64: lists of numbers would be five times as long, and slow to read."""
    return base64.b64encode(array.astype("<f4", copy=False).tobytes()).decode()


def names_of(members: int) -> list[str]:
    """F1, F2, ... and the ensemble: what models are called on the page, in the order of their numbers."""
    return [*(f"F{i + 1}" for i in range(members)), "ensemble"]


def loss_of(model: str) -> str:
    """What an axis along a model's gradient is called."""
    return f"the loss of {the(model)}"


def the(model: str) -> str:
    """A model's name within a sentence."""
    return "the ensemble" if model == "ensemble" else model


def image_of(loaded: Loaded, state: State) -> tuple[Tensor, int, str]:
    """The image on the screen, its class, and whose word that is."""
    data = loaded.data
    if state.own:
        pixels = own_pixels(state.own, math.prod(data.x.shape[1:]))
        assert pixels is not None
        x = torch.frombuffer(bytearray(pixels), dtype=torch.uint8).view(data.x.shape[1:]).float() / 255
        y = int(answers(loaded.ensemble, x[None])[-1, 0])
        if y < 0:
            raise UsageError("the ensemble gives this picture no answer: its output is not a number")
        return x, y, "the ensemble's answer"
    return data.images(torch.tensor([state.image]))[0], int(data.y[state.image]), "the label"


def attack_of(state: State) -> tuple[str, Callable]:
    """An attack's name with its steps, and the function, its options bound."""
    function = load_function(ATTACKS[state.attack].function)
    known = inspect.signature(function).parameters
    # 10 steps of eps/10 could not turn round: fewer steps are longer, as in the probe during training
    step_size = state.eps * max(0.1, 2.5 / state.steps)
    wanted = {"eps": state.eps, "steps": state.steps, "step_size": step_size, "norm": state.norm}
    name = f"{state.attack}-{state.steps}" if "steps" in known else state.attack
    return name.upper(), partial(function, **{name: value for name, value in wanted.items() if name in known})


def make_scene(loaded: Loaded, state: State) -> Scene:
    """The scene that a state asks for."""
    ensemble, data = loaded.ensemble, loaded.data
    x, y, _ = image_of(loaded, state)
    plane = _plane(loaded, state, x, y)
    if state.swap:
        plane = plane.swapped()
    low, high = (0.0, 1.0) if plane.kind == "domain" else (-state.span, state.span)
    point = state.point()
    begin = x if point is None else plane.images(torch.tensor([point]))[0].clamp(0, 1)
    attack_name, attack = attack_of(state)
    walks: list[Path] = paths(ensemble, begin[None], torch.tensor([y]), attack, seed=state.seed)
    returned = torch.cat([walk.x_adv for walk in walks])
    reach = 2 * max(abs(low), abs(high))
    return Scene(
        key=_key(loaded.digest, plane, low, high),
        digest=loaded.digest,
        plane=plane,
        models=names_of(len(ensemble)),
        classes=data.classes,
        y=y,
        low=low,
        high=high,
        start=_pair(plane.coordinates(begin[None])),
        cut=point is not None and not torch.allclose(begin, plane.images(torch.tensor([point]))[0], atol=1e-4),
        before=answers(ensemble, begin[None])[:, 0].tolist(),
        ball=ball_polygon(plane, begin, state.eps, state.norm),
        box=box_polygon(plane, reach),
        trails=[plane.coordinates(walk.images).numpy() for walk in walks],
        ends=answers(ensemble, returned).tolist(),
        off=plane.distance(returned).tolist(),
        attack=attack_name,
        examples=_examples(loaded),
    )


def slice_words(scene: Scene, state: State) -> str:
    """What the marks in a slice figure mean, and what they do not."""
    off, attacked = scene.off[state.surrogate], the(scene.models[state.surrogate])
    units = "Axes are the inputs themselves" if scene.plane.kind == "domain" else "Axes are L2 distances in pixels from the image"
    words = [
        f"{units}; solid: the ball of eps {state.eps:g}, dotted: [0, 1].",
        "The attack starts at the point cut to [0, 1]." if scene.cut else "",
        f"Star: the attack's start; solid path: {scene.attack} on the panel's own model, dashed: on {attacked};",
        "a cross ends what fools the panel's model.",
        f"Paths are shadows: the attack on {attacked} ends {off:.2f} off the plane." if off > 0.005 else "",
        "A click, or Enter at the crosshair, attacks from there.",
        "A plane shows two directions of many: trust the matrix for rates.",
    ]
    return " ".join(filter(None, words))


def _plane(loaded: Loaded, state: State, x: Tensor, y: int) -> Plane:
    if is_plane(loaded.data.name):
        return domain(tuple(x.shape))
    if state.plane == "images":
        mine = "own picture" if state.own else f"image {state.image}"
        others = loaded.data.images(torch.tensor([state.second, state.third]))
        return three_images(x, *others, names=(mine, f"image {state.second}", f"image {state.third}"), seed=state.seed)
    names = names_of(len(loaded.ensemble))
    gradients = loss_gradients(loaded.ensemble, x[None], torch.tensor([y]))
    if state.plane == "random":
        return along_gradient(gradients[state.surrogate], x, name=loss_of(names[state.surrogate]), seed=state.seed)
    pair = state.surrogate, state.target
    return two_gradients(gradients[pair[0]], gradients[pair[1]], x, names=(loss_of(names[pair[0]]), loss_of(names[pair[1]])))


def _examples(loaded: Loaded) -> Points:
    """The training points with their class, [n, 3], where they are points of the plane."""
    train: Dataset | None = loaded.train
    if train is None:
        return np.zeros((0, 3), dtype=np.float32)
    return np.column_stack([train.x.view(len(train), -1).numpy(), train.y.numpy()]).astype(np.float32)


def _key(digest: str, plane: Plane, low: float, high: float) -> str:
    parts = [digest.encode(), *(t.numpy().tobytes() for t in (plane.origin, plane.u, plane.v)), f"{low},{high}".encode()]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:24]


def _pair(points: Tensor) -> tuple[float, float]:
    a, b = points[0].tolist()
    return a, b
