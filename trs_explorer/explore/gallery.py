"""Which images of the test set are worth a look. All indices count from the first image that was tried."""

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from trs_explorer.evaluation.accuracy import Rate
from trs_explorer.evaluation.transfer import TransferMatrix
from trs_explorer.gradients import Labels
from trs_explorer.models.ensemble import Ensemble, Images
from trs_explorer.options import UsageError, unknown

Answers = Int[Tensor, "model image"]

FILTERS = {
    "all": "all images",
    "disagree": "members disagree",
    "wrong": "the ensemble is wrong",
    "transfers": "an attack on one model also fools another",
    "robust": "right also after an attack on the ensemble",
}


def answers(ensemble: Ensemble, x: Images, *, batch_size: int = 256) -> Answers:
    """The class that every member, then the ensemble, gives each image; -1 where an output has NaN. On the CPU.

    One forward pass of each member, batch by batch on the ensemble's device. The ensemble should be in eval mode.
    """
    device = next(ensemble.parameters(), x).device
    found = []
    with torch.no_grad():
        for images in x.split(batch_size) if len(x) else ():
            logits = ensemble.member_logits(images.to(device))
            outputs = torch.cat([logits, ensemble.vote(logits)[None]])
            found.append(outputs.argmax(-1).masked_fill(outputs.isnan().any(-1), -1).cpu())
    return torch.cat(found, -1) if found else torch.zeros(len(ensemble) + 1, 0, dtype=torch.long)


def pick(
    kind: str,
    y: Labels,
    *,
    label: int | None = None,
    answers: Answers | None = None,
    matrix: TransferMatrix | None = None,
    surrogate: int = 0,
    target: int = 1,
    robust: Rate | None = None,
) -> tuple[list[int], str]:
    """Indices of the images that a filter lets through, in order, and in words how many of how many that is.

    kind: one of FILTERS.  y: the true labels of the images that may be offered.  label: of this class only.
    answers (for "disagree", "wrong"), matrix with surrogate and target ("transfers"; one past the members is the ensemble),
    robust ("robust"; a rate of the ensemble under an attack on itself): what was measured on the first images of y. Where that is
    fewer than y, or less of the matrix is done by now, only those are judged, and the words say so.
    Raises: UsageError for a kind or cell that does not exist, or a measurement that is not there yet.
    """
    if kind not in FILTERS:
        raise UsageError(unknown("filter", str(kind)[:80], FILTERS))
    count, eligible = len(y), None
    if kind == "transfers":
        given = _needed(matrix, "the transfer matrix")
        passes, eligible, words = _cell(given, surrogate, target)
    elif kind == "robust":
        given = _needed(robust, "the attack on the ensemble")
        passes, words = given.outcomes, f"the ensemble is right, also after {given.name} of eps {given.eps:g} on itself"
    elif kind == "all":
        passes, words = [True] * len(y), "all"
    else:
        given = _needed(answers, "what the members answer")
        count = min(count, given.shape[1])
        disagree, wrong = (given[:-1] != given[0]).any(0), given[-1, :count] != y[:count].cpu()
        passes = (disagree if kind == "disagree" else wrong).tolist()
        words = "the members give different answers" if kind == "disagree" else "the ensemble is wrong, without any attack"
    labels = y.tolist()
    judged = [i for i in range(min(count, len(passes))) if label is None or labels[i] == label]
    found = [i for i in judged if passes[i]]
    of_class = "" if label is None else f" of class {label}"
    if eligible is not None:
        words = words.format(sum(eligible[i] for i in judged))
    return found, f"{len(found)} of {len(judged)} image{'s' * (len(judged) != 1)}{of_class}: {words}"


def model_name(index: int, members: int) -> str:
    """What people call a model: F1, F2, ... and the ensemble, which comes after the members."""
    return f"F{index + 1}" if index < members else "the ensemble"


def _cell(matrix: TransferMatrix, i: int, j: int) -> tuple[list[bool], list[bool], str]:
    """Per image tried whether it was fooled and whether it was eligible, and words that await the number of the latter."""
    members, columns = len(matrix.outcomes), len(matrix.outcomes[0])
    if i not in range(members) or j not in range(columns):
        raise UsageError(f"the matrix has {members} rows and {columns} columns: it has no row {i + 1}, column {j + 1}")
    attacked, other = model_name(i, members), model_name(j, members)
    words = f"the attack on {attacked} also fools {other} (both have {{}} of them right, and on these {attacked} falls)"
    if i == j:
        words = f"the attack on {attacked} fools it ({attacked} has {{}} of them right without an attack)"
    cell = matrix.outcomes[i][j]
    return [letter == "1" for letter in cell], [letter != "-" for letter in cell], words


def _needed(value: Any, what: str) -> Any:
    if value is None:
        raise UsageError(f"{what}: not measured yet")
    return value
