"""Black-box accuracy: adversarial images are made on surrogates, and tested on an unknown target (paper, section 4.1)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from trs_explorer.attacks.checks import check_images
from trs_explorer.attacks.noise import draw_seeds, seeded
from trs_explorer.attacks.options import keywords, transfer_kwargs
from trs_explorer.attacks.pgd import pgd
from trs_explorer.evaluation.accuracy import Rate, add_batch, correct, empty_rate, on_device
from trs_explorer.evaluation.intervals import of_ratio
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.batch_size import Batches, fitting_batch

STARTS, STEPS = 3, 50


@dataclass(frozen=True)
class Attempt:
    """One attack on one surrogate at one radius, from one start.

    - surrogate, kind: names of the surrogate and of the attack.
    - attack: attack(surrogate, x, y, *, eps, generator, ...) -> x_adv. It also gets the norm, if its signature names it.
    - eps, norm: the radius, in [0, 1] pixels. An attack without a norm searches the maximum norm, "linf".
    - start: the number of the random start, from 0.
    """

    surrogate: str
    kind: str
    attack: Callable[..., Tensor]
    eps: float
    start: int = 0
    norm: str = "linf"

    @property
    def name(self) -> str:
        """Its name, such as "mnist-5, pgd margin, start 2"."""
        return f"{self.surrogate}, {self.kind}, start {self.start + 1}"


def protocol(
    surrogates: Sequence[str],
    eps: float,
    *,
    norm: str = "linf",
    losses: Sequence[str] = ("ce", "margin"),
    options: Mapping[str, Any] | None = None,
) -> list[Attempt]:
    """The paper's attempts at one radius: PGD of 50 steps of eps/10 on cross-entropy and on the margin, 3 starts, each surrogate.

    losses, options: other losses, and further options of PGD, than the paper's.
    With three surrogates these are 18 for an image. The paper's second loss is that of CW; ours is its margin unclipped, which
    keeps its gradient on log-probabilities.
    Source: section 4.1, after DVERGE (Yang et al., NeurIPS 2020); step eps/10 as the authors' code has it.
    """
    return [
        Attempt(surrogate, f"pgd {loss}", partial(pgd, steps=STEPS, loss=loss, **(options or {})), eps, start, norm)
        for surrogate in surrogates
        for loss in losses
        for start in range(STARTS)
    ]


def measure_attempt(
    attempt: Attempt,
    surrogate: nn.Module,
    targets: Mapping[str, nn.Module],
    x: Images,
    y: Labels,
    *,
    seed: int = 0,
    first: int = 0,
    done: Mapping[str, Rate] | None = None,
    batch_size: int = 256,
) -> Iterator[dict[str, Rate]]:
    """Make one attempt and test it on every target. Yields after every batch the rates so far, by target.

    - x, y: test images and true labels.
    - seed, first: as for `accuracy.measure`; start k uses the seed + k.
    - done: rates of an interrupted measurement; used if they are of the same number of images for every target.

    Raises: ValueError for another norm than "linf" of an attack that takes none, and as `accuracy.measure`.
    Denominator: all images. The targets get the image with the highest loss on the surrogate, even if it does not fool that one.
    """
    takes_norm = "norm" in keywords(attempt.attack)
    if not takes_norm and attempt.norm != "linf":
        raise ValueError(f"{attempt.kind} takes no norm and searches the maximum norm, got {attempt.norm!r}: take linf")
    rates = {name: (done or {}).get(name, empty_rate(attempt.name, attempt.eps, norm=attempt.norm)) for name in targets}
    if len({rate.n for rate in rates.values()}) > 1:
        rates = {name: empty_rate(attempt.name, attempt.eps, norm=attempt.norm) for name in targets}
    tried = next(iter(rates.values())).n
    generator = seeded(seed + attempt.start)
    draw_seeds(first + tried, 1, generator)  # skip the draws for the images before
    options = {**transfer_kwargs(attempt.attack, for_transfer=True), **({"norm": attempt.norm} if takes_norm else {})}

    def attacked(places: slice) -> tuple[Images, Images, dict[str, Tensor]]:
        images, labels = on_device(surrogate, x[places], y[places])
        x_adv = attempt.attack(surrogate, images, labels, eps=attempt.eps, generator=generator, **options)
        check_images(x_adv, labels)
        return images, x_adv, {name: correct(target, x_adv, labels) for name, target in targets.items()}

    sizes = Batches(fitting_batch(surrogate, x, most=batch_size))
    for _, (images, x_adv, outcomes) in sizes.over(tried, len(x), attacked, generator):
        for name in targets:
            rates[name] = add_batch(rates[name], x_adv, images, outcomes[name])
        yield dict(rates)


def per_attempt(rates: Sequence[Rate]) -> tuple[float, float, float]:
    """The share of failed attempts, over all attempts on all images, and its 95 % interval, in which an image counts once.

    The paper describes its figure so; its authors' code counts images that are correct under *all* attempts
    (`accuracy.worst_of`).
    """
    counts = [(sum(outcomes), len(outcomes)) for outcomes in zip(*(rate.outcomes for rate in rates), strict=True)]
    return sum(failed for failed, _ in counts) / sum(tried for _, tried in counts), *of_ratio(counts)
