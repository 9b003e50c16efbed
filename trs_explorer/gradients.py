"""Input gradients of every member in one go: what similarity, smoothness and support points all stand on.

N members cost N forward-backward passes; all N(N-1)/2 pairs are then arithmetic on the result.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from trs_explorer.models.ensemble import Ensemble, Images
from trs_explorer.models.stacked import Stacked

# Float32 knows p - y to 6e-8. A gradient of about that size is rounding: its direction says nothing, and training on it (whose
# slope is 1 / norm) blows up the logits of cos-only until every gradient is exactly 0, which looks robust and is masking.
NOISE = 1e-6

# glibc gives freed memory above a threshold back to the system, and every pass over a batch then asks for it again. To free one
# large block, never touched, raises the threshold for good (mallopt(3)). `tests/bench/attacks.py`, no early stop: without it 82
# and 76 % of the plain rate on its two runs, with it 88 and 89, then 86 and 96.
torch.empty(31_000_000, dtype=torch.uint8)

Members = Ensemble | Stacked
Labels = Int[Tensor, " batch"]
MemberLosses = Float[Tensor, "member batch"]
MemberGradients = Float[Tensor, "member batch channel height width"]


def losses_of(logits: Float[Tensor, "member batch class"], y: Labels) -> MemberLosses:
    """Cross-entropy of every member for every example."""
    return F.cross_entropy(logits.flatten(0, 1), y.repeat(len(logits)), reduction="none").view(len(logits), -1)


def input_gradients(
    members: Members, x: Images, y: Labels, *, create_graph: bool = False
) -> tuple[MemberLosses, MemberGradients]:
    """Every member's per-example losses and their gradients with respect to x, one forward-backward pass a member.

    With create_graph both can be differentiated with respect to the weights, and to x if x asks for it; without, both are
    detached.
    Source: the gradients of the TRS regulariser (paper, section 3.1), of the per-example loss.
    """
    copies = [x.clone() if x.requires_grad else x.detach().clone().requires_grad_() for _ in range(len(members))]
    losses = losses_of(members.member_logits(copies), y)
    gradients = torch.stack(torch.autograd.grad(losses.sum(), copies, create_graph=create_graph))
    return (losses, gradients) if create_graph else (losses.detach(), gradients)


def norms(gradients: MemberGradients) -> MemberLosses:
    """L2 norm of every gradient. 1e-12 under the root: a saturated example has gradient 0, where the root has no slope."""
    return (gradients.flatten(2).square().sum(-1) + 1e-12).sqrt()


def pairwise_cosine(gradients: MemberGradients) -> Float[Tensor, "member member batch"]:
    """Cosine of every pair of members' gradients, per example; 0, without a slope, where a norm is below NOISE."""
    flat = gradients.flatten(2)
    products = torch.einsum("mbd,nbd->mnb", flat, flat)
    squares = products.diagonal().T
    some = squares > NOISE**2
    lengths = torch.where(some, squares, 1).sqrt()
    return torch.where(some[:, None] & some[None], products / (lengths[:, None] * lengths[None]), 0)


def pair_mean(matrix: Float[Tensor, "member member"]) -> Float[Tensor, ""]:
    """Mean over the N(N-1)/2 pairs of a symmetric matrix: the 2/(N(N-1)) sum of the paper's objective."""
    i, j = torch.triu_indices(len(matrix), len(matrix), offset=1)
    return matrix[i, j].mean()
