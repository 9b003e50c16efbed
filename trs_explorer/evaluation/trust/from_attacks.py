"""Sanity checks that attack the model again: cheap ones for every evaluation, thorough ones on request.

Numbers are those of `checks.CHECKS`. Every share is of the images given, the first few of those that were evaluated. Attacks
are in the norm of the rates; with eps 1, where every image is in reach, in the maximum norm.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from trs_explorer.attack_labels import parse_label
from trs_explorer.attacks.losses import cross_entropy
from trs_explorer.attacks.mora import mora
from trs_explorer.attacks.noise import random_shift, seeded
from trs_explorer.attacks.options import transfer_kwargs
from trs_explorer.attacks.pgd import pgd
from trs_explorer.evaluation.accuracy import Attack, Rate, batches, correct
from trs_explorer.evaluation.trust.few_images import affordable, attacked, outputs_of, right_in_batches
from trs_explorer.evaluation.trust.from_rates import (
    MAX_ATTACK_GAP,
    SLACK,
    CheckWarnings,
    check_model,
    check_rates,
    is_iterated,
    merge_warnings,
)
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.batch_size import fitting_batch
from trs_explorer.models.eval_mode import eval_mode
from trs_explorer.models.recording import RecordingModel

QUICK_N, THOROUGH_N = 100, 200
ENOUGH = 0.1  # where a smaller share than this is left right, no check can find a weakness
NOISE_DRAWS = 10
LAST_STEPS = 10
RISE = 0.05  # the largest relative increase of the loss in the last steps
Outcomes = Bool[Tensor, " batch"]


def cheap_checks(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    rates: Sequence[Rate],
    attacks: Sequence[Attack],
    seed: int = 0,
    notify: Callable[[str], object] = lambda text: None,
) -> CheckWarnings:
    """Run all checks that every evaluation can afford: on its rates, and on its first QUICK_N images, fewer of a heavy model.

    x, y: the images that were evaluated. rates, attacks, notify: as for `quick_checks`.
    """
    few = affordable(model, x, QUICK_N)
    return merge_warnings(
        check_rates(rates),
        check_model(model, x[few], y[few]),
        quick_checks(model, x[few], y[few], rates=rates, attacks=attacks, seed=seed, notify=notify),
    )


def quick_checks(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    rates: Sequence[Rate],
    attacks: Sequence[Attack],
    seed: int = 0,
    notify: Callable[[str], object] = lambda text: None,
) -> CheckWarnings:
    """Run the checks 2, 8, 12 and 15. Cost: some hundred passes an image.

    - rates: measured on these images, in order, and perhaps on more after them.
    - attacks: those of the rates.
    - notify: called with what is checked, as it begins.
    """
    if not len(x):
        return {}
    run = partial(_outcomes_under, model, x, y, seed=seed)
    right = right_in_batches(model, x, y)
    warnings: CheckWarnings = {2: [], 12: []}
    notify("ε 1")
    left = run(partial(pgd, eps=1.0))
    if left.any():
        warnings[2].append(
            f"{_of(left)} images are still right with ε 1, where every image is in reach: gradients are masked, or the "
            "attack is weak"
        )
    for name, attack, arguments in attacks:
        if arguments.get("eps") is not None:
            notify(f"{name} with ε 0")
            same = run(partial(attack, **{**arguments, "eps": 0.0}))
            if not torch.equal(same, right):
                warnings[12].append(f"{name} with ε 0 leaves {_of(same)} right instead of the clean {_of(right)}")
    norm = _norm(rates)
    strongest = _strongest(rates, len(x), norm)
    if not strongest:
        return warnings
    warnings[8], warnings[15] = [], []
    eps = _informative_radius(strongest)
    notify("cross-entropy and margin")
    both = [
        ("PGD on cross-entropy", run(partial(pgd, eps=eps, norm=norm))),
        ("PGD on the margin", run(partial(pgd, eps=eps, norm=norm, loss="margin"))),
    ]
    if hasattr(model, "members"):  # where every member is certain, the ensemble's margin has no gradient either
        both.append(("MORA, on the members,", run(partial(mora, eps=eps, norm=norm))))
    (low, fewer), *_, (high, more) = sorted(both, key=lambda trial: int(trial[1].sum()))
    if is_stronger(fewer, more, MAX_ATTACK_GAP):
        warnings[8].append(
            f"{low} leaves {_of(fewer)} right at ε {eps:g}, {high} {_of(more)}: the gradients of the latter are masked, so "
            "only the lower figure counts, and it may still be too high"
        )
    notify("random noise")
    for eps, (name, left) in strongest.items():
        noisy = right.clone()
        for draw in range(NOISE_DRAWS):
            seeds = [(seed * NOISE_DRAWS + draw) * len(x) + place for place in range(len(x))]
            noisy &= right_in_batches(model, (x + random_shift(x, seeds, eps=eps, norm=norm)).clamp(0, 1), y)
        if is_stronger(noisy, left):
            warnings[15].append(
                f"{NOISE_DRAWS} draws of random noise leave {_of(noisy)} right at ε {eps:g}, {name} {_of(left)}: the attack "
                "misses what chance finds"
            )
    return warnings


def thorough_checks(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    rates: Sequence[Rate],
    attacks: Sequence[Attack],
    others: Sequence[tuple[str, nn.Module]] = (),
    steps: int = 50,
    seed: int = 0,
    notify: Callable[[str], object] = lambda text: None,
) -> CheckWarnings:
    """Run the checks 4, 6, 7, 13 and 16 at the largest radius that leaves enough right; none of them without iterated attacks.

    - rates, attacks: as for `quick_checks`.
    - others: names and models on which images are made for check 4.
    - steps, seed: of the attacks.
    - notify: called with the name of each check as it begins.

    Cost: some 500 + 50 * others + 100 * (an ensemble's members) passes an image, and those of every attack in a ball (check 7).
    """
    norm = _norm(rates)
    strongest = _strongest(rates, len(x), norm)
    if not strongest or not len(x):
        return {}
    eps = _informative_radius(strongest)
    name, left = strongest[eps]
    run = partial(_outcomes_under, model, x, y, seed=seed)
    warnings: CheckWarnings = {}
    if others:
        notify("images made on other models")
        warnings[4] = []
        for title, surrogate in others:
            theirs = run(partial(pgd, eps=eps, norm=norm, steps=steps, for_transfer=True), surrogate=surrogate)
            if is_stronger(theirs, left):
                warnings[4].append(
                    f"images made on {title} leave {_of(theirs)} right at ε {eps:g}, {name} itself {_of(left)}: its "
                    "gradients mislead"
                )
    if steps > LAST_STEPS:
        notify("the last steps")
        warnings[6] = _still_moving(model, x, y, eps=eps, norm=norm, steps=steps, seed=seed)
    notify("images passed over")
    # the others keep the nearest, not the worst, or make several attacks in turn
    balls = [one for one in attacks if one[2].get("eps") is not None and parse_label(one[0]).entry.has_path]
    warnings[7] = [text for attack in balls for text in _passed_over(model, x, y, *attack, seed=seed)]
    notify("five starts")
    once, often = (run(partial(pgd, eps=eps, norm=norm, steps=steps, restarts=restarts)) for restarts in (1, 5))
    warnings[13] = []
    if is_stronger(often, once):
        warnings[13].append(
            f"five starts of PGD leave {_of(often)} right at ε {eps:g}, one {_of(once)}: take --restarts 5 or more, or a "
            "stronger attack"
        )
    if hasattr(model, "members"):
        notify("single members")
        results = [("MORA", run(partial(mora, eps=eps, norm=norm, steps=steps)))]
        for number, member in enumerate(cast("Iterable[nn.Module]", model.members), start=1):
            attack = partial(pgd, eps=eps, norm=norm, steps=steps, for_transfer=True)
            results.append((f"PGD on member F{number} alone", run(attack, surrogate=member)))
        warnings[16] = [
            f"{title} leaves {_of(theirs)} right at ε {eps:g}, {name} on the ensemble {_of(left)}: only the lower figure counts"
            + (", and the gradients that the latter follows are masked" if is_stronger(theirs, left, MAX_ATTACK_GAP) else "")
            for title, theirs in results
            if is_stronger(theirs, left)
        ]
    return warnings


def _outcomes_under(
    model: nn.Module, x: Images, y: Labels, attack: Callable[..., Tensor], *, seed: int, surrogate: nn.Module | None = None
) -> Outcomes:
    """Which images the model classifies correctly after an attack on it, or on the surrogate."""
    return right_in_batches(model, attacked(attack, model if surrogate is None else surrogate, x, y, seed=seed), y)


def _norm(rates: Sequence[Rate]) -> str:
    """The norm of the radii of an evaluation, one for all its attacks."""
    return next((rate.norm for rate in rates if rate.eps), "linf")


def _strongest(rates: Sequence[Rate], n: int, norm: str) -> dict[float, tuple[str, Outcomes]]:
    """By radius, the iterated attack that leaves fewest of all images right, and which of the first n."""
    strongest: dict[float, Rate] = {}
    for rate in rates:
        if is_iterated(rate) and rate.norm == norm and rate.eps and rate.n >= n:
            best = strongest.get(rate.eps)
            if best is None or rate.correct < best.correct:
                strongest[rate.eps] = rate
    return {eps: (rate.name, torch.tensor(rate.outcomes[:n], dtype=torch.bool)) for eps, rate in strongest.items()}


def _informative_radius(strongest: dict[float, tuple[str, Outcomes]]) -> float:
    """The largest radius at which enough images are left right for a better attack to show; the smallest if there is none."""
    return max((eps for eps, (_, left) in strongest.items() if left.float().mean() > ENOUGH), default=min(strongest))


def is_stronger(other: Outcomes, left: Outcomes, slack: float = SLACK) -> bool:
    """Whether another attack leaves significantly fewer right: by more than the slack, and by more than chance.

    Chance: two standard deviations of a fair coin for each image on which the two differ (a sign test).
    """
    fewer = int(left.sum()) - int(other.sum())
    return fewer > slack * len(left) and fewer > 2 * int((other != left).sum()) ** 0.5


def _still_moving(model: nn.Module, x: Images, y: Labels, *, eps: float, steps: int, seed: int, norm: str = "linf") -> list[str]:
    """Check 6: whether PGD's last steps still raise the loss of images that were right before them, or fool some."""
    losses, right = [], []
    for count in (steps - LAST_STEPS, steps):
        attack = partial(pgd, eps=eps, norm=norm, step_size=eps / 10, for_transfer=True, steps=count)
        x_adv = attacked(attack, model, x, y, seed=seed)
        with eval_mode(model), torch.no_grad():
            outputs = outputs_of(model, x_adv, y)
        losses.append(cross_entropy(outputs, y.long()).cpu())
        right.append((outputs.argmax(-1) == y).cpu())
    if not right[0].any():
        return []
    before, after = (loss[right[0]].mean().item() for loss in losses)
    newly_fooled = int(right[0].sum()) - int((right[0] & right[1]).sum())
    if newly_fooled <= SLACK * len(x) and after <= (1 + RISE) * before:
        return []
    return [
        f"the last {LAST_STEPS} of {steps} steps of PGD at ε {eps:g} raise the loss of the {int(right[0].sum())} images that "
        f"were still correct from {before:.3g} to {after:.3g} and fool {newly_fooled} of them: take more --steps"
    ]


def _passed_over(
    model: nn.Module,
    x: Images,
    y: Labels,
    name: str,
    attack: Callable[..., Tensor],
    arguments: Mapping[str, Any],
    *,
    seed: int,
) -> list[str]:
    """Check 7: whether an iterate of the attack fooled the model where the returned image does not."""
    options = {**arguments, **transfer_kwargs(attack)}  # all images stay in the batch, in order
    generator, missing = seeded(seed), []
    for images, labels in batches(model, x, y, fitting_batch(model, x)):
        fooled = torch.zeros_like(labels, dtype=torch.bool)

        def record(point: Tensor, labels: Labels = labels, fooled: Tensor = fooled) -> None:
            if len(point) == len(labels):
                fooled.logical_or_(~correct(model, point.detach(), labels))

        returned = attack(RecordingModel(model, record), images, labels, generator=generator, **options)
        missing.append(fooled & correct(model, returned, labels))
    missed = torch.cat(missing)
    if not missed.any():
        return []
    return [f"{name} visited an adversarial example and did not return one, for {_of(missed)}: it must return its best iterate"]


def _of(outcomes: Outcomes) -> str:
    return f"{int(outcomes.sum())} of {len(outcomes)}"
