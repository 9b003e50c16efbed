"""Planes through the space of images, and their intersections with the pixel range and with eps-balls."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from trs_explorer.attack_catalogue import NORMS
from trs_explorer.gradients import MIN_NORM, ensemble_log_odds, input_gradients, log_odds
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.eval_mode import eval_mode

PARALLEL = 1e-6  # two directions with a smaller sine of their angle span no plane
CIRCLE = 128  # corners of the polygon that approximates an L2 ball
ROUNDING = 1e-12  # of the polygon's size: corners that are equal up to float64 rounding

Image = Float[Tensor, "channel height width"]
OneImage = Float[Tensor, "1 channel height width"]
Polygon = Float64[np.ndarray, "corner 2"]


@dataclass(frozen=True, eq=False)
class Plane:
    """The images origin + a u + b v. u and v are orthonormal: a and b are L2 distances in [0, 1] pixels.

    origin: the image at (0, 0).
    u, v: the axes, as images of length 1.
    names: descriptions of the two axes.
    kind: what spans the plane: "random", "gradients", "images" or "domain".
    """

    origin: Image
    u: Image
    v: Image
    names: tuple[str, str]
    kind: str

    def images(self, points: Float[Tensor, "point 2"]) -> Float[Tensor, "point channel height width"]:
        """Return the images at points (a, b), on the plane's device; not clipped to [0, 1]."""
        flat = torch.addmm(self.origin.flatten(), points.to(self.origin), self._axes())
        return flat.view(-1, *self.origin.shape)

    def coordinates(self, images: Float[Tensor, "image channel height width"]) -> Float[Tensor, "image 2"]:
        """(a, b) of the point of the plane nearest to each image, in L2."""
        return self._project(images)[0].to(self.origin)

    def pair(self, image: Image) -> tuple[float, float]:
        """Return the `coordinates` of one image as two numbers."""
        a, b = self.coordinates(image[None])[0].tolist()
        return a, b

    def distance(self, images: Float[Tensor, "image channel height width"]) -> Float[Tensor, " image"]:
        """Return each image's L2 distance from the plane, in [0, 1] pixels."""
        return torch.linalg.vector_norm(self._project(images)[1], dim=-1).to(self.origin)

    def swapped(self) -> "Plane":
        """Return the same plane with its axes exchanged."""
        return replace(self, u=self.v, v=self.u, names=(self.names[1], self.names[0]))

    def _axes(self) -> Float[Tensor, "2 pixel"]:
        return torch.stack([self.u.flatten(), self.v.flatten()])

    def _project(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return coordinates and residuals, in float64: small distances survive the subtraction."""
        shift = (images.to(self.origin.device).double() - self.origin.double()).flatten(1)
        axes = self._axes().double()
        points = shift @ axes.T
        return points, shift - points @ axes


def along_gradient(gradient: Image, x: Image, *, name: str, seed: int) -> Plane:
    """Return the plane through x along a loss gradient (u) and a random direction (v), as in the paper's Appendix I.1.

    gradient: of a model's loss (`loss_directions`), so that attacks go to the RIGHT, towards larger a. (The authors' code
    follows log p_y instead: its attacks go left.) A gradient that is zero or not finite is replaced by a random u, and the axis'
    name says so.
    x: the image at the origin.
    name: what it is the gradient of, such as "the loss of F1".
    seed: of the random direction, which is Gaussian, drawn on the CPU, and made orthogonal to u.
    """
    generator = torch.Generator().manual_seed(seed)
    u, label = _gradient_axis(gradient, f"gradient of {name}")
    if u is None:
        u, label = _random(x, None, generator), f"random, seed {seed} ({label})"
    return _plane(x, u, _random(x, u, generator), (label, f"random, seed {seed}, made orthogonal"), "random")


def two_gradients(first: Image, second: Image, x: Image, *, names: tuple[str, str], seed: int = 0) -> Plane:
    """Return the plane through x along one loss gradient (u) and another one made orthogonal to it (v).

    first, second: the gradients. One that is zero, not finite or (the second) parallel to the first is replaced by a random
    direction, and the axis' name says so.
    x: the image at the origin.
    names: what they are the gradients of, as in `along_gradient`.
    seed: of the random directions.
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
    """Return the plane through three images: a at (0, 0), b on the axis to the right, c above (b > 0).

    a, b, c: the images. If they coincide or lie on one line, a random direction replaces the undetermined axis, and the axis'
    name says so.
    names: of the images; the axes' names include the three L2 distances.
    seed: of the random directions.
    """
    generator = torch.Generator().manual_seed(seed)
    ab, ac, bc = (torch.linalg.vector_norm(p.double() - q.double()).item() for p, q in ((b, a), (c, a), (c, b)))
    u, right = _unit(b.double() - a.double()), f"from {names[0]} to {names[1]}, {ab:.3g} away"
    if u is None:
        u, right = _random(a, None, generator), f"random, seed {seed} ({names[0]} and {names[1]} coincide)"
    toward_c = _unit(c.double() - a.double())
    v = None if toward_c is None else _orthogonal(toward_c, u)
    up = f"to {names[2]}, {ac:.3g} from {names[0]} and {bc:.3g} from {names[1]}, made orthogonal"
    if v is None:
        why = f"{names[2]}, {ac:.3g} from {names[0]} and {bc:.3g} from {names[1]}, lies on the other axis"
        v, up = _random(a, u, generator), f"random, seed {seed}, made orthogonal ({why})"
    return _plane(a, u, v, (right, up), "images")


