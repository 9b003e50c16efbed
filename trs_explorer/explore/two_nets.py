"""Two small networks in the plane: trained in seconds, attacked, and compared with the paper's theorems.

The loss is the mean cross-entropy of both, plus
  lambda_a   x mean |cos| of their gradients at the training points: the paper's similarity
  neighbours x the same at random neighbours of those points
  smooth     x mean |grad m(x + d) - grad m(x)|^2 / |d|^2 of the logit margin m: a lower estimate of beta^2 (defences/beta.py)
with d uniform in a square. With two classes the loss's gradient is the margin's times a number, so |cos| is the same for both.
"""

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache, wraps

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from trs_explorer.attacks.pgd import pgd
from trs_explorer.data.plane import HALF_SIDE, bars, to_plane
from trs_explorer.evaluation.bounds.measured import quantities
from trs_explorer.evaluation.bounds.theorems import Quantities, promised_radius
from trs_explorer.evaluation.transfer import TransferMatrix, measure_transfer
from trs_explorer.explore.compute_lock import one_thread
from trs_explorer.gradients import pairwise_cosine
from trs_explorer.models import Ensemble, build
from trs_explorer.models.stacked_mlp import Points, Slopes, Weights, margins_and_gradients, stack_mlps, unstack_mlps
from trs_explorer.options import Option

# (lambda_a, neighbours, smooth) of the lesson's six settings: our choice, on seeds 0 to 9. With lambda_a 1 instead of .03, "cos"
# transfers .42 instead of .67: it then rotates the boundaries apart as well; |cos| at the points is below .01 with both.
CORNERS = {
    "none": (0.0, 0.0, 0.0),
    "smoothness": (0.0, 0.0, 0.02),
    "cos": (0.03, 0.0, 0.0),
    "cos + neighbours": (0.03, 0.03, 0.0),
    "cos + smoothness": (0.03, 0.0, 0.02),
    "all three": (0.03, 0.03, 0.02),
}
OPTIONS = (
    Option("lambda_a", float, "weight of |cos| at the training points", 0, 1, spelling="lambda_a"),
    Option("neighbours", float, "weight of |cos| at random neighbours", 0, 1, spelling="neighbours"),
    Option("smooth", float, "weight of the smoothness beta", 0, 1, spelling="smooth"),
    Option("seed", int, "of the networks, the points and all noise", 0, 999_999, spelling="seed"),
)

STEPS, LEARNING_RATE = 800, 5e-3  # full batch, Adam; the rate falls to 0 along a cosine
REACH = 1.2  # half the side of the square of neighbours: about as far as an attack goes
SMOOTHED, DRAWS = 100, 2  # points for the smoothness term, drawn anew in each step, and neighbours of each
EVERY, GRID = 10, 49  # steps between two reports; points per side of the margins' grid, from edge to edge of the window
EPS, ATTACK_STEPS = 1.3, 40  # L2 in the plane
UNIT = 2 * HALF_SIDE  # the length in the plane of a distance of 1 in pixels

Grid = Float32[np.ndarray, "member row column"]
PlanePoints = Float32[np.ndarray, "n 2"]
PerNetwork = Bool[np.ndarray, "member n"]


@dataclass(frozen=True)
class Settings:
    """The three loss weights, and the seed of networks, points and all noise."""

    lambda_a: float
    neighbours: float
    smooth: float
    seed: int


@dataclass(frozen=True, eq=False)
class Result:
    """The evaluation of a trained pair. Lengths are those of the plane; in `theory`, pixels.

    cosine: mean |cos| at the training points.
    around: mean |cos| at their neighbours.
    beta: root of the mean squared secant of the margins' gradients.
    accuracy: of both networks, on fresh points.
    transfer: the transfer matrix of L2 PGD on the fresh points.
    theory: the quantities in the theorems, for the attack on F transferred to G, and the reverse.
    promised: the radius up to which Theorem 2's bound is below 1.
    within: the transfer matrix of attacks of that radius.
    x, x_adv: the fresh points, and the results of the attack on F.
    right, fooled: whether F and G classify x correctly, and x_adv wrongly.
    """

    cosine: float
    around: float
    beta: float
    accuracy: tuple[float, float]
    transfer: TransferMatrix
    theory: tuple[Quantities, Quantities]
    promised: float
    within: TransferMatrix
    x: PlanePoints
    x_adv: PlanePoints
    right: PerNetwork
    fooled: PerNetwork


