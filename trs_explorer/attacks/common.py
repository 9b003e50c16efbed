"""What every attack needs: checked inputs, a model left as it was found, the loss and its gradient, random numbers."""

import hashlib
import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor, nn

from trs_explorer.attacks.losses import Outputs, PerExample, cross_entropy
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.stacked import at_least_float32

NORMS = ("linf", "l2")
IMAGE_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
MOST = 1e10  # of a radius, a weight or a constant: float32 overflows in the square of what lies far beyond
SEEDS = (-(2**63), 2**64 - 1)  # what PyTorch's generators take
SLIGHTLY = 1e-3  # outside [0, 1]: the rounding of some arithmetic on images, no normalisation
# What is climbed at x, and the model's outputs there: (model, x, y) -> (value, outputs).
Objective = Callable[[nn.Module, Images, Labels], tuple[PerExample, Outputs]]


def check_images(x: Tensor, y: Tensor) -> None:
    """Raise unless x are images [batch, channel, height, width] in [0, 1] and y holds one whole number for each.

    Raises: TypeError for anything but tensors, else ValueError; both name what is wrong and the way out.
    """
    for name, given in (("images", x), ("labels", y)):
        if not isinstance(given, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(given).__name__}: convert them by torch.as_tensor")
    if x.dtype not in IMAGE_TYPES:
        way_out = "" if x.is_floating_point() or x.is_complex() else ": divide bytes by 255"
        raise ValueError(f"images must be floating point in [0, 1], of 16 to 64 bits, got {x.dtype}{way_out}")
    if x.ndim != 4:
        way_out = ": make one image a batch by x[None]" if x.ndim == 3 else ""
        raise ValueError(f"images must be [batch, channel, height, width], got {list(x.shape)}{way_out}")
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
        slightly = low > -SLIGHTLY and high < 1 + SLIGHTLY
        way_out = "cut what rounding has added by x.clamp(0, 1)" if slightly else "put normalisation in the model"
        raise ValueError(f"images must lie in [0, 1], got [{_telling(low)}, {_telling(high)}]: {way_out}")


def _telling(pixel: float) -> str:
    """The pixel in as few digits, but 4, as tell on which side of 0 and 1 it lies."""
    texts = (f"{pixel:.{digits}g}" for digits in range(4, 18))
    return next(text for text in texts if (float(text) < 0, float(text) > 1) == (pixel < 0, pixel > 1))


def check_radius(eps: float) -> None:
    """Raise ValueError unless eps can be a radius."""
    if not math.isfinite(eps) or eps < 0:
        raise ValueError(f"eps must be a finite radius >= 0 in [0, 1] pixels, got {eps}")
    check_number("eps", eps)


def check_number(name: str, value: float, *, positive: bool = False) -> None:
    """Raise ValueError unless the value of the option of that name lies in [0, MOST]; if positive, above 0."""
    if not math.isfinite(value) or value < 0 or (positive and value == 0):
        raise ValueError(f"{name} must be finite and {'>' if positive else '>='} 0, got {value}")
    if value > MOST:
        raise ValueError(f"{name} must be at most {MOST:g}, got {value:g}")


def check_steps(eps: float, steps: int, step_size: float, restarts: int, random_start: bool, norm: str) -> None:
    """Raise ValueError unless an attack can take such steps."""
    check_radius(eps)
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")
    if steps < 1:
        raise ValueError(f"steps must be >= 1, got {steps}")
    if restarts < 1:
        raise ValueError(f"restarts must be >= 1, got {restarts}")
    if restarts > 1 and not random_start:
        raise ValueError(f"{restarts} restarts without a random start are the same attack {restarts} times: set restarts=1")
    check_number("step_size", step_size, positive=eps > 0)


