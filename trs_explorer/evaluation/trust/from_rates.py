"""Sanity checks of measured rates and of a model's outputs, without another attack: 1, 3, 5, 8-11 and 17 of `checks.CHECKS`.

Each warning is a sentence for the reader of the table.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from trs_explorer.attack_labels import parse_label
from trs_explorer.evaluation.accuracy import Rate, batches, leaves_ball
from trs_explorer.evaluation.trust.checks import CHECKS
from trs_explorer.evaluation.trust.few_images import outputs_of
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.batch_size import fitting_batch
from trs_explorer.models.eval_mode import eval_mode

SLACK = 0.01  # one percentage point: the effect of a random start or of rounding
MAX_ATTACK_GAP = 0.05  # the largest difference between two iterated attacks of one budget

# The warnings of every check that was run, by its number; an empty list: the check passed.
CheckWarnings = dict[int, list[str]]


def merge_warnings(*parts: Mapping[int, list[str]]) -> CheckWarnings:
    """The warnings of several sets of checks together, by number."""
    return {
        number: [text for part in parts for text in part.get(number, [])]
        for number in CHECKS
        if any(number in part for part in parts)
    }


def all_warnings(warnings: CheckWarnings) -> list[str]:
    """Every warning, in the order of the checks."""
    return [text for texts in warnings.values() for text in texts]


def check_rates(rates: Sequence[Rate]) -> CheckWarnings:
    """Run the checks 1, 3, 8, 11 and 17 on rates of one model on the same images. A check without rates to compare is left out.

    The rate named "clean" is the one without an attack. All other names are labels of attacks, by which the catalogue says which
    of them take a single step and what they maximise.
    Source: Carlini et al., "On evaluating adversarial robustness", 2019: iterated attacks beat single steps, and accuracy falls
    as the radius grows.
    """
    attacked = [rate for rate in rates if rate.n and rate.name != "clean"]
    rates = [rate for rate in rates if rate.n and rate.eps is not None]
    iterated = [rate for rate in rates if is_iterated(rate)]
    following = [rate for rate in iterated if not _without_gradients(rate)]
    steps = [rate for rate in rates if parse_label(rate.name).entry.single_step]
    warnings: CheckWarnings = {}
    if any(_ball(a) == _ball(b) for a in iterated for b in steps):
        warnings[1] = _weaker_than_one_step(iterated, steps)
    if any(_without_gradients(rate) or rate.parts for rate in iterated):
        warnings[4] = [*_better_without_gradients(iterated), *_fooled_without_gradients(iterated)]
    if iterated:
        warnings[3] = _rising(rates)
    if len({_ball(rate) for rate in following}) < len(following):
        warnings[8] = _far_apart(following)
    if attacked:
        warnings[11] = outside_the_ball(rates)
        warnings[17] = _failed_but_changed(attacked)
    return warnings


def is_iterated(rate: Rate) -> bool:
    """Whether the rate is of an attack in a ball that takes more than one step."""
    return rate.eps is not None and rate.name != "clean" and not parse_label(rate.name).entry.single_step


def _ball(rate: Rate) -> tuple[float | None, str, int]:
    return rate.eps, rate.norm, rate.n


def _failed_but_changed(rates: Sequence[Rate]) -> list[str]:
    return [
        f"{rate.name} changed {rate.moved} of {rate.n} images that the model still has right: where an attack fails, it must "
        "give back the original"
        for rate in rates
        if rate.moved
    ]


def outside_the_ball(rates: Sequence[Rate]) -> list[str]:
    """Say of every attack that moved an image further than its radius that its figure does not count."""
    return [
        f"{rate.name} moved an image by {rate.perturbation:.4g} in {rate.norm}, more than its ε {rate.eps:g}: its figure does "
        "not count"
        for rate in rates
        if leaves_ball(rate.perturbation, rate.eps)
    ]


def _weaker_than_one_step(iterated: Sequence[Rate], steps: Sequence[Rate]) -> list[str]:
    return [
        f"{strong.name} leaves {_percent(strong)} right at ε {strong.eps:g}, {weak.name}'s single step only {_percent(weak)}: "
        "gradients are masked, or its steps are too few or too small"
        for strong in iterated
        for weak in steps
        if _ball(strong) == _ball(weak) and _share(strong) > _share(weak) + SLACK
    ]


def _without_gradients(rate: Rate) -> bool:
    return not parse_label(rate.name).entry.gradients


def _better_without_gradients(rates: Sequence[Rate]) -> list[str]:
    """Attacks without gradients that leave fewer right than every attack in the same ball that follows them."""
    warnings = []
    for blind in filter(_without_gradients, rates):
        others = [rate for rate in rates if _ball(rate) == _ball(blind) and not _without_gradients(rate)]
        best = min(others, key=_share, default=None)
        if best is not None and _share(best) > _share(blind) + SLACK:
            warnings.append(
                f"{blind.name}, without gradients, leaves {_percent(blind)} right at ε {blind.eps:g}, {best.name} "
                f"{_percent(best)}: its gradients are masked"
            )
    return warnings


def _fooled_without_gradients(rates: Sequence[Rate]) -> list[str]:
    """Images that only a part without gradients fooled, after all parts that follow them."""
    warnings = []
    for rate in rates:
        blind = [part for part in rate.parts if not parse_label(part["attack"]).entry.gradients]
        fooled = sum(part["fooled"] for part in blind)
        if fooled > SLACK * rate.n:
            names = " and ".join(part["attack"] for part in blind)
            warnings.append(
                f"{names}, without gradients, fools {fooled} of {rate.n} images at ε {rate.eps:g} that attacks with gradients "
                "left: these are masked, and the figure may still be too high"
            )
    return warnings


def _far_apart(iterated: Sequence[Rate]) -> list[str]:
    """Iterated attacks of one budget that disagree: one is misled by its loss, or too slow on the same loss."""
    groups = defaultdict(list)
    for rate in iterated:
        groups[_ball(rate)].append(rate)
    warnings = []
    for group in groups.values():
        low, high = min(group, key=_share), max(group, key=_share)
        if _share(high) <= _share(low) + MAX_ATTACK_GAP:
            continue
        best = min((rate for rate in group if _sees_through(rate) != _sees_through(low)), key=_share, default=low)
        both = f"at ε {low.eps:g} {low.name} leaves {_percent(low)} right, "
        if _share(best) > _share(low) + MAX_ATTACK_GAP:
            warnings.append(
                f"{both}{best.name}, on another loss, {_percent(best)}: the gradients of that loss are masked, so only the "
                "lowest figure counts, and it may still be too high"
            )
        else:
            warnings.append(
                f"{both}{high.name} {_percent(high)}: its steps are too few or too small, or it begins where gradients fade; "
                "only the lowest figure counts"
            )
    return warnings


def _sees_through(rate: Rate) -> bool:
    """Whether the attack follows something else than the cross-entropy of the ensemble's outputs."""
    entry = parse_label(rate.name).entry
    return entry.loss != "ce" or entry.of_members


