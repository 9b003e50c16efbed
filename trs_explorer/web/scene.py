"""One slice ready to be drawn: the plane and what lies in it, but for attacks."""

import base64
import hashlib
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trs_explorer.data import Dataset
from trs_explorer.explore.gallery import answers
from trs_explorer.explore.library import Loaded
from trs_explorer.explore.planes import (
    Plane,
    along_gradient,
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


@dataclass(frozen=True, eq=False)
class Scene:
    """What lies in a slice. Coordinates are the plane's: L2 distances in [0, 1] pixels from the image; the data's own in 2-D.

    key: of weights, plane and square, so that equal keys mean equal samples.
    x: the image.  y: its class, which attacks leave.  whose: whose word that class is.  home: where the image lies.
    votes: the members' weights in the ensemble, of logits if it sums them, else of probabilities.
    box: corners of the plane's intersection with [0, 1]^d.  examples: the training points with their class, [n, 3].
    """

    key: str
    digest: str
    plane: Plane
    models: list[str]
    votes: list[float]
    sums: bool
    classes: int
    x: Tensor
    y: int
    whose: str
    home: tuple[float, float]
    low: float
    high: float
    box: Points
    examples: Points

    def to_json(self) -> Json:
        """All of it that the page draws."""
        return {
            "key": self.key,
            "digest": self.digest,
            "models": self.models,
            "votes": self.votes,
            "sums": self.sums,
            "classes": self.classes,
            "shape": list(self.plane.origin.shape),
            "kind": self.plane.kind,
            "y": self.y,
            "home": list(self.home),
            "low": self.low,
            "high": self.high,
            "levels": list(LEVELS),
            "names": list(self.plane.names),
            "box": self.box.tolist(),
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


def make_scene(loaded: Loaded, state: State, *, plane: Plane | None = None) -> Scene:
    """The scene that a state asks for; in a given plane through the same image, if there is one."""
    x, y, whose = image_of(loaded, state)
    plane = plane or _plane(loaded, state, x, y)
    if state.swap:
        plane = plane.swapped()
    low, high = (0.0, 1.0) if plane.kind == "domain" else (-state.span, state.span)
    return Scene(
        key=_key(loaded.digest, plane, low, high),
        digest=loaded.digest,
        plane=plane,
        models=names_of(len(loaded.ensemble)),
        votes=loaded.ensemble.votes.tolist(),
        sums=loaded.ensemble.voting == "sum",
        classes=loaded.data.classes,
        x=x,
        y=y,
        whose=whose,
        home=plane.pair(x),
        low=low,
        high=high,
        box=box_polygon(plane, 2 * max(abs(low), abs(high))),
        examples=_examples(loaded),
    )


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
