"""ADP: members agree on the true class, but differ in the probabilities of the other classes."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from trs_explorer.defences.terms import with_total
from trs_explorer.gradients import Images, Labels, member_losses
from trs_explorer.models.ensemble import Ensemble


def adp(
    ensemble: Ensemble, x: Images, y: Labels, *, lambda_entropy: float, lambda_logdet: float, x_ce: Images
) -> dict[str, Tensor]:
    """Return the sum of the members' cross-entropies - lambda_entropy * entropy of their mean - lambda_logdet * log-volume.

    Both diversity terms are means over the images x; cross-entropy is taken at x_ce.
    Source: Pang et al., "Improving adversarial robustness via promoting ensemble diversity", ICML 2019; alpha is
    lambda_entropy, beta is lambda_logdet. Cross-entropy is summed over members, as there.
    """
    logits = ensemble.member_logits(x)
    ce = member_losses(logits if x_ce is x else ensemble.member_logits(x_ce), y).mean(-1).sum()
    log_p = logits.log_softmax(-1).logsumexp(0) - math.log(len(logits))
    entropy = -(log_p.exp() * log_p).sum(-1).mean()
    terms = {"ce": ce, "entropy": -lambda_entropy * entropy, "logdet": -lambda_logdet * log_volume(logits, y).mean()}
    return with_total(terms)


def log_volume(logits: Float[Tensor, "member batch class"], y: Labels) -> Float[Tensor, " batch"]:
    """Return log det(M^T M + 1e-6 I), where M has one column per member: its non-true class probabilities, scaled to L2 length 1.

    A softmax over the non-true classes' logits alone has the same direction and never vanishes, however confident a member is.
    In float64: where members agree, the determinant is near (1e-6)^(N-1).
    """
    others = torch.arange(logits.shape[-1] - 1, device=y.device)
    others = others + (others >= y[:, None])  # a mask of them would make the CPU wait for a GPU
    rows = logits.gather(-1, others.expand(len(logits), -1, -1)).double().softmax(-1)
    rows = F.normalize(rows, dim=-1).transpose(0, 1)
    gram = rows @ rows.mT + 1e-6 * torch.eye(len(logits), dtype=rows.dtype, device=rows.device)
    log_volumes: Tensor = torch.linalg.slogdet(gram).logabsdet
    return log_volumes.to(logits.dtype)
