"""The theorems' quantities, estimated from a sample, and the bounds on transfer that they come to (paper, section 2).

Infima and suprema over all inputs are taken over a sample: of a supremum that is a lower bound, of an infimum an upper one. So
the bounds are estimates from inside, of what the theorems would say; they certify nothing.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from trs_explorer.attacks.checks import check_images, check_radius
from trs_explorer.attacks.model_state import eval_mode
from trs_explorer.attacks.noise import draw_seeds, random_shift
from trs_explorer.gradients import MIN_NORM, Images, Labels, input_gradients
from trs_explorer.models.ensemble import Ensemble

PerImage = Float[Tensor, " batch"]


@dataclass(frozen=True)
class Quantities:
    """What the theorems speak of, for an attack on a surrogate F and a target G.

    n: images.  eps: the attack's L2 radius, in [0, 1] pixels as all lengths.
    beta: the largest secant |grad l(x, c) - grad l(x', c)| / |x - x'| of either model (Def. 5).  lowest, highest: the cosine of
    the two models' gradients (Def. 4).  steepest: the longest gradient of either, B.  least: l_min, the smallest loss of a class
    that the attack may lead to.
    risk_f, risk_g: shares wrong; loss_f, loss_g: mean cross-entropies (Def. 3).  alpha: the attack's failure on F (Def. 2).
    c_f, c_g: as in Theorem 1, whose sign they have.  transferred: how many images have T_r = 1 (Def. 6).
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


def lower_bound(found: Quantities) -> float | None:
    """What Theorem 1 says Pr(T_r = 1) is at least; below 0 it says nothing. None where eps + c_G > 0 does not hold.

    For one model in place of both, it is never above 0: c_F is a maximum and c_G a minimum of what is then the same.
    Source: Theorem 1; that it needs eps + c_G > 0 is the Markov inequality of its proof.
    """
    reach, works = found.eps + found.c_g, 1 - found.alpha
    if not reach > 0:
        return None
    apart = math.sqrt(max(0.0, 2 - 2 * found.lowest))
    missed = (found.eps * (1 + found.alpha) + found.c_f * works) / reach
    return works - (found.risk_f + found.risk_g) - missed - found.eps * works / reach * apart


def upper_bound(found: Quantities, eps: float | None = None) -> float | None:
    """What Theorem 2 says Pr(T_r = 1) is at most; from 1 on it says nothing. None where its condition fails: eps is too large.

    eps: another, smaller radius than the quantities were estimated for.
    Source: Theorem 2.
    """
    left = _left(found, found.eps if eps is None else eps)
    return (found.loss_f + found.loss_g) / left if left > 0 else None


def promised_radius(found: Quantities, share: float = 1.0) -> float:
    """The largest L2 radius up to which Theorem 2 says that Pr(T_r = 1) is at most `share`; 0 where it never does.

    The root of l_min - eps B (1 + sqrt((1 + S) / 2)) - beta eps^2 = (xi_F + xi_G) / share.
    """
    spare, slope = found.least - (found.loss_f + found.loss_g) / share, _slope(found)
    if spare <= 0:
        return 0.0
    root = math.sqrt(slope**2 + 4 * found.beta * spare)
    return 2 * spare / (slope + root) if slope + root else math.inf


def _slope(found: Quantities) -> float:
    return found.steepest * (1 + math.sqrt(max(0.0, 1 + found.highest) / 2))


def _left(found: Quantities, eps: float) -> float:
    """What must stay positive for Theorem 2."""
    return found.least - eps * _slope(found) - found.beta * eps**2


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
    """The quantities for the attack that made x_adv from x on F, within eps in L2.

    Gradients are taken of the cross-entropy of every class, at x, at x_adv and at `samples` points of the L2 ball around x, cut
    to [0, 1]; secants are those from x to the others. Where a gradient is shorter than gradients.MIN_NORM it has no direction.
    wanted: the class that a targeted attack wants (Theorems 1 and 2 as they stand). None: untargeted, in whose bounds the losses
    of the true class take the place of those of y_t in c_F and c_G, with the opposite sign, l_min is over all other classes,
    and a model is fooled if another class than y has the smallest loss.
    Raises: ValueError for images or a radius that cannot be, or an attack that left its ball.
    Source: paper, Definitions 2 to 6, Theorems 1 and 2; untargeted: our derivation, by the same proofs.
    """
    check_images(x, y)
    check_images(x_adv, y)
    check_radius(eps)
    far = float(torch.linalg.vector_norm((x_adv - x).flatten(1), dim=-1).max()) if len(x) else math.nan
    if not far <= eps * (1 + 1e-4) + 1e-6:
        raise ValueError(f"x_adv must be images within eps = {eps:g} of x in L2, got {len(x)} up to {far:.4g} away")
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
    own = clean[0].masked_fill(~true, 0).sum(1).mean(-1)  # the mean loss of the true class
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
        loss_f=float(own[0]),
        loss_g=float(own[1]),
        alpha=1 - float(fooled[0].double().mean()),
        c_f=float(c_f),
        c_g=float(c_g),
        transferred=int((right.all(0) & fooled.all(0)).sum()),
    )


def _of_every_class(
    pair: Ensemble, x: Images, classes: int
) -> tuple[Float[Tensor, "member class batch"], Float[Tensor, "member class batch pixel"]]:
    """Losses of every class, and their gradients."""
    found = [input_gradients(pair, x, torch.full((len(x),), c, device=x.device)) for c in range(classes)]
    return torch.stack([losses for losses, _ in found], 1), torch.stack([slopes.flatten(2) for _, slopes in found], 1)


def _secant(here: Tensor, there: Tensor, step: Tensor) -> float:
    """The largest change of a gradient over the distance, where there is one."""
    way = torch.linalg.vector_norm(step.flatten(1), dim=-1)
    change = torch.linalg.vector_norm(there - here, dim=-1)[..., way > 0] / way[way > 0]
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
