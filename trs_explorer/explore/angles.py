"""Angles between the members' gradients, and how steep they are, at one image and around it; in numbers and in words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int, Int64
from torch import Tensor

from trs_explorer.attack_catalogue import NORMS
from trs_explorer.attacks.checks import check_radius
from trs_explorer.attacks.model_state import eval_mode
from trs_explorer.attacks.noise import draw_seeds, random_shift
from trs_explorer.explore.planes import OneImage
from trs_explorer.explore.turns import one_thread
from trs_explorer.gradients import NOISE, input_gradients, pairwise_cosine
from trs_explorer.models.ensemble import Ensemble

PairMatrix = Float64[np.ndarray, "member member"]
PerMember = Float64[np.ndarray, " member"]
NORM_WORDS = {"linf": "max norm", "l2": "L2"}


@dataclass(frozen=True, eq=False)
class Angles:
    """|cos| of every pair of members' loss gradients, and the gradients' L2 norms, at x and in the ball around it.

    eps, norm: of the ball ("linf" or "l2").
    at_x, mean, deviation, largest: |cos| at x; and over the samples in the ball its mean, its standard deviation (that of the
    population) and its maximum. Only samples count where both gradients have a direction; NaN where there is none.
    signed: the cosine at x with its sign: gradients may oppose each other.
    norms: at x.  steepest: the largest norm found among x and the samples: a maximum over a sample, hence a lower bound of the
    supremum over the ball.  undirected: at how many of those samples + 1 points a member's gradient is shorter than
    gradients.NOISE, or not finite: rounding, without a direction.
    """

    eps: float
    norm: str
    samples: int
    at_x: PairMatrix
    signed: PairMatrix
    mean: PairMatrix
    deviation: PairMatrix
    largest: PairMatrix
    norms: PerMember
    steepest: PerMember
    undirected: Int64[np.ndarray, " member"]


def angles(
    ensemble: Ensemble, x: OneImage, y: Int[Tensor, "1"], *, eps: float, norm: str = "linf", samples: int = 32, seed: int
) -> Angles:
    """Measure the angles at x and at points of the ball of radius eps, within [0, 1].

    Max norm: drawn uniformly from what of the ball lies in [0, 1]. L2: uniformly from the ball, then each pixel cut to [0, 1].

    Units: eps in [0, 1] pixels. Cost: samples + 1 gradients a member. Noise: drawn on the CPU from the seed.
    Raises: ValueError for a bad eps, or fewer than one sample.
    """
    check_radius(eps)
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")
    if samples < 1:
        raise ValueError(f"samples must be >= 1, got {samples}")
    around = torch.cat([x, _around(x, samples, eps=eps, norm=norm, generator=torch.Generator().manual_seed(seed))]).detach()
    with one_thread(), torch.inference_mode(False), torch.enable_grad(), eval_mode(ensemble):
        gradients = input_gradients(ensemble, around.clone(), y.clone().expand(len(around)))[1]
    gradients = gradients.double()
    length = torch.linalg.vector_norm(gradients.flatten(2), dim=-1)
    directed = (length > NOISE) & length.isfinite()
    known = (directed[:, None] & directed[None]).cpu().numpy()
    signed = np.where(known, pairwise_cosine(gradients).cpu().numpy().clip(-1, 1), np.nan)
    cosine = np.abs(signed)
    count = known[..., 1:].sum(-1)
    ball = np.where(known[..., 1:], cosine[..., 1:], 0)
    total = np.where(count, count, np.nan)
    mean = ball.sum(-1) / total
    spread = np.where(known[..., 1:], ball - mean[..., None], 0)
    return Angles(
        eps=eps,
        norm=norm,
        samples=samples,
        at_x=cosine[..., 0],
        signed=signed[..., 0],
        mean=mean,
        deviation=np.sqrt((spread**2).sum(-1) / total),
        largest=np.where(count, ball.max(-1), np.nan),
        norms=length[:, 0].cpu().numpy(),
        steepest=length.amax(-1).cpu().numpy(),
        undirected=(~directed).sum(-1).cpu().numpy(),
    )


def _around(x: OneImage, samples: int, *, eps: float, norm: str, generator: torch.Generator) -> Tensor:
    """Points of the ball around x, in [0, 1]."""
    if norm == "l2":
        seeds = [seed for (seed,) in draw_seeds(samples, 1, generator)]
        shifts = random_shift(x.expand(samples, *x.shape[1:]), seeds, eps=eps, norm=norm)
        return (x + shifts).clamp(0, 1)
    noise = torch.rand(samples, *x.shape[1:], generator=generator).to(x)
    low, high = (x - eps).clamp_min(0), (x + eps).clamp_max(1)
    return low + noise * (high - low)


def event_line(found: Angles, *, pair: tuple[int, int] | None = None) -> str:
    """The angles in a sentence for a student.

    pair: which two members to speak of; else the pair whose gradients are closest at x.
    """
    steepest = float(found.steepest.max())
    steep = f"the steepest gradient found is {_number(steepest)}" if math.isfinite(steepest) else "some gradient is not finite"
    members = len(found.norms)
    if members < 2:
        return f"One member alone has no angle to another; {steep}."
    i, j = pair or _closest(found.at_x)
    which = f"of F{i + 1} and F{j + 1}"
    cosine, mean = float(found.at_x[i, j]), float(found.mean[i, j])
    if math.isnan(cosine):
        return f"Here the gradients {which} have no angle, because one of them has no direction; {steep}."
    degrees = round(math.degrees(math.acos(float(found.signed[i, j]))))
    closest = ", the closest pair," if pair is None and members > 2 else ""
    here = f"Here the gradients {which}{closest} are {degrees} degree{'' if degrees == 1 else 's'} apart (|cos| {_share(cosine)})"
    if found.eps == 0 or math.isnan(mean):
        return f"{here}; {steep}."
    ball = f"within eps {_share(found.eps, 3)} ({NORM_WORDS[found.norm]})"
    around = f"{ball} |cos| is {_share(mean)} ± {_share(float(found.deviation[i, j]))}"
    return f"{here}, {around}; {steep}."


def fooled_in_words(surrogate: str, fooled: Sequence[str]) -> str:
    """Whom an attack fools, the surrogate among them if it is; names as they are to be read, such as "F1" or "the ensemble"."""
    others = [name for name in fooled if name != surrogate]
    attack = f"The attack on {surrogate}"
    if surrogate in fooled:
        return f"{attack} also fools {_listed(others)}." if others else f"{attack} fools no other model."
    return f"{attack} does not fool {surrogate} itself, but {_listed(others)}." if others else f"{attack} fools no model at all."


def _closest(cosine: PairMatrix) -> tuple[int, int]:
    """The pair of members with the largest |cos|; the first pair if none is known."""
    i, j = np.triu_indices(len(cosine), 1)
    best = int(np.nan_to_num(cosine[i, j], nan=-1).argmax())
    return int(i[best]), int(j[best])


def _listed(names: Sequence[str]) -> str:
    """A, B and C."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _share(value: float, digits: int = 2) -> str:
    """A number from 0 to 1 without its leading zero: .07; with 3 digits, an eps such as .3 or .031."""
    text = f"{value:.2f}" if digits == 2 else f"{value:.{digits}f}".rstrip("0").rstrip(".")
    return text.removeprefix("0") or "0"


def _number(value: float) -> str:
    """Two digits that tell: 8.1, 120, .04, 1e-05."""
    text = f"{float(f'{value:.2g}'):g}"
    return text.removeprefix("0") if text.startswith("0.") else text
