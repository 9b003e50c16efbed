"""FASTEN: each member is trained on images that one step on another member has moved away in its features."""

import math

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from trs_explorer.batch_noise import rand, shared
from trs_explorer.defences.feature_search import drawn_layer, feature_gradient
from trs_explorer.defences.support_search import batch_statistics_only
from trs_explorer.defences.terms import with_total
from trs_explorer.gradients import Images, Labels, member_losses
from trs_explorer.models.ensemble import Ensemble


def fasten(
    ensemble: Ensemble,
    x: Images,
    y: Labels,
    *,
    distill_eps: float,
    lambda_intra: float,
    lambda_inter: float,
    image_memory: UInt8[Tensor, "n channel height width"],
    rows: Int[Tensor, " batch"],
    generator: torch.Generator,
    epoch_generator: torch.Generator,
    x_ce: Images,
) -> dict[str, Tensor]:
    """Return the sum over members of cross-entropy at moved images + lambda_intra * `intra` - lambda_inter * `inter`.

    In every step two members are drawn. For each of them `one_step` moves the images, and `recycled` mixes the result with what
    is kept of earlier epochs. Each of the two is trained on the other's images, every further member on those of either, at
    random. A member's loss depends on its own weights only. The feature layer is drawn once per epoch, as DVERGE's.

    distill_eps: the l-inf radius around x of moved images.
    lambda_intra: the weight of the divergence of a member's answers to x and to the moved images.
    lambda_inter: the weight of the divergence of different members' answers, which is a reward.
    image_memory, rows: the last perturbation of every training image, one byte a pixel, and where those of this batch are.
    generator, epoch_generator: random numbers of the step and of the epoch.
    x_ce: with adversarial training, members are trained on these images too, and answers to them count in both divergences.
    Source: "FASTEN: fast ensemble learning for improved adversarial robustness", IEEE Transactions on Information Forensics and
    Security (document 10329935), of which only the abstract was at hand, and its published code, by which everything is that is
    not named here. As in the code there is no cross-entropy at x, and answers to x are constants. **Our reading**: the abstract
    has a regulariser that increases the members' diversity, but the code computes `inter` from constants, so that it changes no
    weight. Here the member's own answers have a graph; the others' are constants, so that there is no further pass. Its weight
    is the code's, .05 * 3. Ours too: adversarial images are made on the ensemble, the code's on each member, from moved images.
    """
    common = shared(generator)
    on_cpu = common if common.device.type == "cpu" else torch.Generator().manual_seed(common.initial_seed())
    first, second, *_ = torch.randperm(len(ensemble), generator=on_cpu).tolist()  # of a GPU's generator, the CPU would wait
    pair = Ensemble([ensemble.members[first], ensemble.members[second]])
    pair.autocast = ensemble.autocast
    layer = drawn_layer(ensemble, epoch_generator)
    moved = one_step(pair, x, layer=layer, eps=distill_eps, generator=generator)
    images, kept = recycled(x, moved, image_memory[rows], eps=distill_eps, generator=generator)
    image_memory[rows] = kept
    taken = torch.randint(2, (len(ensemble),), generator=on_cpu).tolist()
    taken[first], taken[second] = 1, 0

    stack = ensemble.stacked()
    arranged = stack.arrange(images.flatten(0, 1)).unflatten(0, (2, -1))
    with torch.no_grad():
        clean = stack.member_logits(stack.arrange(x))
    trained = [stack.member_logits([arranged[k] for k in taken])]
    if x_ce is not x:
        trained.append(stack.member_logits(stack.arrange(x_ce)))
    answers = torch.stack([clean, *trained]).log_softmax(-1)
    ce = torch.stack([member_losses(logits, y).mean(-1).sum() for logits in trained]).sum()
    return with_total({"ce": ce, "intra": lambda_intra * intra(answers), "inter": -lambda_inter * inter(answers)})


def one_step(
    pair: Ensemble, x: Images, *, layer: str, eps: float, generator: torch.Generator
) -> Float[Tensor, "2 batch channel height width"]:
    """Return, for each of two members, images that a sign step of size eps moves away from x in the member's features.

    The step starts at x + noise, uniform in the l-inf ball and the same for both members, + noise of each member. Its end is
    projected on the ball and on [0, 1]. Running averages of batch norm do not include these images.

    layer: the feature layer.
    eps: the l-inf radius around x.
    Source: the published code.
    """
    noise = eps * (2 * rand((3, *x.shape), generator=generator, dim=1, device=x.device, dtype=x.dtype) - 1)
    start = (x + noise[0] + noise[1:]).clamp(0, 1)
    members = pair.stacked()
    arranged = members.arrange(start.flatten(0, 1)).unflatten(0, (2, -1))
    with batch_statistics_only(pair), pair.arithmetic(x.device):
        gradient = feature_gradient(members, members.arrange(x), layer)(arranged)
    shift = (start + eps * members.restore(gradient).sign() - x).clamp(-eps, eps)
    return (x + shift).clamp(0, 1)


def recycled(
    x: Images,
    moved: Float[Tensor, "2 batch channel height width"],
    kept: UInt8[Tensor, "batch channel height width"],
    *,
    eps: float,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "2 batch channel height width"], UInt8[Tensor, "batch channel height width"]]:
    """Mix the perturbations of `moved` with the last ones of these images; return both members' images, and what to keep.

    The first member's perturbation is r * its own + (1 - r) * the kept one, the second's is r' * its own + (1 - r') * the
    first's, with r and r' uniform in [0, 1]. The second's is kept. An image of which nothing is kept, in the first epoch,
    takes both as they are.

    kept: 0: nothing; else 128 + the perturbation in units of eps / 127. One byte, so that a checkpoint can hold them.
    Source: the published code. As there, augmentation does not move what is kept along with the image.
    """
    unit = max(eps, torch.finfo(x.dtype).tiny * 127) / 127
    known, perturbation = (kept != 0).flatten(1).any(1)[:, None, None, None], (kept.to(x.dtype) - 128) * unit
    images = []
    for one in moved:
        share = torch.rand((), generator=shared(generator), device=x.device, dtype=x.dtype)
        mixed = torch.where(known, share * (one - x) + (1 - share) * perturbation, one - x)
        images.append((x + mixed).clamp(0, 1))
        perturbation = images[-1] - x
    return torch.stack(images), ((perturbation / unit).round() + 128).to(torch.uint8)


def intra(answers: Float[Tensor, "answer member batch class"]) -> Tensor:
    """Return how far a member's answers to an image and its copies diverge: the sum over members, mean over images.

    It is the mean over the answers q of KL(p || q), where p is their mean.
    """
    mean = answers.logsumexp(0) - math.log(len(answers))
    return divergence(mean, answers).mean((0, -1)).sum()


def inter(answers: Float[Tensor, "answer member batch class"]) -> Tensor:
    """Return how far members' answers diverge: the sum over members, mean over the other members and over images.

    It is KL(p || q) where p, a constant, is the other member's mean answer and log q the member's mean log-probability.
    """
    others = (answers.detach().logsumexp(0) - math.log(len(answers)))[None]
    of_pairs = divergence(others, answers.mean(0)[:, None]).mean(-1)  # [member, other member]
    return (of_pairs.sum() - of_pairs.trace()) / (len(of_pairs) - 1)


def divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Return KL(p || q) over the last dimension; log q may lack a normalising constant."""
    return (log_p.exp() * (log_p - log_q)).sum(-1)
