"""Checks of an ensemble that was trained elsewhere: mistakes that make every later figure meaningless, said in words."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trs_explorer.evaluation.accuracy import batches, right
from trs_explorer.evaluation.intervals import wilson
from trs_explorer.evaluation.seeds import sign_test
from trs_explorer.evaluation.trust.from_rates import check_model
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.eval_mode import eval_mode

BETTER = 0.2  # by this much accuracy, other input shows that normalisation is missing or doubled
SATURATED = 0.9  # share of images whose probability rounds to 1 in float32
MISSING = "{}: its normalisation is missing. Put the one that it was trained with into it as the first layer"
NOT_BETTER = (
    "Not better: images normalised by their mean and std, or back; in [-1, 1] or [0, 255]; channels reversed; classes renamed"
)
N_GRADIENTS = 16  # images for the checks that need gradients
SURE = 0.01  # p of the sign test below which a gain by another input is said


@dataclass(frozen=True)
class Checked:
    """A step of the checks.

    - members: how many of them are checked.
    - warning: what is wrong, in words; "" if nothing is.
    - correct: of the member that was just checked, how many images it classifies correctly.
    """

    members: int
    warning: str = ""
    correct: int | None = None


def check_import(
    ensemble: Ensemble, x: Images, y: Labels, *, was_training: Sequence[int] = (), batch_size: int = 64
) -> Iterator[Checked]:
    """Yield what is wrong with an ensemble's members, in words, and of each how many images it classifies correctly.

    - x, y: test images in [0, 1] and their labels; some hundreds are enough.
    - was_training: numbers (from 0) of the members that came in training mode.
    Said are: normalisation that is missing or doubled, classes in another order, probabilities instead of logits, saturated
    logits, outputs that change from pass to pass or with the other images of a batch, gradients that do not reach the input.
    """
    yield Checked(0)
    if was_training:
        names = ", ".join(f"F{k + 1}" for k in was_training)
        text = f"{names} came in training mode: measured in eval mode, without dropout, with batch norm's stored statistics"
        yield Checked(0, text)
    for k, member in enumerate(ensemble.members):
        outputs = _outputs(member, x, y, batch_size)
        for text in _member_texts(member, x, y, outputs, batch_size):
            yield Checked(k, f"F{k + 1}: {text}")
        yield Checked(k + 1, correct=int(right(outputs, y).sum()))
    for text in _twins(ensemble, x[:N_GRADIENTS]):
        yield Checked(len(ensemble), text)


def in_training(ensemble: Ensemble) -> list[int]:
    """The numbers (from 0) of the members in training mode. A mere frame around modules in eval mode is not."""

    def trains(member: nn.Module) -> bool:
        inner = [module for module in member.modules() if module is not member and not any(module.children())]
        return member.training and (not inner or any(module.training for module in inner))

    return [number for number, member in enumerate(ensemble.members) if trains(member)]


def _member_texts(member: nn.Module, x: Images, y: Labels, outputs: Tensor, batch_size: int) -> Iterator[str]:
    correct = right(outputs, y)
    classes = outputs.shape[-1]
    _, high = wilson(int(correct.sum()), len(y))
    if high < (1 + 1 / classes) / 2:  # less than half way from chance to perfect
        yield from _why_so_inaccurate(member, x, y, outputs, batch_size)
    elif not bool(correct.all()):
        yield from _better_otherwise(member, x, y, correct, batch_size)
    warnings = check_model(member, x[:N_GRADIENTS], y[:N_GRADIENTS])
    yield from (text for check in (9, 10) for text in warnings[check])
    if _depends_on_its_batch(member, x[:N_GRADIENTS]):
        yield (
            "its output for an image depends on the other images of the batch: batch norm in training mode, or without running "
            "statistics. Attacks on it are attacks on the batch"
        )
    yield from _gradient_texts(member, x[:N_GRADIENTS], y[:N_GRADIENTS])
    certain = (outputs.softmax(-1).amax(-1) == 1).float().mean().item()
    if certain > SATURATED:
        size = outputs.abs().max().item()
        yield (
            f"on {100 * certain:.0f} % of the images its probability rounds to 1 (logits up to {size:.3g}): cross-entropy has no "
            "gradient there. Trust attacks on the margin (--loss margin, mora)"
        )


def _why_so_inaccurate(member: nn.Module, x: Images, y: Labels, outputs: Tensor, batch_size: int) -> Iterator[str]:
    """Say that a member is hardly better than chance, and which other input or order of the classes would make it better."""
    n, correct, chance = len(y), int(right(outputs, y).sum()), 1 / outputs.shape[-1]
    low, _ = wilson(correct, n)
    text = f"it classifies {correct} of {n} images correctly" + ", which may be chance" * (low <= chance)
    tries = _other_inputs(x)
    counts = {words: int(right(_outputs(member, other, y, batch_size), y).sum()) for words, other in tries.items()}
    renamed = "its own answers {} if its classes are renamed: they are in another order than the data's. Reorder its outputs"
    counts[renamed] = _matched_classes(outputs, y)
    words, best = max(counts.items(), key=lambda one: one[1])
    better = best - correct > BETTER * n
    yield f"{text}; of {words.format(best)}" if better else f"{text}: is this the data that it was trained on? {NOT_BETTER}"


def _better_otherwise(member: nn.Module, x: Images, y: Labels, correct: Tensor, batch_size: int) -> Iterator[str]:
    """Say which other input makes an accurate member more accurate, if chance does not explain it (a sign test)."""
    before, found = correct.cpu(), []
    for words, other in _other_inputs(x).items():
        now = right(_outputs(member, other, y, batch_size), y.cpu())
        gained, lost = int((now & ~before).sum()), int((~now & before).sum())
        if gained > lost and sign_test(gained, lost) < SURE:
            found.append((int(now.sum()), words))
    if found:
        best, words = max(found)
        yield f"it classifies {int(before.sum())} of {len(y)} images correctly; of {words.format(best)}"


def _other_inputs(x: Images) -> dict[str, Images]:
    """The images as a member may have been trained on them, by what it means if it is better then ({}: its correct answers)."""
    mean, std = (value.view(-1, 1, 1) for value in (x.mean((0, 2, 3)), x.std((0, 2, 3)).clamp_min(1e-3)))
    return {
        f"images normalised by their own mean and std {MISSING}": (x - mean) / std,
        f"images in [-1, 1] {MISSING}": 2 * x - 1,
        "images in [0, 255] {}: put that factor into the model": 255 * x,
        "images that are normalised back, x * std + mean, {}: its normalisation is doubled": x * std + mean,
        "images with their channels in reverse order {}: it was trained on BGR": x.flip(1),
    }


def _matched_classes(outputs: Float[Tensor, "batch class"], y: Labels) -> int:
    """Count the images that are right if every true class is renamed to the answer that it gets most often, if these differ."""
    answers = outputs.argmax(-1)
    counts = torch.zeros(outputs.shape[-1], outputs.shape[-1], dtype=torch.long)
    counts.index_put_((y.cpu(), answers.cpu()), torch.ones(len(y), dtype=torch.long), accumulate=True)
    present = counts[counts.sum(-1) > 0]
    most, where = present.max(-1)
    return int(most.sum()) if len(where.unique()) == len(where) else 0


def _depends_on_its_batch(member: nn.Module, x: Images) -> bool:
    if len(x) < 4:
        return False
    with eval_mode(member), torch.no_grad():
        together, two = member(x).float(), member(x[:2]).float()
    size = together.abs().amax().item()
    if not math.isfinite(size):
        return False  # said already
    return not torch.allclose(together[:2], two, rtol=1e-2, atol=1e-2 * max(size, 1e-3))


def _gradient_texts(member: nn.Module, x: Images, y: Labels) -> Iterator[str]:
    with eval_mode(member), torch.enable_grad():
        copy = x.detach().clone().requires_grad_()
        outputs = member(copy).float()
        if not outputs.requires_grad:
            yield "no gradient reaches its input (no_grad, detach or numpy inside?): attacks that follow gradients cannot work"
            return
        log_odds = outputs.gather(-1, y[:, None])[:, 0] - outputs.logsumexp(-1)
        (gradient,) = torch.autograd.grad(log_odds.sum(), copy, allow_unused=True)
    if gradient is None or not bool(gradient.any()):
        yield "no gradient reaches its input (a rounding or an argmax inside?): attacks that follow gradients cannot work"
    elif not bool(gradient.isfinite().all()):
        yield "its input gradients are NaN or infinite: attacks go astray"


def _twins(ensemble: Ensemble, x: Images) -> Iterator[str]:
    """Say which members give the same outputs."""
    with eval_mode(ensemble), torch.no_grad():
        logits = ensemble.member_logits(x)
    for i in range(len(logits)):
        for j in range(i):
            if torch.equal(logits[i], logits[j]):
                yield f"F{j + 1} and F{i + 1} give the same outputs: they are one model twice, all attacks transfer"


def _outputs(member: nn.Module, x: Images, y: Labels, batch_size: int) -> Float[Tensor, "batch class"]:
    with eval_mode(member), torch.no_grad():
        return torch.cat([member(images).float().cpu() for images, _ in batches(member, x, y, batch_size)])
