"""iGAT on ADP: adversarial training in which each image that fools the ensemble is learnt by a member that is drawn for it."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from trs_explorer.defences.adp import adp
from trs_explorer.defences.terms import with_total
from trs_explorer.gradients import Images, Labels, MemberLosses, log_odds, member_losses
from trs_explorer.models.ensemble import Ensemble


def igat(
    ensemble: Ensemble,
    x: Images,
    y: Labels,
    *,
    lambda_global: float,
    lambda_wrong: float,
    lambda_entropy: float,
    lambda_logdet: float,
    generator: torch.Generator,
    x_ce: Images,
) -> dict[str, Tensor]:
    """Return ADP's loss at x + the members' cross-entropies at x_ce + two terms of those images x_ce that fool the ensemble.

    "global" is the cross-entropy of the drawn member (`draw_members`), "wrong" the sum over members of `wrong_class_loss`. Both
    are means over the batch, in which an image that the ensemble classifies correctly counts as 0.

    lambda_global, lambda_wrong: their weights.
    lambda_entropy, lambda_logdet: the weights of ADP's terms.
    generator: of the draw.
    x_ce: the adversarial images; the method's recipe has adversarial training on.
    Source: Deng and Mu, "Understanding and improving ensemble adversarial defense" (iGAT), NeurIPS 2023 (arXiv:2310.18477), by
    its authors' code, train_igat_adp_cifar10_2.py, with its defaults: weights of 5 and 10, and one term of wrong classes per
    member. Their other script for ADP has no cross-entropy but "global", on batches that are half adversarial. It differs in
    that training starts from scratch (they can start from a trained ensemble), and in `wrong_class_loss`.
    """
    of_adp = adp(ensemble, x, y, lambda_entropy=lambda_entropy, lambda_logdet=lambda_logdet, x_ce=x)
    logits = ensemble.member_logits(x_ce)
    losses, fooled = member_losses(logits, y), ensemble.vote(logits).argmax(-1) != y
    of_drawn = losses.gather(0, draw_members(losses.detach(), generator=generator)[None])[0]
    terms = {name: of_adp[name] for name in ("ce", "entropy", "logdet")}
    terms["adversarial"] = losses.mean(-1).sum()
    terms["global"] = lambda_global * torch.where(fooled, of_drawn, 0).mean()
    terms["wrong"] = lambda_wrong * torch.where(fooled, wrong_class_loss(logits, y), 0).mean(-1).sum()
    return with_total(terms)


def draw_members(losses: MemberLosses, *, generator: torch.Generator) -> Int[Tensor, " batch"]:
    """Return a member for each image, drawn at random: the one with the lowest loss has the highest probability.

    From one rank to the next the probability halves: with N members that of rank r (0: the lowest loss) is 2^(N-1-r) / (2^N - 1).
    So each member mostly learns the images that it has the least trouble with.

    losses: cross-entropies: the lowest belongs to the highest probability of the true class.
    """
    ranks = losses.argsort(dim=0, stable=True).argsort(0)
    chances = 0.5 ** ranks.T.double()
    waiting = torch.empty_like(chances).exponential_(generator=generator)
    return (chances / waiting).argmax(1)  # what torch.multinomial draws, without its checks, for which the CPU waits for a GPU


def wrong_class_loss(logits: Float[Tensor, "member batch class"], y: Labels) -> MemberLosses:
    """Return -log(1 - p) for every member and image, where p is the member's highest probability of any wrong class.

    In the authors' code p ends at .99, and so does its gradient: where a member is most wrong. By log-odds nothing overflows, so
    here there is no such limit.
    """
    true_class = F.one_hot(y, logits.shape[-1]).bool()
    likeliest = logits.detach().masked_fill(true_class, -math.inf).argmax(-1)
    return F.softplus(-log_odds(logits.flatten(0, 1), likeliest.flatten())).view(likeliest.shape)
