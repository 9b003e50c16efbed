"""Can the numbers be trusted? Cheap checks whose alarms are solid, each a sentence for the reader of the table."""

from collections import defaultdict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from trs_explorer.attacks.common import eval_mode
from trs_explorer.evaluation.accuracy import Rate
from trs_explorer.gradients import Images, Labels

# One percentage point: what a random start or rounding may move.
SLACK = 0.01
APART = 0.05  # how far two iterated attacks of one budget may differ


def check_rates(rates: Sequence[Rate]) -> list[str]:
    """Warnings about rates of one model on the same images; empty if nothing is wrong.

    The rate named "clean" is the one without an attack; names that begin with "fgsm" are single steps, all others
    iterated attacks.
    Source: Carlini et al., "On evaluating adversarial robustness", 2019: iterated attacks beat single steps, and accuracy falls
    as the radius grows.
    """
    rates = [rate for rate in rates if rate.n and rate.eps is not None]
    return [*_outside_the_ball(rates), *_weaker_than_one_step(rates), *_far_apart(rates), *_rising(rates)]


def _outside_the_ball(rates: Sequence[Rate]) -> list[str]:
    return [
        f"{rate.name} moved an image by {rate.perturbation:.4g} in {rate.norm}, more than its eps {rate.eps:g}: it cheats"
        for rate in rates
        if rate.perturbation > rate.eps * (1 + 1e-5) + 1e-6
    ]


def _weaker_than_one_step(rates: Sequence[Rate]) -> list[str]:
    return [
        f"{strong.name} leaves {_percent(strong)} right at eps {strong.eps:g}, {weak.name}'s single step only {_percent(weak)}: "
        "gradients are masked, or its steps are too few or too small"
        for strong in rates
        for weak in rates
        if not strong.name.startswith(("clean", "fgsm"))
        and weak.name.startswith("fgsm")
        and (strong.eps, strong.norm, strong.n) == (weak.eps, weak.norm, weak.n)
        and _share(strong) > _share(weak) + SLACK
    ]


def _far_apart(rates: Sequence[Rate]) -> list[str]:
    """Iterated attacks of one budget that do not agree: the weaker ones are misled."""
    groups = defaultdict(list)
    for rate in rates:
        if not rate.name.startswith(("clean", "fgsm")):
            groups[rate.eps, rate.norm, rate.n].append(rate)
    found = []
    for group in groups.values():
        low, high = min(group, key=_share), max(group, key=_share)
        if _share(high) > _share(low) + APART:
            found.append(
                f"at eps {low.eps:g} {low.name} leaves {_percent(low)} right, {high.name} {_percent(high)}: the gradients that "
                "the latter follows are masked, so only the lowest figure counts, and it may still be too high"
            )
    return found


def _rising(rates: Sequence[Rate]) -> list[str]:
    clean = [rate for rate in rates if rate.name == "clean"]
    series = defaultdict(list)
    for rate in rates:
        # One step of FGSM may overshoot: that its accuracy rises again says nothing about the model.
        if rate.name != "clean" and not rate.name.startswith("fgsm"):
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


def check_model(model: nn.Module, x: Images, y: Labels) -> list[str]:
    """Warnings about a model, from a small batch of clean images and their true labels; empty if nothing is wrong.

    The model is left in the mode it is in. Denominator of the shares: the images given. A gradient counts as zero only if it is
    exactly 0, where a sign step does not move; small ones are no hindrance.
    """
    if not len(x):
        return []
    found = []
    if any(module.training for module in model.modules()):
        found.append("the model is in train mode: attacks and accuracies are measured in eval mode")
    with eval_mode(model), torch.no_grad():
        outputs, again = model(x).float(), model(x).float()
    if outputs.isnan().any():
        found.append(f"{_share_text(outputs.isnan().any(-1))} outputs hold NaN: they count as wrong, and no attack is needed")
    elif not torch.allclose(outputs, again, rtol=1e-3, atol=1e-4):
        found.append("the same images give other outputs the second time: attacks on a random model need averaged gradients")
    if bool((outputs >= 0).all()) and torch.allclose(outputs.sum(-1), torch.ones(len(x), device=x.device), atol=1e-4):
        found.append("the model returns probabilities: return logits or log-probabilities, or the attacks' loss is nearly flat")
    with eval_mode(model):
        copy = x.detach().clone().requires_grad_()
        loss = F.cross_entropy(model(copy).float(), y.long(), reduction="sum")
        gradient = torch.autograd.grad(loss, copy)[0].flatten(1)
    zero, broken = (gradient == 0).all(-1), ~gradient.isfinite().all(-1)
    if zero.float().mean() > SLACK:
        found.append(f"{_share_text(zero)} input gradients are exactly zero: attacks that follow the loss cannot start there")
    if broken.any():
        found.append(f"{_share_text(broken)} input gradients are NaN or infinite: attacks go astray there")
    return found


def _share(rate: Rate) -> float:
    return rate.correct / rate.n


def _percent(rate: Rate) -> str:
    return f"{_share(rate):.1%}"


def _share_text(flags: torch.Tensor) -> str:
    return f"{int(flags.sum())} of {len(flags)} ({flags.float().mean().item():.1%})"
