"""Clean and robust accuracy of a model."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from trs_explorer.attacks.checks import check_images, check_labels
from trs_explorer.attacks.noise import draw_seeds, seeded
from trs_explorer.evaluation.intervals import wilson
from trs_explorer.files import Json
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.batch_size import Batches, fitting_batch
from trs_explorer.models.eval_mode import eval_mode
from trs_explorer.models.to_device import to_device

# A name for the reader, the attack, and its keyword arguments: ("pgd-50", pgd, {"eps": 0.3, "steps": 50}).
Attack = tuple[str, Callable[..., Tensor], Mapping[str, Any]]
# Gets the adversarial images of a batch: their attack's position (or their surrogate), their places among the images, the images.
Keep = Callable[[int, slice, Images], object]


@dataclass(frozen=True)
class Rate:
    """The accuracy of a model on clean images (eps = 0) or under an attack.

    - name: of the attack, or "clean".
    - eps: the attack's radius, in [0, 1] pixels; None for an attack without a radius, whose constant is c.
    - correct, n: how many of n images the model classifies correctly.
    - low, high: 95 % Wilson interval of correct / n.
    - outcomes: per image, in order, whether the model classifies it correctly.
    - norm: of the radius and the perturbation, "linf" or "l2".
    - perturbation: the largest distance between an image and its adversarial image, in [0, 1] pixels.
    - c: the attack's constant, if it has no radius.
    - moved: how many images are correct although the attack changed them. A failed attack should return the original.
    - parts: of an attack that makes several in turn, for each its label, on how many images it was made, how many it fooled.
    """

    name: str
    eps: float | None
    correct: int
    n: int
    low: float
    high: float
    outcomes: list[bool] = field(repr=False)  # a notebook shows the rest
    norm: str = "linf"
    perturbation: float = 0.0
    c: float | None = None
    moved: int = 0
    parts: list[Json] = field(default_factory=list, repr=False)

    @property
    def accuracy(self) -> float | None:
        """Correct / n; None without images."""
        return self.correct / self.n if self.n else None

    def __str__(self) -> str:
        """In words: "pgd, eps 0.3: 45.2 % (41.1-49.4), 226 of 500"."""
        how = f", c {self.c:g}" if self.c is not None else f", eps {self.eps:g}" if self.eps else ""
        share = "no images" if self.accuracy is None else f"{100 * self.accuracy:.1f} %"
        return f"{self.name}{how}: {share} ({100 * self.low:.1f}-{100 * self.high:.1f}), {self.correct} of {self.n}"

    def to_json(self) -> Json:
        """The fields and the accuracy, for JSON; parts only where there are any."""
        fields = asdict(self)
        return {
            **(fields if self.parts else {name: fields[name] for name in fields if name != "parts"}),
            "accuracy": self.accuracy,
        }


def evaluate(
    model: nn.Module, x: Images, y: Labels, *, attacks: Sequence[Attack] = (), batch_size: int = 256, seed: int = 0
) -> list[Rate]:
    """Measure the clean accuracy, then the accuracy under every attack, in their order.

    - x, y: images in [0, 1] and their true labels, on any device. One batch at a time is moved to the model's device.
    - attacks: names, functions and keyword arguments, see `Attack`. Untargeted ones: y are not wanted classes.
    - seed: every attack gets a CPU generator that starts from it and continues through the batches. The attacks of this project
      draw equally often for each image, so an image's noise depends on the seed and its place in x, not on batch_size.

    - batch_size: images in a batch at most; fewer if a batch would not fit into memory (`fitting_batch`), or did not.

    Denominator: ALL images given, also those that the model gets wrong without an attack (paper, section 4). An image counts as
    correct if the model classifies the returned image correctly; the attack's own judgement is not used. NaN counts as wrong.
    Raises: ValueError for images outside [0, 1], an attack that returns such images, labels that are none of the model's classes
    or a seed out of range; TypeError for anything but tensors, or a model that returns something else.
    """
    final = {}
    for position, rate in measure(model, x, y, attacks=attacks, batch_size=batch_size, seed=seed):
        final[position] = rate
    return list(final.values())


def measure(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    attacks: Sequence[Attack] = (),
    batch_size: int = 256,
    seed: int = 0,
    done: Mapping[int, Rate] | None = None,
    first: int = 0,
    keep: Keep | None = None,
) -> Iterator[tuple[int, Rate]]:
    """As `evaluate`, step by step: yields after every batch the position (0: clean, 1: first attack, ...) and the rate so far.

    - done: rates of an interrupted measurement of the same, by position. Each is continued after its last image.
    - first: the place of x[0] in a larger set of which x is a part. Images get the same noise as in the whole set.
    - keep: called with the position, the places in x and the adversarial images of every batch that is attacked here, so not
      those of `done`. Without it no adversarial image is kept.

    A rate is final when its n is len(x). Consume the iterator to the end, or close it, before the model trains on.
    """
    check_inputs(model, x, y)
    if batch_size < 1:
        raise ValueError(f"batch_size must be >= 1, got {batch_size}")
    sizes = Batches(fitting_batch(model, x, most=batch_size))
    clean: tuple[str, None, Mapping[str, Any]] = ("clean", None, {})
    planned = zip(empty_rates(attacks), [clean, *attacks], strict=True)
    for position, (blank, (_, attack, arguments)) in enumerate(planned):
        rate = (done or {}).get(position, blank)
        if rate.n:
            yield position, rate
            if rate.n == len(x):
                continue
        generator = seeded(seed)
        draw_seeds(first + rate.n, int(arguments.get("restarts", 1)), generator)  # skip the draws for the images before
        if not len(x):
            yield position, rate
        attacked = _attacker(model, x, y, attack, generator, arguments)
        for places, (images, adversarial, outcomes) in sizes.over(rate.n, len(x), attacked, generator):
            if attack is not None and keep is not None:
                keep(position, places, adversarial)
            rate = add_batch(rate, adversarial, images, outcomes)
            yield position, rate


def _attacker(
    model: nn.Module,
    x: Images,
    y: Labels,
    attack: Callable[..., Tensor] | None,
    generator: torch.Generator,
    arguments: Mapping[str, Any],
) -> Callable[[slice], tuple[Images, Images, Tensor]]:
    """Return what attacks the images at some places: it gives them, the adversarial ones, and which the model has right then."""

    def attacked(places: slice) -> tuple[Images, Images, Tensor]:
        images, labels = on_device(model, x[places], y[places])
        adversarial = images
        if attack is not None:
            adversarial = attack(model, images, labels, generator=generator, **arguments)
            check_images(adversarial, labels)
        return images, adversarial, correct(model, adversarial, labels)

    return attacked


def check_inputs(model: nn.Module, x: Images, y: Labels) -> None:
    """Raise TypeError or ValueError unless x are images, y their labels, and the model classifies such images.

    Both may be on another device than the model.
    """
    check_images(x, y)
    if len(x):
        device = next(model.parameters(), x).device
        with eval_mode(model):
            check_labels(model, x[:1].to(device), y.to(device))


def empty_rates(attacks: Sequence[Attack]) -> list[Rate]:
    """The clean rate and one for each attack, of no images yet."""
    rates = [empty_rate("clean", 0.0)]
    for name, _, arguments in attacks:
        norm = str(arguments.get("norm", "linf"))
        rates.append(empty_rate(name, arguments.get("eps"), c=arguments.get("c"), norm=norm))
    return rates


def empty_rate(name: str, eps: float | None, *, c: float | None = None, norm: str = "linf") -> Rate:
    """A rate of no images yet."""
    return Rate(name, eps, 0, 0, 0.0, 1.0, [], norm, 0.0, c)


def add_batch(rate: Rate, adversarial: Images, images: Images, outcomes: Bool[Tensor, " batch"]) -> Rate:
    """The rate with another batch: adversarial images, the originals, and which of them the model classifies correctly."""
    changed = (adversarial != images).flatten(1).any(-1)
    size, moved = distance(adversarial, images, rate.norm), int((changed & outcomes).sum())
    return join_rates([rate, replace(rate, outcomes=outcomes.tolist(), perturbation=size, moved=moved)])


def join_rates(parts: Sequence[Rate]) -> Rate:
    """One rate of the images of several parts of a measurement, in that order."""
    outcomes = [outcome for part in parts for outcome in part.outcomes]
    low, high = wilson(sum(outcomes), len(outcomes))
    return replace(
        parts[0],
        correct=sum(outcomes),
        n=len(outcomes),
        low=low,
        high=high,
        outcomes=outcomes,
        perturbation=max(part.perturbation for part in parts),
        moved=sum(part.moved for part in parts),
        parts=_join_parts([part.parts for part in parts]),
    )


def _join_parts(shards: Sequence[Sequence[Json]]) -> list[Json]:
    """The results of an attack's parts on several shards of the images together."""
    joined: dict[str, Json] = {}
    for one in (one for shard in shards for one in shard):
        before = joined.setdefault(one["attack"], {"attack": one["attack"], "attacked": 0, "fooled": 0})
        joined[one["attack"]] = before | {name: before[name] + one[name] for name in ("attacked", "fooled")}
    return list(joined.values())


