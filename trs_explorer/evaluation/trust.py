"""Can the numbers be trusted? Checks whose alarms are solid, each alarm a sentence for the reader of the table.

This file has those that only look at rates and at a model's answers; `trials` has those that attack.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from trs_explorer.attacks.common import eval_mode
from trs_explorer.evaluation.accuracy import Rate
from trs_explorer.evaluation.checks import CHECKS
from trs_explorer.gradients import Images, Labels

# One percentage point: what a random start or rounding may move.
SLACK = 0.01
APART = 0.05  # how far two iterated attacks of one budget may differ

# The warnings of every check that was made, by its number; none: it has passed.
Findings = dict[int, list[str]]


def in_order(*findings: Mapping[int, list[str]]) -> Findings:
    """All findings together, by number."""
    return {
        number: [text for part in findings for text in part.get(number, [])]
        for number in CHECKS
        if any(number in part for part in findings)
    }


def warnings_of(findings: Findings) -> list[str]:
    """Every warning, in the order of the checks."""
    return [text for texts in findings.values() for text in texts]


def check_rates(rates: Sequence[Rate]) -> Findings:
    """What rates of one model on the same images say; a check that they leave nothing to compare for is not in it.

    The rate named "clean" is the one without an attack; names that begin with "fgsm" are single steps, all others
    iterated attacks.
    Source: Carlini et al., "On evaluating adversarial robustness", 2019: iterated attacks beat single steps, and accuracy falls
    as the radius grows.
    """
    everything = [rate for rate in rates if rate.n and rate.name != "clean"]
    rates = [rate for rate in rates if rate.n and rate.eps is not None]
    iterated = [rate for rate in rates if is_iterated(rate)]
    steps = [rate for rate in rates if rate.name.startswith("fgsm")]
    found: Findings = {}
    if any(_ball(a) == _ball(b) for a in iterated for b in steps):
        found[1] = _weaker_than_one_step(iterated, steps)
    if iterated:
        found[3] = _rising(rates)
    if len({_ball(rate) for rate in iterated}) < len(iterated):
        found[8] = _far_apart(iterated)
    if everything:
        found[11] = _outside_the_ball(rates)
        found[17] = _moved(everything)
    return found


def is_iterated(rate: Rate) -> bool:
    """Whether the rate is of an attack in a ball that takes more than one step."""
    return rate.eps is not None and not rate.name.startswith(("clean", "fgsm"))


def _ball(rate: Rate) -> tuple[float | None, str, int]:
    return rate.eps, rate.norm, rate.n


def _moved(rates: Sequence[Rate]) -> list[str]:
    return [
        f"{rate.name} changed {rate.moved} of {rate.n} images that the model still has right: where an attack fails, it must "
        "give back the original"
        for rate in rates
        if rate.moved
    ]


def _outside_the_ball(rates: Sequence[Rate]) -> list[str]:
    return [
        f"{rate.name} moved an image by {rate.perturbation:.4g} in {rate.norm}, more than its eps {rate.eps:g}: it cheats"
        for rate in rates
        if rate.perturbation > rate.eps * (1 + 1e-5) + 1e-6
    ]


def _weaker_than_one_step(iterated: Sequence[Rate], steps: Sequence[Rate]) -> list[str]:
    return [
        f"{strong.name} leaves {_percent(strong)} right at eps {strong.eps:g}, {weak.name}'s single step only {_percent(weak)}: "
        "gradients are masked, or its steps are too few or too small"
        for strong in iterated
        for weak in steps
        if _ball(strong) == _ball(weak) and _share(strong) > _share(weak) + SLACK
    ]


def _far_apart(iterated: Sequence[Rate]) -> list[str]:
    """Iterated attacks of one budget that do not agree: those on another loss are misled, those on the same one too slow."""
    groups = defaultdict(list)
    for rate in iterated:
        groups[_ball(rate)].append(rate)
    found = []
    for group in groups.values():
        low, high = min(group, key=_share), max(group, key=_share)
        if _share(high) <= _share(low) + APART:
            continue
        best = min((rate for rate in group if _on_margin(rate) != _on_margin(low)), key=_share, default=low)
        both = f"at eps {low.eps:g} {low.name} leaves {_percent(low)} right, "
        if _share(best) > _share(low) + APART:
            found.append(
                f"{both}{best.name}, on another loss, {_percent(best)}: the gradients of that loss are masked, so only the "
                "lowest figure counts, and it may still be too high"
            )
        else:
            found.append(
                f"{both}{high.name} {_percent(high)}: its steps are too few or too small, or it begins where gradients fade; "
                "only the lowest figure counts"
            )
    return found


def _on_margin(rate: Rate) -> bool:
    return rate.name.startswith(("apgd-dlr", "mora"))


def _rising(rates: Sequence[Rate]) -> list[str]:
    clean = [rate for rate in rates if rate.name == "clean"]
    series = defaultdict(list)
    for rate in rates:
        # One step of FGSM may overshoot: that its accuracy rises again says nothing about the model.
        if is_iterated(rate):
            series[rate.name, rate.norm, rate.n].append(rate)
    found = []
    for group in series.values():
        lowest = next((rate for rate in clean if rate.n == group[0].n), None)
        for rate in sorted(group, key=lambda rate: rate.eps):
            if lowest is not None and _share(rate) > _share(lowest) + SLACK and rate.eps > lowest.eps:
                before = "without an attack" if lowest.name == "clean" else f"at eps {lowest.eps:g}"
                found.append(
                    f"{rate.name} leaves {_percent(rate)} right at eps {rate.eps:g}, more than the {_percent(lowest)} {before}: "
                    "a larger ball holds the smaller one's images, so the attack misses them"
                )
            lowest = rate if lowest is None or _share(rate) < _share(lowest) else lowest
    return found


def check_model(model: nn.Module, x: Images, y: Labels) -> Findings:
    """What a small batch of clean images and their true labels says about a model.

    The model is left in the mode it is in. Denominator of the shares: the images given. A gradient counts as zero only if it is
    exactly 0, where a sign step does not move; small ones are no hindrance.
    """
    if not len(x):
        return {}
    found: Findings = {5: [], 9: [], 10: [], 11: []}
    if any(module.training for module in model.modules()):
        found[11].append("the model is in train mode: attacks and accuracies are measured in eval mode")
    with eval_mode(model), torch.no_grad():
        outputs, again = model(x).float(), model(x).float()
    if outputs.isnan().any():
        broken = outputs.isnan().any(-1)
        found[9].append(f"{_share_text(broken)} outputs hold NaN: they count as wrong, and no attack is needed")
    elif not torch.allclose(outputs, again, rtol=1e-3, atol=1e-4):
        found[9].append("the same images give other outputs the second time: attacks on a random model need averaged gradients")
    if bool((outputs >= 0).all()) and torch.allclose(outputs.sum(-1), torch.ones(len(x), device=x.device), atol=1e-4):
        found[10].append(
            "the model returns probabilities: return logits or log-probabilities, or the attacks' loss is nearly flat"
        )
    with eval_mode(model), torch.enable_grad():
        copy = x.detach().clone().requires_grad_()
        loss = F.cross_entropy(model(copy).float(), y.long(), reduction="sum")
        gradient = torch.autograd.grad(loss, copy)[0].flatten(1)
    zero, broken = (gradient == 0).all(-1), ~gradient.isfinite().all(-1)
    if zero.float().mean() > SLACK:
        found[5].append(f"{_share_text(zero)} input gradients are exactly zero: attacks that follow the loss cannot start there")
    if broken.any():
        found[5].append(f"{_share_text(broken)} input gradients are NaN or infinite: attacks go astray there")
    return found


def _share(rate: Rate) -> float:
    return rate.correct / rate.n


def _percent(rate: Rate) -> str:
    return f"{_share(rate):.1%}"


def _share_text(flags: torch.Tensor) -> str:
    return f"{int(flags.sum())} of {len(flags)} ({flags.float().mean().item():.1%})"
