"""What every attack needs: checked inputs, a model left as it was found, the loss and its gradient, balls, random starts."""

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from trs_explorer.gradients import Images, Labels

NORMS = ("linf", "l2")
PerExample = Float[Tensor, " batch"]


def check_images(x: Tensor, y: Tensor) -> None:
    """Nothing, if x are images in [0, 1] and y one whole number for each.

    Raises: ValueError that names what is wrong and the way out.
    """
    if not x.is_floating_point():
        raise ValueError(f"images must be floating point in [0, 1], got {x.dtype}: divide bytes by 255")
    if y.ndim != 1 or len(x) != len(y):
        raise ValueError(f"one label an image: got {tuple(x.shape)} images and {tuple(y.shape)} labels")
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise ValueError(f"labels must be whole numbers, got {y.dtype}")
    if not x.numel():
        return
    low, high = (bound.item() for bound in x.aminmax())
    if math.isnan(low) or math.isnan(high):
        bad = int(x.flatten(1).isnan().any(-1).sum())
        raise ValueError(f"images must lie in [0, 1], but {bad} of {len(x)} have NaN pixels")
    if low < 0 or high > 1:
        raise ValueError(f"images must lie in [0, 1], got [{low:.4g}, {high:.4g}]: put normalisation in the model")


def check_radius(eps: float) -> None:
    """Nothing, if eps can be a radius. Raises: ValueError."""
    if not math.isfinite(eps) or eps < 0:
        raise ValueError(f"eps must be a finite radius >= 0 in [0, 1] pixels, got {eps}")


def check_labels(model: nn.Module, x: Images, y: Labels) -> None:
    """Nothing, if every label is one of the model's classes, which one image tells. For x that is not empty.

    Raises: ValueError; without it, a GPU would stop with an assertion that names nothing.
    """
    with torch.no_grad():
        shape = tuple(model(x[:1]).shape)
    if len(shape) != 2 or shape[0] != 1:
        raise ValueError(f"the model must return [batch, class], got {list(shape)} for one image")
    low, high = (bound.item() for bound in y.aminmax())
    if low < 0 or high >= shape[1]:
        raise ValueError(f"labels must lie in [0, {shape[1] - 1}] for a model of {shape[1]} classes, got [{low}, {high}]")


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode inside; afterwards every module has its own mode back, frozen layers of a training model too."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def judge(model: nn.Module, x: Images, y: Labels, *, targeted: bool) -> tuple[PerExample, Bool[Tensor, " batch"]]:
    """What an attack climbs, per example in float32, and whether x fools the model.

    Cross-entropy, negated if targeted. It takes logits and log-probabilities alike: log_softmax leaves the latter alone.
    An output with NaN fools nobody.
    """
    logits = model(x).float()
    loss = F.cross_entropy(logits, y, reduction="none")
    is_y = logits.argmax(-1) == y
    fooled = (is_y if targeted else ~is_y) & ~loss.isnan()
    return (-loss if targeted else loss), fooled


def climb(model: nn.Module, x: Images, y: Labels, *, targeted: bool) -> tuple[Images, PerExample, Bool[Tensor, " batch"]]:
    """`judge` at x, preceded by the gradient of the summed loss; works inside no_grad and inference_mode too.

    NaN in a gradient becomes 0, so that one bad pixel does not erase an image; `trust.check_model` reports it.
    """
    with torch.inference_mode(False), torch.enable_grad():
        point = x.detach().clone().requires_grad_()
        loss, fooled = judge(model, point, y.clone(), targeted=targeted)
        (gradient,) = torch.autograd.grad(loss.sum(), point)
    return gradient.nan_to_num(), loss.detach(), fooled


def keep_best(
    best: Images,
    best_loss: PerExample,
    rows: Int[Tensor, " rows"],
    candidate: Float[Tensor, "rows channel height width"],
    loss: Float[Tensor, " rows"],
    fooled: Bool[Tensor, " rows"],
) -> None:
    """Write candidates that fool the model, with a higher loss than the best so far, into best[rows]. In place.

    best_loss is -inf where nothing has fooled the model yet: any fooling candidate wins there, and no other ever does.
    """
    better = fooled & (loss > best_loss[rows])
    best[rows] = torch.where(_per_image(better, best), candidate, best[rows])
    best_loss[rows] = torch.where(better, loss, best_loss[rows])


def direction(gradient: Images, norm: str) -> Images:
    """The step of length 1 along which a linear loss grows most: the sign (linf), or the unit vector (l2).

    A gradient of 0 gives 0. In l2 it is divided by its largest entry first: tiny gradients keep their direction.
    """
    if norm == "linf":
        return gradient.sign()
    flat = gradient.flatten(1)
    flat = flat / flat.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(flat.dtype).tiny)
    return F.normalize(flat, dim=-1).view_as(gradient)


def project(point: Images, x: Images, *, eps: float, norm: str) -> Images:
    """The point of the ball of radius eps around x (nearest in that norm), then cut to [0, 1].

    The cut never leaves the ball: x itself lies in [0, 1], so that each pixel only moves towards x.
    """
    if norm == "linf":
        return torch.minimum(torch.maximum(point, x - eps), x + eps).clamp(0, 1)
    shift = point - x
    length = torch.linalg.vector_norm(shift.flatten(1), dim=-1)
    scale = (eps / length.clamp_min(torch.finfo(length.dtype).tiny)).clamp_max(1)
    return (x + _per_image(scale, shift) * shift).clamp(0, 1)


def to_the_end(attack: Callable) -> dict[str, bool]:
    """The argument that makes an attack go on with images that are fooled already; none for attacks that always do.

    For images that are shown to *other* models: a barely fooling one transfers less, and members would look more diverse.
    """
    return {"early_stop": False} if "early_stop" in inspect.signature(attack).parameters else {}


def draw_seeds(count: int, restarts: int, generator: torch.Generator | None) -> list[list[int]]:
    """One seed for every example and restart, drawn example by example; the global generator if there is none.

    On the CPU, one call for 8 examples draws what two calls for 3 and 5 draw: a sweep over batches that hands one generator
    on gives each image the same noise whatever the size of the batches.
    """
    device = "cpu" if generator is None else generator.device
    return torch.randint(2**31 - 1, (count, restarts), generator=generator, device=device).tolist()


def random_shift(x: Images, seeds: list[int], *, eps: float, norm: str) -> Images:
    """A shift for every image, uniform in the ball of radius eps, from that image's own seed.

    Drawn on the CPU, so that a seed means the same noise on every device; about 7 microseconds an image.
    """
    shift = torch.empty(len(x), x[0].numel())
    generator = torch.Generator()
    for row, seed in zip(shift, seeds, strict=True):
        generator.manual_seed(seed)
        if norm == "linf":
            row.uniform_(-eps, eps, generator=generator)
        else:
            row.normal_(generator=generator)
            radius = eps * torch.rand((), generator=generator) ** (1 / len(row))
            row *= radius / torch.linalg.vector_norm(row).clamp_min(torch.finfo(row.dtype).tiny)
    return shift.view(x.shape).to(x)


def _per_image(value: Tensor, images: Tensor) -> Tensor:
    return value.view(-1, *[1] * (images.ndim - 1))
