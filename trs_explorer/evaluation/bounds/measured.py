"""Attack every member within every radius, and measure of the images what Theorems 1 and 2 need."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from trs_explorer.attacks.noise import ImageSeeds, draw_seeds, seeded
from trs_explorer.attacks.options import transfer_kwargs
from trs_explorer.evaluation.accuracy import check_inputs, on_device
from trs_explorer.evaluation.bounds.of_pairs import Bounds, bounds_of, pair_quantities
from trs_explorer.evaluation.bounds.per_image import PerImage, per_image
from trs_explorer.evaluation.bounds.theorems import Quantities
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.batch_size import Batches, fitting_batch
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.eval_mode import eval_mode

CLASSES = 10  # whose gradients are taken of each image by default: all of MNIST and CIFAR-10
SAMPLES = 4  # random points of each ball by default
ATTACKS_SHARE = 0.4  # of the time: about that of 50 steps
KINKED = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.Hardtanh, nn.MaxPool2d, nn.AdaptiveMaxPool2d)


def quantities(
    f: nn.Module,
    g: nn.Module,
    x: Images,
    y: Labels,
    x_adv: Images,
    *,
    eps: float,
    wanted: Labels | None = None,
    samples: int = 8,
    generator: torch.Generator | None = None,
) -> Quantities:
    """Estimate the quantities for an attack on F that made x_adv from x, within eps in L2.

    - f, g: surrogate and target.
    - x, y, x_adv: images in [0, 1], their true labels, and their adversarial images.
    - wanted: the class of a targeted attack (Theorems 1 and 2 as in the paper). None: an untargeted attack. Then the losses of
      the true class replace those of y_t in c_F and c_G, with the opposite sign, l_min is over all other classes, and a model
      is fooled if another class than y has the smallest loss.
    - samples: how many random points of the L2 ball around each x.
    - generator: of these points.

    The points are x, x_adv and the samples; gradients are those of every class: see `per_image`.
    Raises: ValueError for invalid images or radius, or an x_adv outside the ball.
    Source: paper, Definitions 2 to 6, Theorems 1 and 2; untargeted: our derivation, by the same proofs.
    """
    drawn = [[seed for (seed,) in draw_seeds(len(x), 1, generator)] for _ in range(samples)]
    seeds = [*zip(*drawn, strict=True)]
    measured = per_image(Ensemble([f, g]), x, y, [[x_adv]], eps=[eps], wanted=wanted, seeds=seeds)
    return pair_quantities(measured, 0, eps, 0, 1)


def measure_bounds(
    ensemble: Ensemble,
    x: Images,
    y: Labels,
    *,
    attack: Callable[..., Tensor],
    eps: Sequence[float],
    wanted: Labels | None = None,
    samples: int = SAMPLES,
    classes: int = CLASSES,
    seed: int = 0,
    batch_size: int = 64,
    done: PerImage | None = None,
    first: int = 0,
    progress: Callable[[float], object] = lambda images: None,
) -> Iterator[PerImage]:
    """Attack every member alone within every radius, and yield what is measured of the images so far, batch by batch.

    - x, y: images in [0, 1] and their true labels.
    - attack: attack(member, x, y, eps=..., generator=...) -> x_adv within eps in L2, such as partial(pgd, norm="l2").
    - eps: the L2 radii, ascending.
    - wanted: for a targeted attack, the class that each image should get, never y.
    - samples, classes: random points of each ball, and classes of each image whose gradients are taken (see `per_image`).
    - seed: of the attacks' noise and the random points; an image's noise depends on it and on its place alone.
    - batch_size: images at a time, at most.
    - done: what an interrupted measurement of the same has left.
    - first: the place of x[0] in a larger set of which x is a part.
    - progress: called with the number of images that are done, in fractions.

    The first to be yielded is `done`, or empty; the last has all images. Of R radii, M members and K classes, an image costs M
    attacks within every radius, and 1 + R (M + samples) points with M (K + 1) passes each.
    Raises: ValueError for invalid images, labels or radii, or an attack that leaves its ball.
    """
    check_inputs(ensemble, x, y)
    check_radii(eps)
    if samples < 0 or classes < 2:
        raise ValueError(f"samples must be >= 0 and classes >= 2, got {samples} and {classes}")
    if wanted is not None and (wanted == y).any():
        raise ValueError("a wanted class must be another than the true one")
    parts = [done if done is not None else PerImage.empty(len(eps), len(ensemble))]
    yield parts[0]
    drawn = draw_seeds(first + len(x), 1 + samples, seeded(seed))[first:]
    options = {**transfer_kwargs(attack, for_transfer=True), **({} if wanted is None else {"targeted": True})}
    labels = torch.stack([y, y if wanted is None else wanted], -1)

    def work(places: slice) -> PerImage:
        images, both = on_device(ensemble, x[places], labels[places])
        truth, aim = both.unbind(-1)
        seeds, count = drawn[places], places.stop - places.start
        made: list[list[Images]] = []
        attacks = len(eps) * len(ensemble)
        for radius in eps:
            of_radius = []
            for member in ensemble.members:
                generator = ImageSeeds([one[0] for one in seeds])
                of_radius.append(attack(member, images, aim, eps=radius, generator=generator, **options))
                done_attacks = len(made) * len(ensemble) + len(of_radius)
                progress(places.start + count * ATTACKS_SHARE * done_attacks / attacks)
            made.append(of_radius)

        def between(share: float) -> None:
            progress(places.start + count * (ATTACKS_SHARE + (1 - ATTACKS_SHARE) * share))

        return per_image(
            ensemble,
            images,
            truth,
            made,
            eps=eps,
            wanted=None if wanted is None else aim,
            seeds=[one[1:] for one in seeds],
            classes=classes,
            between=between,
        )

    size = fitting_batch(ensemble, x, most=batch_size)
    for _, part in Batches(size).over(len(parts[0]), len(x), work):
        parts = [PerImage.joined([*parts, part])]
        yield parts[0]


def bounds_from(
    measured: PerImage, ensemble: Ensemble, x: Images, *, eps: Sequence[float], targeted: bool, samples: int, classes: int
) -> Bounds:
    """Make the bounds of what `measure_bounds` has measured of the images x. The arguments are those of that call."""
    with eval_mode(ensemble), torch.no_grad():
        of_classes = ensemble.member_logits(on_device(ensemble, x[:1], x[:1])[0]).shape[-1]
    return bounds_of(
        measured,
        eps=eps,
        targeted=targeted,
        samples=samples,
        classes=classes,
        of_classes=of_classes,
        kinks=has_kinks(ensemble),
    )


def check_radii(eps: Sequence[float]) -> None:
    """Raise ValueError unless the radii are positive and ascend."""
    if not len(eps) or not eps[0] > 0 or any(not a < b for a, b in pairwise(eps)):
        raise ValueError(f"eps must be L2 radii above 0 that ascend, got {', '.join(f'{one:g}' for one in eps) or 'none'}")


def has_kinks(ensemble: Ensemble) -> bool:
    """Whether members have layers whose gradients jump. Functions called in a `forward` are not seen."""
    return any(isinstance(module, KINKED) for module in ensemble.modules())
