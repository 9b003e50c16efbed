"""Angles between the members' loss gradients, and their norms, at one image and in the ball around it."""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int, Int64
from torch import Tensor

from trs_explorer.attack_catalogue import NORMS
from trs_explorer.attacks.checks import check_radius
from trs_explorer.attacks.noise import draw_seeds, random_shift
from trs_explorer.explore.compute_lock import one_thread
from trs_explorer.explore.planes import OneImage
from trs_explorer.explore.slices import is_heavy
from trs_explorer.gradients import MIN_NORM, MemberGradients, input_gradients, log_odds, pairwise_cosine
from trs_explorer.models.batch_size import fitting_batch
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.eval_mode import eval_mode

PairMatrix = Float64[np.ndarray, "member member"]
PerMember = Float64[np.ndarray, " member"]
NORM_NAMES = {"linf": "max norm", "l2": "L2"}
DIFFERENT = 0.01  # two |cos| that differ by more than this differ by more than rounding in the last digit shown


@dataclass(frozen=True, eq=False)
class Angles:
    """|cos| of every pair of members' loss gradients, and the gradients' L2 norms, at x and in the ball around it.

    Directions are those of the log-odds (`gradients.log_odds`); the cross-entropy's are the same, but for rounding. A gradient
    vanishes if its norm is below gradients.MIN_NORM or not finite: it has no direction. Pairs with a vanishing gradient are left
    out; NaN where no sample remains. Norms are those of the cross-entropy.

    eps, norm: the radius of the ball in [0, 1] pixels, and its norm ("linf" or "l2").
    samples: the number of random points in the ball.
    at_x: |cos| at x.
    signed: the cosine at x with its sign; gradients may oppose each other.
    mean, deviation, largest: mean, (population) standard deviation and maximum of |cos| over the samples.
    norms: gradient norms at x.
    steepest: the largest norm among x and the samples, hence a lower bound of the supremum over the ball.
    undirected: at how many of these samples + 1 points the gradient of a member's log-odds vanishes.
    vanishing: the same of its cross-entropy: for a confident member, because float32 cannot hold it.
    loss_at_x, loss_mean: `at_x` and `mean` as the cross-entropy's gradients have it, in float32, without the vanishing ones.
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
    vanishing: Int64[np.ndarray, " member"]
    loss_at_x: PairMatrix
    loss_mean: PairMatrix


def angles(
    ensemble: Ensemble,
    x: OneImage,
    y: Int[Tensor, "1"],
    *,
    eps: float,
    norm: str = "linf",
    samples: int = 32,
    seed: int,
    between: Callable[[], object] = lambda: None,
) -> Angles:
    """Measure the angles at x and at random points of the ball around it, within [0, 1].

    Max norm: uniform in the part of the ball inside [0, 1]. L2: uniform in the ball, then each pixel clipped to [0, 1].
    Cost: 2 (samples + 1) gradients per member.

    eps: the radius, in [0, 1] pixels.
    norm: "linf" or "l2".
    samples: the number of points.
    seed: of the random points, drawn on the CPU.
    between: called before every pass; a heavy model takes many.
    Raises: ValueError for an invalid eps or norm, or fewer than one sample.
    """
    check_radius(eps)
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")
    if samples < 1:
        raise ValueError(f"samples must be >= 1, got {samples}")
    around = torch.cat([x, _around(x, samples, eps=eps, norm=norm, generator=torch.Generator().manual_seed(seed))]).detach()
    threads = nullcontext() if is_heavy(ensemble, x[0]) else one_thread()
    size = fitting_batch(ensemble, around)

    def gradients_of(**what: Any) -> MemberGradients:
        parts = []
        for points in around.clone().split(size):
            between()
            parts.append(input_gradients(ensemble, points, y.clone().expand(len(points)), **what)[1].double())
        return torch.cat(parts, 1)

    with threads, torch.inference_mode(False), torch.enable_grad(), eval_mode(ensemble):
        directions, gradients = gradients_of(of=log_odds), gradients_of()
    signed, undirected = _signed_cosine(directions)
    loss_signed, vanishing = _signed_cosine(gradients)
    mean, deviation, largest = _over_the_ball(signed)
    lengths = torch.linalg.vector_norm(gradients.flatten(2), dim=-1)
    return Angles(
        eps=eps,
        norm=norm,
        samples=samples,
        at_x=np.abs(signed[..., 0]),
        signed=signed[..., 0],
        mean=mean,
        deviation=deviation,
        largest=largest,
        norms=lengths[:, 0].cpu().numpy(),
        steepest=lengths.amax(-1).cpu().numpy(),
        undirected=undirected,
        vanishing=vanishing,
        loss_at_x=np.abs(loss_signed[..., 0]),
        loss_mean=_over_the_ball(loss_signed)[0],
    )


def _signed_cosine(gradients: MemberGradients) -> tuple[np.ndarray, np.ndarray]:
    """Return the cosine of every pair at every point, NaN where a gradient vanishes; and how often each member's does."""
    lengths = torch.linalg.vector_norm(gradients.flatten(2), dim=-1)
    directed = (lengths > MIN_NORM) & lengths.isfinite()
    defined = (directed[:, None] & directed[None]).cpu().numpy()
    cosine = pairwise_cosine(gradients).cpu().numpy().clip(-1, 1)
    return np.where(defined, cosine, np.nan), (~directed).sum(-1).cpu().numpy()