def _rising(rates: Sequence[Rate]) -> list[str]:
    clean = [rate for rate in rates if rate.name == "clean"]
    series = defaultdict(list)
    for rate in rates:
        # One step of FGSM may overshoot: that its accuracy rises again says nothing about the model.
        if is_iterated(rate):
            series[rate.name, rate.norm, rate.n].append(rate)
    warnings = []
    for group in series.values():
        lowest = next((rate for rate in clean if rate.n == group[0].n), None)
        for rate in sorted(group, key=_radius):
            if lowest is not None and _share(rate) > _share(lowest) + SLACK and _radius(rate) > _radius(lowest):
                before = "without an attack" if lowest.name == "clean" else f"at ε {lowest.eps:g}"
                warnings.append(
                    f"{rate.name} leaves {_percent(rate)} right at ε {rate.eps:g}, more than the {_percent(lowest)} {before}: "
                    "a larger ball holds the smaller one's images, so the attack misses them"
                )
            lowest = rate if lowest is None or _share(rate) < _share(lowest) else lowest
    return warnings


def check_model(model: nn.Module, x: Images, y: Labels) -> CheckWarnings:
    """Run the checks 5, 9, 10 and 11 on a model's outputs for a small batch of clean images and their true labels.

    The model stays in its mode. Denominator of the shares: the images given. A gradient counts as zero only if it is exactly 0,
    where a sign step does not move; small gradients are harmless. Passes take as many images as fit into memory.
    """
    if not len(x):
        return {}
    warnings: CheckWarnings = {5: [], 9: [], 10: [], 11: []}
    if any(module.training for module in model.modules()):
        warnings[11].append("the model is in train mode: attacks and accuracies are measured in eval mode")
    parts = [*batches(model, x, y, fitting_batch(model, x))]
    with eval_mode(model), torch.no_grad():
        outputs, again = (outputs_of(model, x, y) for _ in range(2))
    if outputs.isnan().any():
        broken = outputs.isnan().any(-1)
        warnings[9].append(f"{_share_text(broken)} outputs hold NaN: they count as wrong, and no attack is needed")
    elif not torch.allclose(outputs, again, rtol=1e-3, atol=1e-4):
        warnings[9].append(
            "the same images give other outputs the second time: attacks on a random model need averaged gradients"
        )
    if bool((outputs >= 0).all()) and torch.allclose(outputs.sum(-1), torch.ones_like(outputs[:, 0]), atol=1e-4):
        warnings[10].append(
            "the model returns probabilities: return logits or log-probabilities, or the attacks' loss is nearly flat"
        )
    with eval_mode(model), torch.enable_grad():
        gradient = torch.cat([_gradient(model, images, labels).flatten(1) for images, labels in parts])
    zero, broken = (gradient == 0).all(-1), ~gradient.isfinite().all(-1)
    if zero.float().mean() > SLACK:
        warnings[5].append(
            f"{_share_text(zero)} input gradients are exactly zero: attacks that follow the loss cannot start there"
        )
    if broken.any():
        warnings[5].append(f"{_share_text(broken)} input gradients are NaN or infinite: attacks go astray there")
    return warnings


def _gradient(model: nn.Module, x: Images, y: Labels) -> Images:
    """The gradient of the cross-entropy at each image; 0 where the output does not depend on it."""
    copy = x.detach().clone().requires_grad_()
    loss = F.cross_entropy(model(copy).float(), y.long(), reduction="sum")
    gradient = torch.autograd.grad(loss, copy, allow_unused=True)[0] if loss.requires_grad else None
    return torch.zeros_like(copy) if gradient is None else gradient


def _radius(rate: Rate) -> float:
    """The radius of a rate that has one."""
    assert rate.eps is not None
    return rate.eps


def _share(rate: Rate) -> float:
    return rate.correct / rate.n


def _percent(rate: Rate) -> str:
    return f"{_share(rate):.1%}"


def _share_text(flags: torch.Tensor) -> str:
    return f"{int(flags.sum())} of {len(flags)} ({flags.float().mean().item():.1%})"
