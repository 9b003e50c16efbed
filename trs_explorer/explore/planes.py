"""Planes through the space of images, and where they cut the pixel range and the balls that attacks live in."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int
from torch import Tensor

from trs_explorer.attack_catalogue import NORMS
from trs_explorer.attacks.model_state import eval_mode
from trs_explorer.gradients import NOISE, input_gradients
from trs_explorer.models.ensemble import Ensemble

PARALLEL = 1e-6  # sine of the angle below which two directions span no plane
CIRCLE = 128  # corners of the polygon that stands for an L2 ball
ROUNDING = 1e-12  # of the size of the picture: what float64 leaves between corners that are one

Image = Float[Tensor, "channel height width"]
OneImage = Float[Tensor, "1 channel height width"]
Polygon = Float64[np.ndarray, "corner 2"]


@dataclass(frozen=True, eq=False)
class Plane:
    """The images origin + a u + b v. u and v are orthonormal: a and b are L2 distances in [0, 1] pixels.

    names: what the two axes are, in words.  kind: "random", "gradients", "images" or "domain", after what spans it.
    """

    origin: Image
    u: Image
    v: Image
    names: tuple[str, str]
    kind: str

    def images(self, points: Float[Tensor, "point 2"]) -> Float[Tensor, "point channel height width"]:
        """The images at points (a, b), on the plane's device; not cut to [0, 1]."""
        flat = torch.addmm(self.origin.flatten(), points.to(self.origin), self._axes())
        return flat.view(-1, *self.origin.shape)

    def coordinates(self, images: Float[Tensor, "image channel height width"]) -> Float[Tensor, "image 2"]:
        """(a, b) of the point of the plane nearest to each image, in L2."""
        return self._project(images)[0].to(self.origin)

    def pair(self, image: Image) -> tuple[float, float]:
        """`coordinates` of one image, as two numbers."""
        a, b = self.coordinates(image[None])[0].tolist()
        return a, b

    def distance(self, images: Float[Tensor, "image channel height width"]) -> Float[Tensor, " image"]:
        """How far each image is from the plane, in L2 and [0, 1] pixels."""
        return torch.linalg.vector_norm(self._project(images)[1], dim=-1).to(self.origin)

    def swapped(self) -> "Plane":
        """The same plane with its axes exchanged."""
        return replace(self, u=self.v, v=self.u, names=(self.names[1], self.names[0]))

    def _axes(self) -> Float[Tensor, "2 pixel"]:
        return torch.stack([self.u.flatten(), self.v.flatten()])

    def _project(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates and what is left over, in float64: small distances survive the subtraction."""
        shift = (images.to(self.origin.device).double() - self.origin.double()).flatten(1)
        axes = self._axes().double()
        points = shift @ axes.T
        return points, shift - points @ axes


def along_gradient(gradient: Image, x: Image, *, name: str, seed: int) -> Plane:
    """The plane through x along a loss gradient (u) and a random direction (v), as in the paper's Appendix I.1.

    gradient: of a model's cross-entropy, so that an attack goes to the RIGHT, towards larger a. (The authors' code follows
    log p_y instead: its attacks go left.)  name: what it is the gradient of, "the loss of F1".
    The random direction is Gaussian, from the seed, drawn on the CPU, made orthogonal to u. A gradient that is zero or not finite
    gives a random u, and a name that says so.
    """
    generator = torch.Generator().manual_seed(seed)
    u, label = _gradient_axis(gradient, f"gradient of {name}")
    if u is None:
        u, label = _random(x, None, generator), f"random, seed {seed} ({label})"
    return _plane(x, u, _random(x, u, generator), (label, f"random, seed {seed}, made orthogonal"), "random")


def two_gradients(first: Image, second: Image, x: Image, *, names: tuple[str, str], seed: int = 0) -> Plane:
    """The plane through x along one loss gradient (u) and another one made orthogonal to it (v).

    names: what they are the gradients of, as in `along_gradient`. A gradient that is zero, not finite or (the second) parallel to
    the first is replaced by a random direction from the seed, and the axis' name says so.
    """
    generator = torch.Generator().manual_seed(seed)
    u, label = _gradient_axis(first, f"gradient of {names[0]}")
    if u is None:
        u, label = _random(x, None, generator), f"random, seed {seed} ({label})"
    second_axis, second_label = _gradient_axis(second, f"gradient of {names[1]}")
    v = None if second_axis is None else _orthogonal(second_axis, u)
    if v is not None:
        return _plane(x, u, v, (label, f"{second_label}, made orthogonal"), "gradients")
    why = second_label if second_axis is None else f"{second_label} is parallel to the other axis"
    return _plane(x, u, _random(x, u, generator), (label, f"random, seed {seed}, made orthogonal ({why})"), "gradients")


def three_images(
    a: Image, b: Image, c: Image, *, names: tuple[str, str, str] = ("image 1", "image 2", "image 3"), seed: int = 0
) -> Plane:
    """The plane through three images: a at (0, 0), b on the axis to the right, c above (b > 0).

    names: what to call them; the axes' names tell the three L2 distances. Where images coincide or lie on one line, a random
    direction from the seed takes the place of the axis that they leave open, and its name says so.
    """
    generator = torch.Generator().manual_seed(seed)
    ab, ac, bc = (torch.linalg.vector_norm(p.double() - q.double()).item() for p, q in ((b, a), (c, a), (c, b)))
    u, right = _unit(b.double() - a.double()), f"from {names[0]} to {names[1]}, {ab:.3g} away"
    if u is None:
        u, right = _random(a, None, generator), f"random, seed {seed} ({names[0]} and {names[1]} coincide)"
    beyond = _unit(c.double() - a.double())
    v = None if beyond is None else _orthogonal(beyond, u)
    up = f"to {names[2]}, {ac:.3g} from {names[0]} and {bc:.3g} from {names[1]}, made orthogonal"
    if v is None:
        why = f"{names[2]}, {ac:.3g} from {names[0]} and {bc:.3g} from {names[1]}, lies on the other axis"
        v, up = _random(a, u, generator), f"random, seed {seed}, made orthogonal ({why})"
    return _plane(a, u, v, (right, up), "images")


def domain(shape: tuple[int, int, int]) -> Plane:
    """The whole space of inputs of two numbers: (a, b) are the inputs themselves. Raises ValueError for other shapes."""
    if math.prod(shape) != 2:
        raise ValueError(f"only inputs of two numbers are a plane by themselves, got shape {tuple(shape)}")
    u, v = torch.eye(2).view(2, *shape)
    return Plane(torch.zeros(shape), u, v, ("first input", "second input"), "domain")


def loss_gradients(ensemble: Ensemble, x: OneImage, y: Int[Tensor, "1"]) -> Float[Tensor, "model channel height width"]:
    """Gradients of the cross-entropy at one image: of every member, then of the ensemble as the last row.

    In eval mode, whatever the weights' requires_grad; works inside no_grad and inference_mode too.
    """
    with torch.inference_mode(False), torch.enable_grad(), eval_mode(ensemble):
        point, y = x.detach().clone().requires_grad_(), y.clone()
        (whole,) = torch.autograd.grad(F.nll_loss(ensemble(point), y), point)
        return torch.cat([input_gradients(ensemble, point.detach(), y)[1][:, 0], whole])


def box_polygon(plane: Plane, reach: float) -> Polygon:
    """Where the plane's images have all pixels in [0, 1], within the square |a|, |b| <= reach. Exact; counter-clockwise.

    No corners: nowhere. One or two: a point or a segment; a plane through an image with black pixels (exactly 0), along axes
    of either sign there, has only that image in range.
    """
    origin = plane.origin.flatten().double().cpu().numpy()
    return _within(plane, -origin, 1 - origin, np.zeros(2), reach)


def ball_polygon(plane: Plane, centre: Image, eps: float, norm: str) -> Polygon:
    """Where the plane's images are within eps of the centre, which need not lie in it. Counter-clockwise; no corners: nowhere.

    norm "linf": exact. "l2": a polygon of 128 corners on the circle of radius sqrt(eps^2 - distance^2).
    Raises: ValueError for another norm or a bad eps.
    """
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")
    if not math.isfinite(eps) or eps < 0:
        raise ValueError(f"eps must be a finite radius >= 0 in [0, 1] pixels, got {eps}")
    middle, rest = (part[0].cpu().numpy() for part in plane._project(centre[None]))
    if norm == "linf":
        shift = (centre.to(plane.origin.device).double() - plane.origin.double()).flatten().cpu().numpy()
        return _within(plane, shift - eps, shift + eps, middle, eps * math.sqrt(len(shift)))
    square = eps**2 - float(rest @ rest)
    if square < 0:
        return np.empty((0, 2))
    angle = np.arange(CIRCLE) * (2 * np.pi / CIRCLE)
    return middle + math.sqrt(square) * np.stack([np.cos(angle), np.sin(angle)], -1)


def _within(plane: Plane, low: np.ndarray, high: np.ndarray, middle: np.ndarray, reach: float) -> Polygon:
    """Where low <= a u + b v <= high in every pixel, inside the square of half-side `reach` around `middle`."""
    axes = plane._axes().double().cpu().numpy().T
    square = middle + reach * np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    return _clip(square, np.concatenate([axes, -axes]), np.concatenate([high, -low]))


def _clip(
    corners: Float64[np.ndarray, "start 2"], normals: Float64[np.ndarray, "half 2"], offsets: Float64[np.ndarray, " half"]
) -> Polygon:
    """The part of a convex polygon where normal . p <= offset for all half-planes.

    Sutherland-Hodgman, but always the cut that is missed by most: of thousands of half-planes only those few are cut with that
    matter, and only the two new corners of a cut are compared with all.
    """
    size = max(float(np.abs(corners).max()), 1.0)
    length = np.hypot(normals[:, 0], normals[:, 1])
    some = length > 0
    if (offsets[~some] < -ROUNDING).any():  # a pixel that is constant in this plane, and out of range
        return np.empty((0, 2))
    normals, offsets = normals[some] / length[some, None], offsets[some] / length[some]
    worst, value = _farthest(corners, normals, offsets)
    for _ in range(2 * len(offsets)):  # one cut a half-plane is the most there can be; the rest is for rounding
        if value.max() <= ROUNDING * size:
            break
        half = worst[value.argmax()]
        over = corners @ normals[half] - offsets[half]
        outside = over > ROUNDING * size
        if outside.all():
            return np.empty((0, 2))
        first = int(np.flatnonzero(outside & ~np.roll(outside, 1))[0])
        order = np.roll(np.arange(len(corners)), -first)  # the corners to cut off come first
        kept = order[int(np.argmin(outside[order])) :]
        ends = np.array([kept[-1], kept[0]]), np.array([order[0], order[len(order) - len(kept) - 1]])
        share = np.clip(over[ends[0]] / (over[ends[0]] - over[ends[1]]), 0, 1)
        new = corners[ends[0]] + share[:, None] * (corners[ends[1]] - corners[ends[0]])
        new_worst, new_value = _farthest(new, normals, offsets)
        corners = np.concatenate([new, corners[kept]])
        worst, value = np.concatenate([new_worst, worst[kept]]), np.concatenate([new_value, value[kept]])
    apart = np.abs(corners - np.roll(corners, 1, 0)).max(-1) > 10 * ROUNDING * size
    return corners[apart] if apart.any() else corners[:1]


def _farthest(corners: Polygon, normals: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every corner the half-plane that it is farthest outside of, and how far."""
    if not len(offsets):
        return np.zeros(len(corners), dtype=int), np.full(len(corners), -np.inf)
    over = corners @ normals.T - offsets
    worst = over.argmax(-1)
    return worst, over[np.arange(len(corners)), worst]