def check_labels(model: nn.Module, x: Tensor, y: Tensor) -> None:
    """Raise unless the model tells two classes at least and every label is one of them.

    x: images of which the first is shown to the model, in the mode that it is in. Without it, a GPU would stop with an
    assertion that names nothing.
    Raises: TypeError for a model whose answer is no tensor, ValueError for all else: labels or a model on another device than
    the images, a model of another type.
    """
    if y.device != x.device:
        raise ValueError(f"images and labels must be on one device, got {x.device} and {y.device}")
    try:
        with torch.no_grad():
            outputs = model(x[:1])
    except (AttributeError, RuntimeError, TypeError) as error:
        _explain(model, x, error)
        raise
    if not isinstance(outputs, Tensor):
        kind = type(outputs).__name__
        raise TypeError(f"the model must return a tensor [batch, class], got {kind}: wrap it in a module that returns its logits")
    shape = tuple(outputs.shape)
    if len(shape) != 2 or shape[0] != 1:
        raise ValueError(f"the model must return [batch, class], got {list(shape)} for one image")
    if shape[1] < 2:
        raise ValueError(
            f"the model must tell 2 classes at least, it has {shape[1]}: of one logit z for two classes, return [0, z]"
        )
    low, high = (bound.item() for bound in y.aminmax())
    if low < 0 or high >= shape[1]:
        raise ValueError(f"labels must lie in [0, {shape[1] - 1}] for a model of {shape[1]} classes, got [{low}, {high}]")


def _explain(model: nn.Module, x: Images, error: Exception) -> None:
    """Raise in words where an error of the model has a plain cause; else nothing."""
    weight = next(model.parameters(), None)
    if weight is not None and weight.device != x.device:
        raise ValueError(f"the model is on {weight.device}, the images on {x.device}: move one to the other") from error
    if weight is not None and weight.is_floating_point() and weight.dtype != x.dtype:
        raise ValueError(f"the model is of {weight.dtype}, the images of {x.dtype}: x.to({weight.dtype})") from error


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode inside; afterwards every module has its own mode back, frozen layers of a training model too."""
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"the model must be a torch.nn.Module, got {type(model).__name__}: call the function in a module's forward"
        )
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def climbing(loss: Callable[[Outputs, Labels], PerExample]) -> Objective:
    """The objective that is a loss of the outputs, in float32 at least."""

    def objective(model: nn.Module, x: Images, y: Labels) -> tuple[PerExample, Outputs]:
        outputs = at_least_float32(model(x))
        return loss(outputs, y), outputs

    return objective


CROSS_ENTROPY = climbing(cross_entropy)


def judge(
    model: nn.Module, x: Images, y: Labels, *, targeted: bool, objective: Objective = CROSS_ENTROPY
) -> tuple[PerExample, Bool[Tensor, " batch"]]:
    """What an attack climbs, per example, and whether x fools the model.

    The objective's value, negated if targeted. An output with NaN fools nobody.
    """
    value, outputs = objective(model, x, y)
    is_y = outputs.argmax(-1) == y
    fooled = (is_y if targeted else ~is_y) & ~value.isnan()
    return (-value if targeted else value), fooled


def climb(
    model: nn.Module, x: Images, y: Labels, *, targeted: bool, objective: Objective = CROSS_ENTROPY
) -> tuple[Images, PerExample, Bool[Tensor, " batch"]]:
    """`judge` at x, preceded by the gradient of the summed values; works inside no_grad and inference_mode too.

    NaN in a gradient becomes 0, so that one bad pixel does not erase an image; `trust.check_model` reports it.
    """
    with torch.inference_mode(False), torch.enable_grad():
        point = x.detach().clone().requires_grad_()
        value, fooled = judge(model, point, y.clone(), targeted=targeted, objective=objective)
        (gradient,) = torch.autograd.grad(value.sum(), point)
    return gradient.nan_to_num(), value.detach(), fooled


def direction(gradient: Images, norm: str) -> Images:
    """The step of length 1 along which a linear loss grows most: the sign (linf), or the unit vector (l2).

    A gradient of 0 gives 0. In l2 it is divided by its largest entry first: tiny gradients keep their direction.
    """
    if norm == "linf":
        return gradient.sign()
    flat = gradient.flatten(1)
    flat = flat / flat.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(flat.dtype).tiny)
    return F.normalize(flat, dim=-1).view_as(gradient)


def to_the_end(attack: Callable, *, for_others: bool = False) -> dict[str, bool]:
    """The arguments that make an attack go on with images that are fooled already; none for attacks that always do.

    For images that are shown to *other* models: a barely fooling one transfers less, and members would look more diverse. With
    for_others, an attack that can also gives the highest loss where nothing fools the model that it follows.
    """
    known = inspect.signature(attack).parameters
    if for_others and "for_others" in known:
        return {"for_others": True}
    return {"early_stop": False} if "early_stop" in known else {}


def seeded(seed: int) -> torch.Generator:
    """A CPU generator that starts from the seed. Raises: ValueError for a seed that PyTorch cannot take."""
    if not SEEDS[0] <= seed <= SEEDS[1]:
        raise ValueError(f"a seed must lie in [-2**63, 2**64 - 1], got {seed}")
    return torch.Generator().manual_seed(seed)


def draw_seeds(count: int, restarts: int, generator: torch.Generator | None) -> list[list[int]]:
    """One seed for every example and restart; each example takes one draw, the global generator's if there is none.

    The draw is the seed of the first start, and those of the others derive from it: with more restarts, an example's first ones
    stay what they were, so that more never lose what fewer had found.
    On the CPU, one call for 8 examples draws what two calls for 3 and 5 draw: a sweep over batches that hands one generator
    on gives each image the same noise whatever the size of the batches.
    Raises: TypeError for a generator that is none, such as a seed.
    """
    if generator is not None and not isinstance(generator, torch.Generator):
        kind = type(generator).__name__
        raise TypeError(f"generator must be a torch.Generator, got {kind}: torch.Generator().manual_seed(0)")
    device = "cpu" if generator is None else generator.device
    first = torch.randint(2**31 - 1, (count,), generator=generator, device=device).tolist()
    return [[seed, *(_derived(seed, restart) for restart in range(1, restarts))] for seed in first]


def _derived(seed: int, restart: int) -> int:
    """A seed of 32 bits, all of which change with either number."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{restart}".encode(), digest_size=4).digest(), "big")