def _over_the_ball(signed: np.ndarray) -> tuple[PairMatrix, PairMatrix, PairMatrix]:
    """Return mean, standard deviation and maximum of |cos| over all points but the first, which is x; NaN without any."""
    defined = np.isfinite(signed[..., 1:])
    ball, count = np.where(defined, np.abs(signed[..., 1:]), 0), defined.sum(-1)
    total = np.where(count, count, np.nan)
    mean = ball.sum(-1) / total
    spread = np.where(defined, ball - mean[..., None], 0)
    return mean, np.sqrt((spread**2).sum(-1) / total), np.where(count, ball.max(-1), np.nan)


def _around(x: OneImage, samples: int, *, eps: float, norm: str, generator: torch.Generator) -> Tensor:
    """Draw points of the ball around x, in [0, 1]."""
    if norm == "l2":
        seeds = [seed for (seed,) in draw_seeds(samples, 1, generator)]
        shifts = random_shift(x.expand(samples, *x.shape[1:]), seeds, eps=eps, norm=norm)
        return (x + shifts).clamp(0, 1)
    noise = torch.rand(samples, *x.shape[1:], generator=generator).to(x)
    low, high = (x - eps).clamp_min(0), (x + eps).clamp_max(1)
    return low + noise * (high - low)


def angles_sentence(measured: Angles, *, pair: tuple[int, int] | None = None, at: str = "Here") -> str:
    """Describe the angles in one sentence for students.

    pair: the two members to describe; by default the pair with the largest |cos| at x.
    at: where x is, such as "At image 8", as the sentence's beginning.
    """
    steepest = float(measured.steepest.max())
    steep = f"the largest gradient norm is {_number(steepest)}" if math.isfinite(steepest) else "some gradient is not finite"
    members = len(measured.norms)
    if members < 2:
        return f"A single member has no angle to another; {steep}."
    i, j = pair or _closest(measured.at_x)
    which = f"of F{i + 1} and F{j + 1}"
    cosine, mean = float(measured.at_x[i, j]), float(measured.mean[i, j])
    if math.isnan(cosine):
        return f"{at} the angle between the gradients {which} is undefined, because one of them vanishes; {steep}."
    steep += _loss_note(measured, i, j)
    degrees = round(math.degrees(math.acos(float(measured.signed[i, j]))))
    closest = ", the closest pair," if pair is None and members > 2 else ""
    here = f"{at} the gradients {which}{closest} are {degrees} degree{'' if degrees == 1 else 's'} apart (|cos| {cosine:.2f})"
    if measured.eps == 0 or math.isnan(mean):
        return f"{here}; {steep}."
    ball = f"within ε {measured.eps:.3g} ({NORM_NAMES[measured.norm]})"
    around = f"{ball} |cos| is {mean:.2f} ± {measured.deviation[i, j]:.2f}"
    return f"{here}, {around}; {steep}."


def _loss_note(measured: Angles, i: int, j: int) -> str:
    """Say where the cross-entropy's gradients of two members vanish or have other angles than the log-odds'; else nothing."""
    points, lost = measured.samples + 1, [int(measured.vanishing[k]) for k in (i, j)]
    if max(lost) > max(int(measured.undirected[k]) for k in (i, j)):
        counts = f"F{i + 1} at {lost[0]} and of F{j + 1} at {lost[1]} of {points} points"
        return f"; the cross-entropy's gradient of {counts} is too small for float32, so the angles are the log-odds'"
    here = float(measured.loss_at_x[i, j])
    if abs(here - float(measured.at_x[i, j])) <= DIFFERENT:
        return ""
    return f"; by the cross-entropy's gradients, which float32 rounds, |cos| would be {here:.2f}"


def fooled_sentence(surrogate: str, fooled: Sequence[str], wrong: Sequence[str] = ()) -> str:
    """Say which models an attack fools. Names are such as "F1" or "the ensemble".

    fooled: the models that it fools, possibly with the surrogate.
    wrong: the models that predict a wrong class without it; it cannot fool them.
    """
    others = [name for name in fooled if name != surrogate]
    attack = f"the attack on {surrogate}"
    already = f"{_listed(wrong)} {'are' if len(wrong) > 1 else 'is'} wrong without an attack" if wrong else ""
    if surrogate in fooled:
        said = f"{attack} also fools {_listed(others)}" if others else f"{attack} fools no other model"
    elif others:
        said = f"{attack} fools {_listed(others)}" + ("" if surrogate in wrong else f", but not {surrogate} itself")
    else:
        said = "" if surrogate in wrong else f"{attack} fools no model at all"
    return f"{'; '.join(filter(None, (already, said)))}."


def _closest(cosine: PairMatrix) -> tuple[int, int]:
    """Return the pair of members with the largest |cos|; the first pair if none is defined."""
    i, j = np.triu_indices(len(cosine), 1)
    best = int(np.nan_to_num(cosine[i, j], nan=-1).argmax())
    return int(i[best]), int(j[best])


def _listed(names: Sequence[str]) -> str:
    """Join names: "A, B and C"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _number(value: float) -> str:
    """Format a number with two significant digits: 8.1, 120, 0.04, 1e-05."""
    return f"{float(f'{value:.2g}'):g}"