def parse_rate(stored: object, blank: Rate, limit: int) -> Rate | None:
    """Parse a rate that `Rate.to_json` wrote: of the attack of `blank`, and `limit` images at most; None if it is damaged."""
    if not isinstance(stored, Mapping):
        return None
    outcomes, perturbation, moved = (stored.get(name) for name in ("outcomes", "perturbation", "moved"))
    if not isinstance(outcomes, list) or not {type(outcome) for outcome in outcomes} <= {bool} or len(outcomes) > limit:
        return None
    if not isinstance(perturbation, int | float) or not math.isfinite(perturbation) or not isinstance(moved, int):
        return None
    parts = parse_parts(stored.get("parts", []))
    if parts is None:
        return None
    return join_rates([replace(blank, outcomes=outcomes, perturbation=float(perturbation), moved=moved, parts=parts)])


def parse_parts(stored: object) -> list[Json] | None:
    """The results of parts as they are stored: each with its label and two numbers; None if anything else is there."""
    if not isinstance(stored, list):
        return None
    for one in stored:
        numbers = [one.get("attacked"), one.get("fooled")] if isinstance(one, Mapping) else []
        if len(numbers) != 2 or not all(type(number) is int and number >= 0 for number in numbers):
            return None
        if not isinstance(one.get("attack"), str):
            return None
    return [{name: one[name] for name in ("attack", "attacked", "fooled")} for one in stored]