@dataclass(frozen=True, eq=False)
class Progress:
    """The progress of a training.

    step, steps: the steps done, and their total.
    terms: the weighted terms of the loss.
    cosine: mean |cos| at the training points, NaN before the first step.
    margins: above 0 where a network predicts class 1; rows from the window's lower edge up.
    result: None until the pair has been evaluated.
    """

    step: int
    steps: int
    terms: dict[str, float]
    cosine: float
    margins: Grid
    result: Result | None = None


@lru_cache(maxsize=64)
def training_points(seed: int) -> tuple[Points, Int64[Tensor, " n"]]:
    """Return the training points of both networks, and their classes."""
    x, y = bars(True, "", seed)
    return to_plane(x), y


def untrained(seed: int) -> Progress:
    """Return the pair before its first step."""
    return Progress(0, STEPS, {}, math.nan, grid(stack_mlps(build("mlp", "bars", 2, seed=seed))))


def train(settings: Settings, *, steps: int = STEPS) -> Iterator[Progress]:
    """Train and evaluate a pair: yield the progress every EVERY steps, from the untrained networks on; the last has the result.

    On one thread, so that a seed gives the same pair whatever else runs, and because batches of some hundred points are too small
    for two.
    """
    pair = build("mlp", "bars", 2, seed=settings.seed)
    p, y = training_points(settings.seed)
    sign, generator = 2.0 * y - 1, torch.Generator().manual_seed(settings.seed)
    weights = stack_mlps(pair)
    adam = torch.optim.Adam(weights.values(), lr=LEARNING_RATE, foreach=True)
    for first in range(0, steps + 1, EVERY):
        with one_thread(), torch.enable_grad():
            for step in range(first, min(first + EVERY, steps)):
                adam.param_groups[0]["lr"] = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
                adam.zero_grad()
                terms, cosine = loss_terms(weights, p, sign, settings, generator)
                torch.stack(list(terms.values())).sum().backward()
                adam.step()
            values = {name: term.item() for name, term in terms.items()}
            progress = Progress(min(first + EVERY, steps), steps, values, cosine.item(), grid(weights))
        yield progress
        if first + EVERY >= steps:
            break
    unstack_mlps(weights, pair)
    for result in _evaluate(pair, weights, settings.seed):
        yield replace(progress, result=result)


def loss_terms(
    weights: Weights, p: Points, sign: Float[Tensor, " n"], settings: Settings, generator: torch.Generator
) -> tuple[dict[str, Tensor], Float[Tensor, ""]]:
    """Return the weighted terms of the loss, and mean |cos| at the training points, in one pass over all points of all terms."""
    parts = [p]
    if settings.neighbours:
        parts.append(p + _random_offsets(len(p), generator))
    if settings.smooth:
        chosen = torch.randperm(len(p), generator=generator)[:SMOOTHED].repeat(DRAWS)
        offsets = _random_offsets(len(chosen), generator)
        parts.append(p[chosen] + offsets)
    margins, slopes = margins_and_gradients(weights, torch.cat(parts))
    here, *others = slopes.split([len(part) for part in parts], 1)
    cosine = _cosine(here if settings.lambda_a else here.detach())
    terms = {"cross-entropy": F.softplus(-sign * margins[:, : len(p)]).mean()}
    if settings.lambda_a:
        terms["cos"] = settings.lambda_a * cosine
    if settings.neighbours:
        terms["neighbours"] = settings.neighbours * _cosine(others[0])
    if settings.smooth:
        terms["smoothness"] = settings.smooth * _roughness(here[:, chosen], others[-1], offsets)
    return terms, cosine.detach()


