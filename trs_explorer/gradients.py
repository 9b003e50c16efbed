"""Input gradients of all members at once: the basis of similarity, smoothness and support points.

N members cost N forward-backward passes; all N(N-1)/2 pairs are then arithmetic on the result.

Directions that are shown or measured are those of the log-odds (`log_odds`), which never vanish by rounding. Lengths, and the
terms of the training losses, are those of the cross-entropy.
"""

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.ensemble import Images as Images
from trs_explorer.models.linear_piece import LinearPiece
from trs_explorer.models.stacked import Stacked

# Float32 resolves p - y to 6e-8. A gradient of about that size is rounding error, and its direction is meaningless: it counts as
# vanishing. Training on such gradients (the cosine's slope is 1 / norm) inflates the logits of cos-only until every gradient is
# exactly 0, which looks robust but is gradient masking.
MIN_NORM = 1e-6

# glibc returns freed memory above a threshold to the system, and every pass over a batch then requests it again. Freeing one
# large block, never touched, raises the threshold permanently (mallopt(3)). `tests/bench/attacks.py`, no early stop: without it
# 82 and 76 % of the plain rate on its two runs, with it 88 and 89, then 86 and 96.
torch.empty(31_000_000, dtype=torch.uint8)

Members = Ensemble | Stacked
Labels = Int[Tensor, " batch"]
MemberLosses = Float[Tensor, "member batch"]
MemberGradients = Float[Tensor, "member batch channel height width"]


def member_losses(logits: Float[Tensor, "member batch class"], y: Labels) -> MemberLosses:
    """Return the cross-entropy of every member for every example."""
    return F.cross_entropy(logits.flatten(0, 1), y.repeat(len(logits)), reduction="none").view(len(logits), -1)


def log_odds(logits: Float[Tensor, "*member batch class"], y: Labels) -> Float[Tensor, "*member batch"]:
    """Return the log-odds against the true class, per example: m = logsumexp of the other logits - z_y.

    logits: or log-probabilities: a constant added to them changes nothing.

    The cross-entropy is softplus(m), so the gradient of m has exactly its direction. But the cross-entropy's gradient is
    sigmoid(m) times that of m: for a confident member float32 leaves of it rounding errors, or 0.
    """
    true_class = F.one_hot(y, logits.shape[-1]).bool()  # a class is excluded with -inf: with 0 it would be the likeliest one
    others = logits.masked_fill(true_class, -math.inf).logsumexp(-1)
    return others - torch.where(true_class, logits, 0).sum(-1)


def ensemble_log_odds(ensemble: Ensemble, logits: Float[Tensor, "member batch class"], y: Labels) -> Float[Tensor, " batch"]:
    """Return the log-odds of the vote against the true class: the number log_odds(ensemble.vote(logits), y), in float64.

    Where confident members disagree, the log-probabilities of a mean vote lose the gradient by rounding. So a mean is computed
    from the members' log-odds: its gradient is then a sum of theirs with weights that are all positive.
    """
    if ensemble.voting in ("sum", "confident"):
        return log_odds(ensemble.vote(logits), y).double()
    m, weights = log_odds(logits, y).double(), ensemble.votes.to(logits).double()[:, None].log()
    return (F.logsigmoid(m) + weights).logsumexp(0) - (F.logsigmoid(-m) + weights).logsumexp(0)


def input_gradients(
    members: Members,
    x: Images,
    y: Labels,
    *,
    of: Callable[[Tensor, Labels], MemberLosses] = member_losses,
    create_graph: bool = False,
) -> tuple[MemberLosses, MemberGradients]:
    """Return every member's per-example losses and their gradients with respect to x; one forward-backward pass per member.

    of: the loss, of all members' logits: `member_losses`, or `log_odds` where the direction is what counts.
    create_graph: make both differentiable with respect to the weights, and to x if x requires it; otherwise both are detached.
    Source: the gradients of the TRS regulariser (paper, section 3.1), of the per-example loss.
    """
    if isinstance(members, Stacked) and of is member_losses and not x.requires_grad:
        losses, gradients = LinearPiece(members, x).losses_and_gradients(y)
        return (losses, gradients) if create_graph else (losses.detach(), gradients.detach())
    copies = [x.clone() if x.requires_grad else x.detach().clone().requires_grad_() for _ in range(len(members))]
    losses = of(members.member_logits(copies), y)
    gradients = torch.stack(torch.autograd.grad(losses.sum(), copies, create_graph=create_graph))
    return (losses, gradients) if create_graph else (losses.detach(), gradients)


def class_gradients(
    members: Members, x: Images, classes: Int[Tensor, "batch k"]
) -> Iterator[tuple[MemberLosses, MemberGradients]]:
    """Yield, for each column of classes, every member's log-odds against that class and their gradients with respect to x.

    One forward pass per member for all columns, and one backward pass for each.
    """
    copies = [x.detach().clone().requires_grad_() for _ in range(len(members))]
    logits = members.member_logits(copies)
    for k, y in enumerate(classes.unbind(1), start=1):
        m = log_odds(logits, y)
        gradients = torch.autograd.grad(m.sum(), copies, retain_graph=k < classes.shape[1])
        yield m.detach(), torch.stack(gradients)


def gradient_norms(gradients: MemberGradients) -> MemberLosses:
    """Return the L2 norm of every gradient, with 1e-12 under the root: at gradient 0 (saturated) the root has no derivative."""
    return (gradients.flatten(2).square().sum(-1) + 1e-12).sqrt()


def pairwise_cosine(gradients: MemberGradients) -> Float[Tensor, "member member batch"]:
    """Return the cosine of every pair of members' gradients, per example; 0, without gradient, where a norm is below MIN_NORM."""
    flat = gradients.flatten(2)
    products = torch.einsum("mbd,nbd->mnb", flat, flat)
    squares = products.diagonal().T
    defined = squares > MIN_NORM**2
    norms = torch.where(defined, squares, 1).sqrt()
    return torch.where(defined[:, None] & defined[None], products / (norms[:, None] * norms[None]), 0)


def pair_mean(matrix: Float[Tensor, "member member"]) -> Float[Tensor, ""]:
    """Return the mean over the N(N-1)/2 pairs of a symmetric matrix: the sum with factor 2/(N(N-1)) in the paper's objective."""
    i, j = torch.triu_indices(len(matrix), len(matrix), offset=1, device=matrix.device)
    return matrix[i, j].mean()