def _plane(x: Image, u: Tensor, v: Tensor, names: tuple[str, str], kind: str) -> Plane:
    return Plane(x.detach(), u.to(x), v.to(x), names, kind)


def _unit(direction: Tensor) -> Tensor | None:
    """The direction with length 1, in float64, where not even the squares of the smallest vanish; None if zero or not finite."""
    direction = direction.detach().double()
    length = torch.linalg.vector_norm(direction)
    return direction / length if 0 < length.item() < math.inf else None


def _orthogonal(direction: Tensor, u: Tensor) -> Tensor | None:
    """The part of a unit vector that is orthogonal to u, with length 1; None if they are parallel."""
    rest = direction - (direction * u).sum() * u
    length = torch.linalg.vector_norm(rest)
    return None if length.item() < PARALLEL else rest / length


def _random(x: Image, u: Tensor | None, generator: torch.Generator) -> Tensor:
    """A Gaussian direction of length 1, orthogonal to u if there is one."""
    if x.numel() < 2:
        raise ValueError(f"a plane needs images of two numbers at least, got shape {tuple(x.shape)}")
    while True:  # the first draw does, but for one in a million where images are two numbers
        drawn = _unit(torch.randn(x.shape, generator=generator).to(x.device))
        found = drawn if drawn is None or u is None else _orthogonal(drawn, u)
        if found is not None:
            return found


def _gradient_axis(gradient: Tensor, label: str) -> tuple[Tensor | None, str]:
    """The unit vector along a gradient and its name; None, and what is wrong with it, if it has no direction."""
    if not gradient.isfinite().all():
        return None, f"{label} is not finite"
    unit = _unit(gradient)
    if unit is None:
        return None, f"{label} is zero"
    short = torch.linalg.vector_norm(gradient.double()).item() < NOISE
    return unit, f"{label}, shorter than {NOISE:g}: mostly rounding" if short else label