def worst_of(name: str, rates: Sequence[Rate]) -> Rate:
    """The accuracy under the worst of several attacks of one radius: an image is correct if it is correct under all of them."""
    outcomes = [all(results) for results in zip(*(rate.outcomes for rate in rates), strict=True)]
    low, high = wilson(sum(outcomes), len(outcomes))
    largest = max(rate.perturbation for rate in rates)
    return Rate(name, rates[0].eps, sum(outcomes), len(outcomes), low, high, outcomes, rates[0].norm, largest)


def batches(model: nn.Module, x: Images, y: Tensor, batch_size: int) -> Iterator[tuple[Images, Tensor]]:
    """The images and their labels in order, batch by batch, on the model's device."""
    for images, labels in zip(torch.split(x, batch_size), torch.split(y, batch_size), strict=True):
        yield on_device(model, images, labels)


def on_device(model: nn.Module, x: Images, y: Tensor) -> tuple[Images, Tensor]:
    """The images and their labels on the model's device."""
    device = next(model.parameters(), x).device
    return to_device(x, device), to_device(y, device)


def correct(model: nn.Module, x: Images, y: Labels) -> Bool[Tensor, " batch"]:
    """Per image, whether the model in eval mode classifies it correctly; NaN in the output is wrong. Empty for no images."""
    if not len(x):
        return torch.zeros(0, dtype=torch.bool)
    with eval_mode(model), torch.no_grad():
        return right(model(x), y)


def right(outputs: Tensor, y: Labels) -> Bool[Tensor, "..."]:
    """Whether outputs [..., class] are largest at y and free of NaN: "correct" for models and for stacked members."""
    return (outputs.argmax(-1) == y) & ~outputs.isnan().any(-1)


def leaves_ball(distance: float, eps: float | None) -> bool:
    """Whether a distance is larger than an attack's radius, by more than rounding explains; never without a radius."""
    return eps is not None and distance > eps * (1 + 1e-5) + 1e-6


def distance(a: Images, b: Images, norm: str) -> float:
    """The largest distance between images of a and b at the same place, in the maximum norm or L2; 0 without images."""
    order = torch.inf if norm == "linf" else 2
    return torch.linalg.vector_norm(a.flatten(1).float() - b.flatten(1).float(), order, dim=-1).max().item() if len(a) else 0.0