def uniform(seeds: list[list[int]], shape: tuple[int, ...]) -> Tensor:
    """[image, *shape] numbers in [0, 1) on the CPU, for every image from its own seed."""
    numbers = torch.empty(len(seeds), *shape)
    generator = torch.Generator()
    for row, (seed,) in zip(numbers, seeds, strict=True):
        generator.manual_seed(seed)
        row.uniform_(generator=generator)
    return numbers


def random_shift(x: Images, seeds: list[int], *, eps: float, norm: str) -> Images:
    """A shift for every image, uniform in the ball of radius eps, from that image's own seed.

    Drawn on the CPU, so that a seed means the same noise on every device; about 7 microseconds an image. A seed beyond what
    PyTorch takes counts modulo 2**64.
    """
    shift = torch.empty(len(x), x[0].numel())
    generator = torch.Generator()
    for row, seed in zip(shift, seeds, strict=True):
        generator.manual_seed(seed if SEEDS[0] <= seed <= SEEDS[1] else seed % 2**64)
        if norm == "linf":
            row.uniform_(-eps, eps, generator=generator)
        else:
            row.normal_(generator=generator)
            radius = eps * torch.rand((), generator=generator) ** (1 / len(row))
            row *= radius / torch.linalg.vector_norm(row).clamp_min(torch.finfo(row.dtype).tiny)
    return shift.view(x.shape).to(x)


def per_image(value: Tensor, images: Tensor) -> Tensor:
    """One number an image, in the shape that multiplies images."""
    return value.view(-1, *[1] * (images.ndim - 1))
