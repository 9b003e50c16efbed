"""The quantities of the paper's theorems, estimated from a sample, and the resulting bounds on transfer (paper, section 2).

Infima and suprema over all inputs are estimated over a sample: too low for a supremum, too high for an infimum. So the bounds
are estimates of those of the theorems, from the optimistic side. They certify nothing.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from trs_explorer.attacks.checks import check_images, check_radius
from trs_explorer.attacks.noise import draw_seeds, random_shift
from trs_explorer.gradients import MIN_NORM, Images, Labels, input_gradients
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.eval_mode import eval_mode

PerImage = Float[Tensor, " batch"]


@dataclass(frozen=True)
class Quantities:
    """The quantities in the theorems, for an attack on a surrogate F and a target G. Lengths are in [0, 1] pixels.

    - n: number of images.
    - eps: the attack's L2 radius.
    - beta: the largest secant |grad l(x, c) - grad l(x', c)| / |x - x'| of either model (Def. 5).
    - lowest, highest: the smallest and the largest cosine of the two models' gradients (Def. 4).
    - steepest: B, the largest gradient norm of either model.
    - least: l_min, the smallest loss of a class that the attack may lead to.
    - risk_f, risk_g: shares of wrong answers (Def. 3).
    - loss_f, loss_g: mean cross-entropies (Def. 3).
    - alpha: the share of images on which the attack fails on F (Def. 2).
    - c_f, c_g: as in Theorem 1, with its sign.
    - transferred: number of images with T_r = 1 (Def. 6).
    """

    n: int
    eps: float
    beta: float
    lowest: float
    highest: float
    steepest: float
    least: float
    risk_f: float
    risk_g: float
    loss_f: float
    loss_g: float
    alpha: float
    c_f: float
    c_g: float
    transferred: int


def lower_bound(q: Quantities) -> float | None:
    """Theorem 1's lower bound on Pr(T_r = 1); below 0 it says nothing. None unless eps + c_G > 0.

    If F and G are the same model, it is never above 0: c_F is a maximum and c_G a minimum of the same values.
    Source: Theorem 1; that it needs eps + c_G > 0 is the Markov inequality of its proof.
    """
    denominator, success = q.eps + q.c_g, 1 - q.alpha
    if not denominator > 0:
        return None
    distance = math.sqrt(max(0.0, 2 - 2 * q.lowest))
    missed = (q.eps * (1 + q.alpha) + q.c_f * success) / denominator
    return success - (q.risk_f + q.risk_g) - missed - q.eps * success / denominator * distance


def upper_bound(q: Quantities, eps: float | None = None) -> float | None:
    """Theorem 2's upper bound on Pr(T_r = 1); from 1 on it says nothing. None if eps is too large for the theorem.

    eps: a radius smaller than the one of the quantities; default: theirs.
    Source: Theorem 2.
    """
    margin = _margin(q, q.eps if eps is None else eps)
    return (q.loss_f + q.loss_g) / margin if margin > 0 else None


def promised_radius(q: Quantities, share: float = 1.0) -> float:
    """The largest L2 radius up to which Theorem 2 bounds Pr(T_r = 1) by `share`; 0 if there is none.

    The root of l_min - eps B (1 + sqrt((1 + S) / 2)) - beta eps^2 = (xi_F + xi_G) / share.
    """
    spare, slope = q.least - (q.loss_f + q.loss_g) / share, _slope(q)
    if spare <= 0:
        return 0.0
    root = math.sqrt(slope**2 + 4 * q.beta * spare)
    return 2 * spare / (slope + root) if slope + root else math.inf


def _slope(q: Quantities) -> float:
    return q.steepest * (1 + math.sqrt(max(0.0, 1 + q.highest) / 2))


def _margin(q: Quantities, eps: float) -> float:
    """The denominator of Theorem 2, which must be positive."""
    return q.least - eps * _slope(q) - q.beta * eps**2


def quantities(
    f: nn.Module,
    g: nn.Module,
    x: Images,
    y: Labels,
    x_adv: Images,
    *,
    eps: float,
    wanted: Labels | None = None,
    samples: int = 8,
    generator: torch.Generator | None = None,
) -> Quantities:
    """Estimate the quantities for an attack on F that made x_adv from x, within eps in L2.

    - f, g: surrogate and target.
    - x, y, x_adv: images in [0, 1], their true labels, and their adversarial images.
    - wanted: the class of a targeted attack (Theorems 1 and 2 as in the paper). None: an untargeted attack. Then the losses of
      the true class replace those of y_t in c_F and c_G, with the opposite sign, l_min is over all other classes, and a model
      is fooled if another class than y has the smallest loss.
    - samples: how many random points of the L2 ball around each x.
    - generator: of these points.

    Gradients are those of the cross-entropy of every class, at x, at x_adv and at the samples, which are clamped to [0, 1].
    Secants are taken from x to the other points. A gradient shorter than gradients.MIN_NORM has no direction.
    Raises: ValueError for invalid images or radius, or an x_adv outside the ball.
    Source: paper, Definitions 2 to 6, Theorems 1 and 2; untargeted: our derivation, by the same proofs.
    """
    check_images(x, y)
    check_images(x_adv, y)
    check_radius(eps)
    largest = float(torch.linalg.vector_norm((x_adv - x).flatten(1), dim=-1).max()) if len(x) else math.nan
    if not largest <= eps * (1 + 1e-4) + 1e-6:
        raise ValueError(f"x_adv must be images within eps = {eps:g} of x in L2, got {len(x)} up to {largest:.4g} away")
    pair = Ensemble([f, g])
    with eval_mode(pair), torch.inference_mode(False), torch.enable_grad():
        classes = pair.member_logits(x[:1]).shape[-1]
        clean = _of_every_class(pair, x, classes)
        moved = _of_every_class(pair, x_adv, classes)
        others = [(x_adv, moved)]
        for _ in range(samples):
            shift = random_shift(x, [s for (s,) in draw_seeds(len(x), 1, generator)], eps=eps, norm="l2")
            point = (x + shift).clamp(0, 1)
            others.append((point, _of_every_class(pair, point, classes)))
    beta = max(_secant(clean[1], there[1], point - x) for point, there in others)
    gradients = torch.cat([clean[1], *(there[1] for _, there in others)], dim=2)
    lengths = torch.linalg.vector_norm(gradients, dim=-1)
    some = (lengths > MIN_NORM).all(0)
    cosine = ((gradients[0] * gradients[1]).sum(-1) / lengths.prod(0))[some].clamp(-1, 1)

    true = torch.nn.functional.one_hot(y, classes).bool().T  # [class, batch], as the losses are
    aims = ~true if wanted is None else torch.nn.functional.one_hot(wanted, classes).bool().T
    right = clean[0].argmin(1) == y
    after = moved[0].argmin(1)
    fooled = after != y if wanted is None else after == wanted
    crossing = [_crossing(m, clean, moved, true, aims, targeted=wanted is not None) for m in range(2)]
    bend = beta * eps**2 / 2
    c_f = ((crossing[0][0] + bend) / crossing[0][1]).nan_to_num(math.inf, math.inf, -math.inf).max()
    c_g = ((crossing[1][0] - bend) / crossing[1][1]).nan_to_num(-math.inf, math.inf, -math.inf).min()
    true_loss = clean[0].masked_fill(~true, 0).sum(1).mean(-1)  # the mean loss of the true class
    return Quantities(
        n=len(x),
        eps=eps,
        beta=beta,
        lowest=float(cosine.min()) if len(cosine) else math.nan,
        highest=float(cosine.max()) if len(cosine) else math.nan,
        steepest=float(lengths.max()),
        least=float(clean[0].masked_fill(~aims, math.inf).min()),
        risk_f=1 - float(right[0].double().mean()),
        risk_g=1 - float(right[1].double().mean()),
        loss_f=float(true_loss[0]),
        loss_g=float(true_loss[1]),
        alpha=1 - float(fooled[0].double().mean()),
        c_f=float(c_f),
        c_g=float(c_g),
        transferred=int((right.all(0) & fooled.all(0)).sum()),
    )


def _of_every_class(
    pair: Ensemble, x: Images, classes: int
) -> tuple[Float[Tensor, "member class batch"], Float[Tensor, "member class batch pixel"]]:
    """The losses of every class, and their gradients."""
    per_class = [input_gradients(pair, x, torch.full((len(x),), c, device=x.device)) for c in range(classes)]
    return torch.stack([losses for losses, _ in per_class], 1), torch.stack([slopes.flatten(2) for _, slopes in per_class], 1)


def _secant(here: Tensor, there: Tensor, step: Tensor) -> float:
    """The largest change of a gradient divided by the distance; points without a distance do not count."""
    length = torch.linalg.vector_norm(step.flatten(1), dim=-1)
    change = torch.linalg.vector_norm(there - here, dim=-1)[..., length > 0] / length[length > 0]
    return float(change.max()) if change.numel() else 0.0


def _crossing(
    member: int,
    clean: tuple[Tensor, Tensor],
    moved: tuple[Tensor, Tensor],
    true: Bool[Tensor, "class batch"],
    aims: Bool[Tensor, "class batch"],
    *,
    targeted: bool,
) -> tuple[PerImage, PerImage]:
    """Theorem 1's numerator without its beta term, and the length of the gradient below it, image by image."""
    followed = aims if targeted else true  # the class whose loss the attack follows
    loss = clean[0][member].masked_fill(~followed, 0).sum(0)
    slope = torch.linalg.vector_norm(clean[1][member], dim=-1).masked_fill(~followed, 0).sum(0)
    if targeted:
        return moved[0][member].amin(0) - loss, slope
    return loss - moved[0][member].masked_fill(~aims, math.inf).amin(0), slope
