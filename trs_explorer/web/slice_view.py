"""What a slice shows before any attack: its plane, its square, the image, outlines and training points."""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trs_explorer.catalogue import DATA
from trs_explorer.data import Dataset
from trs_explorer.explore.gallery import predictions
from trs_explorer.explore.library import Loaded
from trs_explorer.explore.pictures import data_uri, thumbnail
from trs_explorer.explore.planes import Plane, box_polygon, domain, fitted_range, three_images
from trs_explorer.explore.slice_plane import gradient_plane, model_names
from trs_explorer.explore.slices import HEAVY_LEVELS, LEVELS, is_heavy
from trs_explorer.figures.slice_data import SpanningImage
from trs_explorer.options import UsageError
from trs_explorer.web import uploads
from trs_explorer.web.code_errors import readable_code_errors
from trs_explorer.web.state import State, is_plane

Points = np.ndarray
MOST_SAMPLES = 1 << 25  # logits of a slice: 128 MiB
SPANNING_PX = 96  # of the longer side of the pictures of images that span the plane
LARGE_IMAGE = 1 << 15  # numbers: of a larger one, the finest grid is left out


@dataclass(frozen=True, eq=False)
class SliceView:
    """One slice. Coordinates are the plane's: L2 distances from the image in [0, 1] pixels; for 2-D data, the data's own.

    key: a hash of weights, plane and square: views with equal keys have equal samples.
    loaded: the ensemble to sample, and its data.
    models: the names of the members, then of the ensemble.
    x, y: the image and its class, which attacks try to leave.
    label_source: where y comes from, such as "the label".
    home: the image's coordinates.
    low, high: the square's edges, on both axes.
    box: corners of the plane's intersection with [0, 1]^d.
    examples: the training points with their class, [n, 3]; none for images.
    spanning: the images that span the plane, if images do.
    grids: the points per side of its nested grids, coarse to fine, see `slices.LEVELS`.
    """

    key: str
    loaded: Loaded
    plane: Plane
    models: list[str]
    x: Tensor
    y: int
    label_source: str
    home: tuple[float, float]
    low: float
    high: float
    box: Points
    examples: Points
    spanning: tuple[SpanningImage, ...] = ()
    grids: tuple[int, ...] = LEVELS

    @property
    def levels(self) -> int:
        """How many of the nested grids it has: fewer of many members or classes, for memory."""
        return len(self.grids)

    @property
    def is_heavy(self) -> bool:
        """Whether its model is slow: its first grid is a small one, and its attacks let grids go first."""
        return self.grids[0] < LEVELS[0]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of all classes; empty: they have none but their numbers."""
        return DATA[self.loaded.data.name].class_names

    @property
    def digest(self) -> str:
        """The SHA-256 of the weights."""
        return self.loaded.digest


@readable_code_errors
def chosen_image(loaded: Loaded, state: State) -> tuple[Tensor, int, str]:
    """Return the state's image, its class, and where the class comes from. Raises UsageError if the output is NaN."""
    data = loaded.data
    if state.own:
        pixels = uploads.pixels(state.own, math.prod(data.x.shape[1:]))
        if pixels is None:
            raise UsageError("the uploaded picture is not here any more: upload it again")
        x = torch.frombuffer(bytearray(pixels), dtype=torch.uint8).view(data.x.shape[1:]).float() / 255
        y = int(predictions(loaded.ensemble, x[None])[-1, 0])
        if y < 0:
            raise UsageError("the ensemble makes no prediction for this picture: its output is not a number")
        return x, y, "the ensemble's prediction"
    return data.images(torch.tensor([state.image]))[0], int(data.y[state.image]), "the label"


@readable_code_errors
def make_slice_view(loaded: Loaded, state: State, *, plane: Plane | None = None) -> SliceView:
    """Build the view of the state's slice. plane: use this plane through the same image instead of the state's."""
    x, y, label_source = chosen_image(loaded, state)
    plane = plane or _plane(loaded, state, x, y)
    members = len(loaded.ensemble)
    if state.swap:
        plane = plane.swapped()
    spanning = _spanning(loaded, state, plane, x) if plane.kind == "images" else ()
    low, high = (0.0, 1.0) if plane.kind == "domain" else (-state.span, state.span)
    if spanning:
        low, high = fitted_range(torch.tensor([image.point for image in spanning]))
    return SliceView(
        key=_key(loaded.identity, plane, low, high),
        loaded=loaded,
        plane=plane,
        models=model_names(members),
        x=x,
        y=y,
        label_source=label_source,
        home=plane.pair(x),
        low=low,
        high=high,
        box=box_polygon(plane, 2 * max(abs(low), abs(high))),
        examples=_training_points(loaded),
        spanning=spanning,
        grids=nested_grids(x, members * loaded.data.classes, heavy=is_heavy(loaded.ensemble, x)),
    )


def nested_grids(x: Tensor, numbers: int, *, heavy: bool) -> tuple[int, ...]:
    """Return the nested grids of a slice: small ones first of a heavy model, no fine ones of large images or many numbers.

    numbers: of a point, members times classes.
    """
    grids = HEAVY_LEVELS if heavy else LEVELS[: len(LEVELS) - (x.numel() > LARGE_IMAGE)]
    return tuple(n for n in grids if n * n * numbers <= MOST_SAMPLES) or grids[:1]


def _spanning(loaded: Loaded, state: State, plane: Plane, x: Tensor) -> tuple[SpanningImage, ...]:
    """Return the three images of the plane."""
    images = (x, *loaded.data.images(torch.tensor([state.second, state.third])))
    names = ("uploaded picture" if state.own else f"image {state.image}", f"image {state.second}", f"image {state.third}")
    named = zip(names, images, strict=True)
    return tuple(SpanningImage(n, plane.pair(image), data_uri(thumbnail(image, SPANNING_PX))) for n, image in named)


def _plane(loaded: Loaded, state: State, x: Tensor, y: int) -> Plane:
    if is_plane(loaded.data.name):
        return domain(tuple(x.shape))
    if state.plane == "images":
        first = "uploaded picture" if state.own else f"image {state.image}"
        others = loaded.data.images(torch.tensor([state.second, state.third]))
        return three_images(x, *others, names=(first, f"image {state.second}", f"image {state.third}"), seed=state.seed)
    if state.plane == "random":
        return gradient_plane(loaded.ensemble, x, y, first=state.surrogate, seed=state.seed)
    return gradient_plane(loaded.ensemble, x, y, first=state.surrogate, second=state.target)


def _training_points(loaded: Loaded) -> Points:
    """Return the training points with their class, [n, 3], for data in the plane; none for images."""
    train: Dataset | None = loaded.train
    if train is None:
        return np.zeros((0, 3), dtype=np.float32)
    return np.column_stack([train.x.view(len(train), -1).numpy(), train.y.numpy()]).astype(np.float32)


def _key(identity: str, plane: Plane, low: float, high: float) -> str:
    parts = [identity.encode(), *(t.numpy().tobytes() for t in (plane.origin, plane.u, plane.v)), f"{low},{high}".encode()]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:24]
