"""Input gradients of all members at once: the basis of similarity, smoothness and support points.

N members cost N forward-backward passes; all N(N-1)/2 pairs are then arithmetic on the result.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.ensemble import Images as Images
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


def input_gradients(
    members: Members, x: Images, y: Labels, *, create_graph: bool = False
) -> tuple[MemberLosses, MemberGradients]:
    """Return every member's per-example losses and their gradients with respect to x; one forward-backward pass per member.

    create_graph: make both differentiable with respect to the weights, and to x if x requires it; otherwise both are detached.
    Source: the gradients of the TRS regulariser (paper, section 3.1), of the per-example loss.
    """
    copies = [x.clone() if x.requires_grad else x.detach().clone().requires_grad_() for _ in range(len(members))]
    losses = member_losses(members.member_logits(copies), y)
    gradients = torch.stack(torch.autograd.grad(losses.sum(), copies, create_graph=create_graph))
    return (losses, gradients) if create_graph else (losses.detach(), gradients)


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
    i, j = torch.triu_indices(len(matrix), len(matrix), offset=1)
    return matrix[i, j].mean()
