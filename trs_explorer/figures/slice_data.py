"""What a figure of slices is made of: the slice itself, and the attacks that are drawn on it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

Points = Float[np.ndarray, "point 2"]


@dataclass(frozen=True)
class SpanningImage:
    """An image that spans a plane: its name, its place, and a picture of it as a data URI ("": none)."""

    name: str
    point: tuple[float, float]
    picture: str = ""


@dataclass(frozen=True, eq=False)
class Slice:
    """What a plane through an image shows before any attack. Coordinates: L2 distances in [0, 1] pixels, or 2-D inputs.

    models: the names of the members, then of the ensemble.
    outputs: their logits or log-probabilities [row, column, model, class]; row 0 has the lowest b, column 0 the lowest a.
    low, high: the square's edges on both axes, which the first and the last point of the grid are on.
    axes: descriptions of the axes, with units and seed.
    box: corners of the plane's part in [0, 1]^d, counter-clockwise; None: that is no question here (2-D data).
    examples: training points with their class, [n, 3].
    images: those that span the plane.
    class_names: of all classes, in the order of their numbers; empty: they are called by these.
    """

    models: Sequence[str]
    outputs: Float[np.ndarray, "row column model class"]
    low: float
    high: float
    axes: tuple[str, str]
    box: Points | None = None
    examples: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    images: Sequence[SpanningImage] = ()
    class_names: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Attacks:
    """The same attack on every model, projected on the plane.

    name: the attack's name with its steps.
    start: where it starts.
    ball: corners of the plane's part of the eps-ball.
    paths: per attacked model, the points that it visits.
    fools: [attacked model, panel's model], whether its result fools the panel's model.
    headlines: per model, what the attack on it does to it, such as "5 → 6, fooled".
    whole_headlines: the same with whole names of classes, where headlines have shortened ones; empty: they have none.
    """

    name: str
    start: tuple[float, float]
    ball: Points
    paths: Sequence[Points]
    fools: Bool[np.ndarray, "attacked panel"]
    headlines: Sequence[str]
    whole_headlines: Sequence[str] = ()
