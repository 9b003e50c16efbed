"""The smallest radius at which attacks fool a model, image by image, and robust accuracy over eps as its distribution."""

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

from trs_explorer.attacks.checks import check_images, check_number
from trs_explorer.attacks.noise import ImageSeeds, draw_seeds, seeded
from trs_explorer.evaluation.accuracy import batches, check_inputs, correct
from trs_explorer.evaluation.intervals import wilson
from trs_explorer.files import Json
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.batch_size import fitting_batch

MOST_STEPS = 10_000  # high / tolerance: the points of the curve
ROUNDING = 1e-4  # relative, of an attack's radius: float16 images are rounded by more than a float32's last bits


@dataclass(frozen=True)
class SmallestEps:
    """Per image the smallest radius at which an attack has fooled the model, in order.

    - eps: the distance of the nearest adversarial image found, in [0, 1] pixels; 0 where the model is wrong without an attack,
      inf where none was found up to `high`. An upper bound: another attack may need less.
    - high, tolerance: the largest radius tried; below each eps by `tolerance` at most, the attacks failed.
    - norm: of the radii, "linf" or "l2".
    - attempts: how many attacks on an image were made in all.
    """

    eps: list[float]
    high: float
    tolerance: float
    norm: str = "linf"
    attempts: int = 0

    @property
    def fooled(self) -> list[bool]:
        """Per image, whether it is misclassified at `high`."""
        return [math.isfinite(eps) for eps in self.eps]

    @property
    def median(self) -> float | None:
        """The radius at which half of the images, rounded up, are misclassified; None if that is beyond `high`."""
        middle = sorted(self.eps)[(len(self.eps) - 1) // 2] if self.eps else math.inf
        return middle if math.isfinite(middle) else None

    def robust(self, radius: float) -> int:
        """How many images are correct under all attacks tried within a radius. Robust accuracy there is this / n."""
        return sum(eps > radius for eps in self.eps)

    def curve(self) -> list[Json]:
        """Robust accuracy over eps, at 0, tolerance, 2 tolerance, ..., high: correct of n, with 95 % Wilson intervals."""
        n, points = len(self.eps), []
        for radius in radii(self.high, self.tolerance):
            low, high = wilson(kept := self.robust(radius), n)
            points.append({"eps": radius, "correct": kept, "n": n, "low": low, "high": high})
        return points

    def to_json(self) -> Json:
        """The fields and what is derived from them, for JSON: null where no adversarial image was found."""
        return {
            "smallest_eps": [eps if math.isfinite(eps) else None for eps in self.eps],
            "n": len(self.eps),
            "high": self.high,
            "tolerance": self.tolerance,
            "norm": self.norm,
            "attempts": self.attempts,
            "median": self.median,
            "curve": self.curve(),
        }


def radii(high: float, tolerance: float) -> list[float]:
    """The radii at which attacks are made, ascending: 0, tolerance, 2 tolerance and so on, and high.

    Raises: ValueError unless both are finite and above 0, and there are at most MOST_STEPS.
    """
    check_number("high", high, positive=True)
    check_number("tolerance", tolerance, positive=True)
    if high / tolerance > MOST_STEPS:
        raise ValueError(f"tolerance must be at least high / {MOST_STEPS:,}, got {tolerance:g} with high {high:g}")
    steps = max(1, math.ceil(high / tolerance - ROUNDING))
    return [*(step * tolerance for step in range(steps)), high]


def smallest_eps(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    attacks: Sequence[Callable[..., Tensor]],
    high: float,
    tolerance: float,
    norm: str = "linf",
    seed: int = 0,
    batch_size: int = 128,
) -> SmallestEps:
    """Search, for every image, the smallest radius at which one of the attacks fools the model: by bisection, to a tolerance.

    - x, y: images in [0, 1] and their true labels, on any device.
    - attacks: attack(model, x, y, eps=..., generator=...) -> x_adv, such as partial(pgd, steps=50). At each radius one after the
      other is made on the images that those before left; a first cheap one saves work.
    - high: the largest radius. Images that no attack fools there are not attacked again.
    - norm: in which the attacks measure eps.
    - seed: of the random starts. An image has the same noise at every radius, whatever the other images and the batch size.

    An image costs about log2(high / tolerance) attacks on it. An adversarial image that is nearer than the radius ends the search
    there: its distance is the bound. A failure is believed: where an attack fails at a radius and would not at a smaller one, a
    larger eps than necessary is found.
    Raises: ValueError for images outside [0, 1], an attack that leaves its ball, a radius out of range.
    """
    so_far = measure_smallest_eps(
        model, x, y, attacks=attacks, high=high, tolerance=tolerance, norm=norm, seed=seed, batch_size=batch_size
    )
    return deque(so_far, maxlen=1).pop()


def measure_smallest_eps(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    attacks: Sequence[Callable[..., Tensor]],
    high: float,
    tolerance: float,
    norm: str = "linf",
    seed: int = 0,
    batch_size: int = 128,
    failed: Mapping[float, Container[int]] | None = None,
    done: SmallestEps | None = None,
    first: int = 0,
) -> Iterator[SmallestEps]:
    """As `smallest_eps`, step by step: yields the result so far, first that of `done`, then after every batch.

    - failed: by radius, the places in x of images on which all these attacks, with this noise, are known to fail. They are not
      attacked there again; the result is the same.
    - done: the result of an interrupted measurement of the same, which is continued after its last image.
    - first: the place of x[0] in a larger set of which x is a part. Images get the same noise as in the whole set.

    The result is final when it is of len(x) images.
    """
    check_inputs(model, x, y)
    ladder = radii(high, tolerance)
    result = done or SmallestEps([], high, tolerance, norm)
    seeds = [seed for (seed,) in draw_seeds(first + len(x), 1, seeded(seed))][first:]
    yield result
    start, batch_size = len(result.eps), fitting_batch(model, x, most=batch_size)
    for images, labels in batches(model, x[start:], y[start:], batch_size) if start < len(x) else ():
        places = slice(len(result.eps), len(result.eps) + len(images))
        attack = _Attacks(model, images, labels, attacks, seeds[places], norm, failed or {}, places.start)
        eps = bisect_radii(attack, ladder, correct(model, images, labels).tolist())
        result = SmallestEps(result.eps + eps, high, tolerance, norm, result.attempts + attack.attempts)
        yield result


def join_smallest(parts: Sequence[SmallestEps]) -> SmallestEps:
    """One result of the images of several parts of a measurement, in that order."""
    one = parts[0]
    eps, attempts = list(chain.from_iterable(part.eps for part in parts)), sum(part.attempts for part in parts)
    return SmallestEps(eps, one.high, one.tolerance, one.norm, attempts)


def bisect_radii(
    attack: Callable[[list[int], float], list[float]], ladder: Sequence[float], right: Sequence[bool]
) -> list[float]:
    """Per image, the distance of the nearest adversarial image that bisection finds; inf if there is none up to the last radius.

    The last radius is tried first: most images that remain correct there need no other attack.

    - attack: attacks some images, by number, in balls of a radius. Returns the distances of the adversarial images, inf for none.
      Images whose next radius is the same are attacked together.
    - ladder: the radii, ascending from 0.
    - right: whether each image is classified correctly without an attack; the distance of the others is 0.
    """
    top, slack = len(ladder) - 1, ROUNDING * ladder[1]
    nearest = [math.inf if ok else 0.0 for ok in right]
    # Of every image: the first step of the ladder at or above that distance (top + 1 if there is none), and the last step at
    # which attacks have failed.
    above, below = [top + 1 if ok else 0 for ok in right], [0] * len(right)
    while True:
        groups: dict[int, list[int]] = {}
        for image, (under, over) in enumerate(zip(below, above, strict=True)):
            if over - under > 1 and under < top:
                groups.setdefault(top if over > top else (under + over) // 2, []).append(image)
        if not groups:
            return nearest
        for step, images in groups.items():
            for image, distance in zip(images, attack(images, ladder[step]), strict=True):
                if math.isinf(distance):
                    below[image] = step
                else:
                    nearest[image] = min(nearest[image], distance)
                    above[image] = max(below[image] + 1, min(step, bisect_left(ladder, distance - slack)))


@dataclass
class _Attacks:
    """Attacks on some images of a batch, one after the other until one fools the model.

    failed: by radius, the places of images that no attack fools there.  first: the place of the batch's first image.
    attempts: how many attacks on an image were made so far.
    """

    model: nn.Module
    x: Images
    y: Labels
    attacks: Sequence[Callable[..., Tensor]]
    seeds: Sequence[int]
    norm: str
    failed: Mapping[float, Container[int]]
    first: int
    attempts: int = 0

    def __call__(self, rows: list[int], eps: float) -> list[float]:
        """Return the distances of the adversarial images, inf where none fools the model. Raises: ValueError beyond the ball."""
        nearest, failed = dict.fromkeys(rows, math.inf), self.failed.get(eps, ())
        for attack in self.attacks:
            left = [row for row, distance in nearest.items() if math.isinf(distance) and self.first + row not in failed]
            if not left:
                break
            x, y = self.x[left], self.y[left]
            x_adv = attack(self.model, x, y, eps=eps, generator=ImageSeeds([self.seeds[row] for row in left]))
            self.attempts += len(left)
            check_images(x_adv, y)
            moved = x_adv.flatten(1).cpu().double() - x.flatten(1).cpu().double()
            distances = torch.linalg.vector_norm(moved, torch.inf if self.norm == "linf" else 2, dim=-1).tolist()
            if max(distances) > eps * (1 + ROUNDING) + ROUNDING:
                far = max(distances)
                raise ValueError(f"the attack left the {self.norm} ball of radius {eps:g}: an image is {far:g} away")
            for row, distance, ok in zip(left, distances, correct(self.model, x_adv, y).tolist(), strict=True):
                nearest[row] = math.inf if ok else min(distance, eps)
        return list(nearest.values())
