"""What every attack needs: checked inputs, a model left as it was found, the loss and its gradient, balls, random starts."""

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from trs_explorer.attacks.losses import Outputs, PerExample, cross_entropy
from trs_explorer.gradients import Images, Labels

NORMS = ("linf", "l2")
# What is climbed at x, and the model's outputs there: (model, x, y) -> (value, outputs).
Objective = Callable[[nn.Module, Images, Labels], tuple[PerExample, Outputs]]


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


def check_steps(eps: float, steps: int, step_size: float, restarts: int, random_start: bool, norm: str) -> None:
    """Nothing, if an attack can take such steps. Raises: ValueError."""
    check_radius(eps)
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")
    if steps < 1:
        raise ValueError(f"steps must be >= 1, got {steps}")
    if restarts < 1:
        raise ValueError(f"restarts must be >= 1, got {restarts}")
    if restarts > 1 and not random_start:
        raise ValueError(f"{restarts} restarts without a random start are the same attack {restarts} times: set restarts=1")
    if not math.isfinite(step_size) or step_size < 0 or (step_size == 0 and eps > 0):
        raise ValueError(f"step_size must be finite and > 0, got {step_size}")


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


def climbing(loss: Callable[[Outputs, Labels], PerExample]) -> Objective:
    """The objective that is a loss of the outputs, in float32."""

    def objective(model: nn.Module, x: Images, y: Labels) -> tuple[PerExample, Outputs]:
        outputs = model(x).float()
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


class Best:
    """Per image the iterate of highest loss among all offered that fool the model; x where none does.

    for_others: where none fools it, the iterate of highest loss instead.
    """

    def __init__(self, x: Images, value: PerExample, fooled: Bool[Tensor, " batch"], *, for_others: bool) -> None:
        """Begin with x itself, its loss, and whether it fools."""
        self.images, self.value = x.detach().clone(), value.where(fooled, -torch.inf)
        self.anyway = (self.images.clone(), torch.full_like(self.value, -torch.inf)) if for_others else None

    def offer(
        self,
        rows: Int[Tensor, " rows"],
        candidate: Float[Tensor, "rows channel height width"],
        value: Float[Tensor, " rows"],
        fooled: Bool[Tensor, " rows"],
    ) -> None:
        """Keep those candidates for the images at rows that are better than all before."""
        keep_best(self.images, self.value, rows, candidate, value, fooled)
        if self.anyway:
            keep_best(*self.anyway, rows, candidate, value, torch.ones_like(fooled))

    def stands(self, rows: Int[Tensor, " rows"]) -> Bool[Tensor, " rows"]:
        """Which of the images at rows nothing has fooled the model on yet."""
        return self.value[rows].isneginf()

    def result(self) -> Images:
        """The images to return."""
        if not self.anyway:
            return self.images
        images, value = self.anyway
        return images.where(per_image(self.value.isneginf() & ~value.isneginf(), images), self.images)


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
    before = best_loss[rows]
    better = fooled & (loss > before)
    if best.device.type != "cpu":  # a look would make a GPU wait
        best[rows] = torch.where(per_image(better, best), candidate, best[rows])
        best_loss[rows] = torch.where(better, loss, before)
    elif better.any():
        changed = rows[better]
        best[changed], best_loss[changed] = candidate[better], loss[better]


def direction(gradient: Images, norm: str) -> Images:
    """The step of length 1 along which a linear loss grows most: the sign (linf), or the unit vector (l2).

    A gradient of 0 gives 0. In l2 it is divided by its largest entry first: tiny gradients keep their direction.
    """
    if norm == "linf":
        return gradient.sign()
    flat = gradient.flatten(1)
    flat = flat / flat.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(flat.dtype).tiny)
    return F.normalize(flat, dim=-1).view_as(gradient)


class Ball:
    """The images within eps of each x, in the maximum norm or in L2, that lie in [0, 1]."""

    def __init__(self, x: Images, eps: float, norm: str) -> None:
        self.x, self.eps, self.norm = x, eps, norm
        if norm == "linf":
            self.low, self.high = (x - eps).clamp_min(0), (x + eps).clamp_max(1)

    def __getitem__(self, rows: Tensor) -> "Ball":
        """The ball around some of the images."""
        return Ball(self.x[rows], self.eps, self.norm)

    def project(self, point: Images) -> Images:
        """The nearest point of the ball of radius eps (in its norm), then cut to [0, 1].

        The cut never leaves the ball: x itself lies in [0, 1], so that each pixel only moves towards x.
        """
        if self.norm == "linf":
            return point.clamp(self.low, self.high)
        shift = point - self.x
        length = torch.linalg.vector_norm(shift.flatten(1), dim=-1)
        scale = (self.eps / length.clamp_min(torch.finfo(length.dtype).tiny)).clamp_max(1)
        return (self.x + per_image(scale, shift) * shift).clamp(0, 1)

    def project_(self, point: Images) -> Images:
        """`project`, in place where it can: a loop that keeps allocating makes the system hand out the same memory again."""
        return point.clamp_(self.low, self.high) if self.norm == "linf" else self.project(point)

    def start(self, seeds: list[int]) -> Images:
        """A point drawn uniformly from the ball, then cut to [0, 1], for every image from its own seed."""
        return self.project(self.x + random_shift(self.x, seeds, eps=self.eps, norm=self.norm))


def to_the_end(attack: Callable, *, for_others: bool = False) -> dict[str, bool]:
    """The arguments that make an attack go on with images that are fooled already; none for attacks that always do.

    For images that are shown to *other* models: a barely fooling one transfers less, and members would look more diverse. With
    for_others, an attack that can also gives the highest loss where nothing fools the model that it follows.
    """
    known = inspect.signature(attack).parameters
    if for_others and "for_others" in known:
        return {"for_others": True}
    return {"early_stop": False} if "early_stop" in known else {}


def draw_seeds(count: int, restarts: int, generator: torch.Generator | None) -> list[list[int]]:
    """One seed for every example and restart, drawn example by example; the global generator if there is none.

    On the CPU, one call for 8 examples draws what two calls for 3 and 5 draw: a sweep over batches that hands one generator
    on gives each image the same noise whatever the size of the batches.
    """
    device = "cpu" if generator is None else generator.device
    return torch.randint(2**31 - 1, (count, restarts), generator=generator, device=device).tolist()


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


def per_image(value: Tensor, images: Tensor) -> Tensor:
    """One number an image, in the shape that multiplies images."""
    return value.view(-1, *[1] * (images.ndim - 1))