def domain(shape: tuple[int, int, int]) -> Plane:
    """Return the whole space of 2-D inputs as a plane: (a, b) are the inputs themselves. Raises ValueError for other shapes."""
    if math.prod(shape) != 2:
        raise ValueError(f"only inputs of two numbers are a plane by themselves, got shape {tuple(shape)}")
    u, v = torch.eye(2).view(2, *shape)
    return Plane(torch.zeros(shape), u, v, ("first input", "second input"), "domain")


def loss_directions(ensemble: Ensemble, x: OneImage, y: Int[Tensor, "1"]) -> Float[Tensor, "model channel height width"]:
    """Return the directions of the loss gradients at one image: of every member, then of the ensemble.

    They are gradients of the log-odds against y: parallel to the cross-entropy's, of another length, and not lost by rounding
    where a model is confident. In eval mode, whatever the weights' requires_grad; works inside no_grad and inference_mode too.
    """
    with torch.inference_mode(False), torch.enable_grad(), eval_mode(ensemble):
        point, y = x.detach().clone().requires_grad_(), y.clone()
        (of_ensemble,) = torch.autograd.grad(ensemble_log_odds(ensemble, ensemble.member_logits(point), y), point)
        return torch.cat([input_gradients(ensemble, point.detach(), y, of=log_odds)[1][:, 0], of_ensemble])


def fitted_range(points: Float[Tensor, "point 2"], *, margin: float = 0.15) -> tuple[float, float]:
    """Return (low, high), the edges on both axes of the smallest square [low, high]^2 that holds points of a plane, and a margin.

    points: coordinates, such as `Plane.coordinates` of three images.
    margin: on every side, as a share of the square; 1 in all if the points coincide.
    """
    low, high = points.min().item(), points.max().item()
    room = margin * (high - low) / (1 - 2 * margin) if high > low else 0.5
    return low - room, high + room


def box_polygon(plane: Plane, reach: float) -> Polygon:
    """Return where all pixels of the plane's images are in [0, 1], within |a|, |b| <= reach. Exact; counter-clockwise.

    No corners: nowhere. One or two corners: a point or a segment. In a plane through an image with black pixels (exactly 0),
    along axes of either sign there, only that image is in range.
    """
    origin = plane.origin.flatten().double().cpu().numpy()
    return _within(plane, -origin, 1 - origin, np.zeros(2), reach)