def _random_offsets(n: int, generator: torch.Generator) -> Points:
    return (2 * torch.rand(n, 2, generator=generator) - 1) * REACH


def _cosine(slopes: Slopes) -> Tensor:
    """Mean |cos| of the two networks' gradients, as for images of 1 x 1 x 2 pixels."""
    return pairwise_cosine(slopes[:, :, None, None])[0, 1].abs().mean()


def _roughness(here: Slopes, there: Slopes, offsets: Points) -> Tensor:
    """Mean squared secant of the gradients. Offsets near 0 are excluded: they would amplify rounding errors."""
    return ((there - here).square().sum(-1) / offsets.square().sum(-1).clamp_min(1e-3)).mean()


@torch.no_grad()
def grid(weights: Weights, n: int = GRID) -> Grid:
    """Return the margins at n x n points of the window."""
    return margins_and_gradients(weights, _lattice(n))[0].view(-1, n, n).numpy()


@cache
def _lattice(n: int) -> Points:
    along = torch.linspace(-HALF_SIDE, HALF_SIDE, n)
    up, across = torch.meshgrid(along, along, indexing="ij")
    return torch.stack([across, up], -1).view(-1, 2)


def _evaluate(pair: Ensemble, weights: Weights, seed: int) -> Iterator[Result | None]:
    """Yield None between two parts of the work, then the result."""
    x, y = bars(False, "", seed)
    attacked: list[Tensor] = []
    transfer = yield from _attack(pair, seed, EPS, attacked)
    x_adv, theory = attacked.copy(), []
    for surrogate, images in enumerate(x_adv):
        members, noise = (pair.members[surrogate], pair.members[1 - surrogate]), torch.Generator().manual_seed(seed)
        with one_thread():
            theory.append(quantities(*members, x, y, images, eps=EPS / UNIT, generator=noise))
        yield None
    promised = min(map(promised_radius, theory)) * UNIT
    within = yield from _attack(pair, seed, promised, attacked)
    p, generator = training_points(seed)[0].repeat(4, 1), torch.Generator().manual_seed(seed)
    offsets = _random_offsets(len(p), generator)
    with one_thread(), torch.no_grad():
        here, there = (margins_and_gradients(weights, points)[1] for points in (p, p + offsets))
        right, fooled = ((pair.member_logits(images).argmax(-1) == y).numpy() for images in (x, x_adv[0]))
    yield Result(
        cosine=_cosine(here).item(),
        around=_cosine(there).item(),
        beta=_roughness(here, there, offsets).sqrt().item(),
        accuracy=tuple(right.mean(-1).tolist()),
        transfer=transfer,
        theory=(theory[0], theory[1]),
        promised=promised,
        within=within,
        x=to_plane(x).numpy(),
        x_adv=to_plane(x_adv[0]).numpy(),
        right=right,
        fooled=~fooled,
    )


def _attack(pair: Ensemble, seed: int, eps: float, attacked: list[Tensor]) -> Generator[None, None, TransferMatrix]:
    """Attack both networks on fresh points: yield None after each attack, append its images to `attacked`, return the matrix."""
    x, y = bars(False, "", seed)

    @wraps(pgd)  # keeps PGD's signature, so that the matrix can pass it the options for transfer
    def attack(*args: object, **kwargs: object) -> Tensor:
        attacked.append(pgd(*args, eps=eps / UNIT, steps=ATTACK_STEPS, norm="l2", **kwargs))
        return attacked[-1]

    matrices = measure_transfer(pair, x, y, attack=attack, seed=seed, batch_size=len(x))
    matrix = next(matrices)
    for _ in pair.members:
        with one_thread():
            matrix = next(matrices)
        yield None
    return matrix