def ball_polygon(plane: Plane, centre: Image, eps: float, norm: str) -> Polygon:
    """Return where the plane's images are within eps of a centre, which need not lie in it. Counter-clockwise; empty: nowhere.

    norm: "linf": exact; "l2": a polygon of 128 corners on the circle of radius sqrt(eps^2 - distance^2).
    Raises: ValueError for another norm or an invalid eps.
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
    """Return where low <= a u + b v <= high in every pixel, inside the square of half-side `reach` around `middle`."""
    axes = plane._axes().double().cpu().numpy().T
    square = middle + reach * np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    return _clip(square, np.concatenate([axes, -axes]), np.concatenate([high, -low]))


def _clip(
    corners: Float64[np.ndarray, "start 2"], normals: Float64[np.ndarray, "half 2"], offsets: Float64[np.ndarray, " half"]
) -> Polygon:
    """Return the part of a convex polygon where normal . p <= offset for all half-planes.

    Sutherland-Hodgman, but always with the half-plane that is violated most: of thousands of half-planes only the few that
    matter are applied, and only the two new corners of a cut are compared with all of them.
    """
    size = max(float(np.abs(corners).max()), 1.0)
    length = np.hypot(normals[:, 0], normals[:, 1])
    varies = length > 0
    if (offsets[~varies] < -ROUNDING).any():  # a pixel that is constant in this plane, and out of range
        return np.empty((0, 2))
    normals, offsets = normals[varies] / length[varies, None], offsets[varies] / length[varies]
    worst, value = _farthest(corners, normals, offsets)
    for _ in range(2 * len(offsets)):  # at most one cut per half-plane is needed; the factor allows for rounding
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
    """Return, for every corner, the half-plane that it violates most, and by how much."""
    if not len(offsets):
        return np.zeros(len(corners), dtype=int), np.full(len(corners), -np.inf)
    over = corners @ normals.T - offsets
    worst = over.argmax(-1)
    return worst, over[np.arange(len(corners)), worst]


def _plane(x: Image, u: Tensor, v: Tensor, names: tuple[str, str], kind: str) -> Plane:
    return Plane(x.detach(), u.to(x), v.to(x), names, kind)


def _unit(direction: Tensor) -> Tensor | None:
    """Scale a direction to length 1, in float64, where no square underflows; None if it is zero or not finite."""
    direction = direction.detach().double()
    length = torch.linalg.vector_norm(direction)
    return direction / length if 0 < length.item() < math.inf else None


def _orthogonal(direction: Tensor, u: Tensor) -> Tensor | None:
    """Return the part of a unit vector orthogonal to u, with length 1; None if they are parallel."""
    rest = direction - (direction * u).sum() * u
    length = torch.linalg.vector_norm(rest)
    return None if length.item() < PARALLEL else rest / length


def _random(x: Image, u: Tensor | None, generator: torch.Generator) -> Tensor:
    """Draw a Gaussian direction of length 1, orthogonal to u if given."""
    if x.numel() < 2:
        raise ValueError(f"a plane needs images of at least two numbers, got shape {tuple(x.shape)}")
    while True:  # the first draw is nearly always fine; one in a million is not, for 2-D inputs
        direction = _unit(torch.randn(x.shape, generator=generator).to(x.device))
        if direction is not None and u is not None:
            direction = _orthogonal(direction, u)
        if direction is not None:
            return direction


def _gradient_axis(gradient: Tensor, label: str) -> tuple[Tensor | None, str]:
    """Return the unit vector along a gradient, and the axis' name; None and the reason if it is zero or not finite."""
    if not gradient.isfinite().all():
        return None, f"{label} is not finite"
    unit = _unit(gradient)
    if unit is None:
        return None, f"{label} is zero"
    length = torch.linalg.vector_norm(gradient.double()).item()
    return unit, f"{label}, which is nearly flat here (length {length:.0e})" if length < MIN_NORM else label
