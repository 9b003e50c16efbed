"""Filters for test images. All indices count from the first image that was tried."""

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from trs_explorer.evaluation.accuracy import Rate
from trs_explorer.evaluation.transfer import TransferMatrix
from trs_explorer.gradients import Labels
from trs_explorer.models.batch_size import fitting_batch
from trs_explorer.models.ensemble import Ensemble, Images
from trs_explorer.models.eval_mode import eval_mode
from trs_explorer.options import UsageError, unknown

Predictions = Int[Tensor, "model image"]

FILTERS = {
    "all": "all",
    "disagree": "members disagree",
    "wrong": "the ensemble is wrong",
    "transfers": "an attack on one model also fools another",
    "robust": "correct even under an attack on the ensemble",
}


def predictions(ensemble: Ensemble, x: Images, *, batch_size: int = 256) -> Predictions:
    """Return the class that every member, then the ensemble, predicts for each image; -1 where an output has NaN. On the CPU.

    One forward pass per member in eval mode, batch by batch, on the ensemble's device.
    """
    device = next(ensemble.parameters(), x).device
    batches = []
    with eval_mode(ensemble), torch.no_grad():
        for images in x.split(fitting_batch(ensemble, x, most=batch_size)) if len(x) else ():
            logits = ensemble.member_logits(images.to(device))
            outputs = torch.cat([logits, ensemble.vote(logits)[None]])
            batches.append(outputs.argmax(-1).masked_fill(outputs.isnan().any(-1), -1).cpu())
    return torch.cat(batches, -1) if batches else torch.zeros(len(ensemble) + 1, 0, dtype=torch.long)


def pick(
    kind: str,
    y: Labels,
    *,
    label: int | None = None,
    predicted: Predictions | None = None,
    matrix: TransferMatrix | None = None,
    surrogate: int = 0,
    target: int = 1,
    robust: Rate | None = None,
    noun: str = "images",
    class_name: str = "",
) -> tuple[list[int], str]:
    """Return the indices of the images that pass a filter, in order, and a sentence such as "3 of 256 images: ...".

    The measurements below are of the first images of y. If they cover fewer images than y, only those are filtered, and the
    sentence says so.

    kind: one of FILTERS.
    y: the true labels of the images to filter.
    label: only images of this class, whose name the sentence says.
    predicted: the models' predictions, for "disagree" and "wrong".
    matrix, surrogate, target: the transfer matrix and a cell of it, for "transfers"; one past the members is the ensemble.
    robust: the ensemble's accuracy under an attack on itself, for "robust".
    noun: what the sentence calls them, in the plural.
    class_name: of the class `label`; by default its number.
    Raises: UsageError for an unknown kind or cell, or a measurement that does not exist yet.
    """
    if kind not in FILTERS:
        raise UsageError(unknown("filter", str(kind)[:80], FILTERS))
    count, eligible = len(y), None
    if kind == "transfers":
        measured = _required(matrix, "the transfer matrix")
        passes, eligible, text = _cell(measured, surrogate, target)
    elif kind == "robust":
        measured = _required(robust, "the attack on the ensemble")
        passes, text = measured.outcomes, f"the ensemble is correct even under {measured.name} of ε {measured.eps:g} on itself"
    elif kind == "all":
        passes, text = [True] * len(y), "all"
    else:
        measured = _required(predicted, "the members' predictions")
        count = min(count, measured.shape[1])
        disagree, wrong = (measured[:-1] != measured[0]).any(0), measured[-1, :count] != y[:count].cpu()
        passes = (disagree if kind == "disagree" else wrong).tolist()
        text = "the members predict different classes" if kind == "disagree" else "the ensemble is wrong, without any attack"
    labels = y.tolist()
    candidates = [i for i in range(min(count, len(passes))) if label is None or labels[i] == label]
    indices = [i for i in candidates if passes[i]]
    of_class = "" if label is None else f" of class {class_name or label}"
    if eligible is not None:
        text = text.format(sum(eligible[i] for i in candidates))
    return (
        indices,
        f"{len(indices)} of {len(candidates)} {noun if len(candidates) != 1 else noun.removesuffix('s')}{of_class}: {text}",
    )


def model_name(index: int, members: int) -> str:
    """Return a model's readable name: F1, F2, ... and "the ensemble", which comes after the members."""
    return f"F{index + 1}" if index < members else "the ensemble"


def _cell(matrix: TransferMatrix, i: int, j: int) -> tuple[list[bool], list[bool], str]:
    """Return per image whether it was fooled and whether it was eligible, and a text with a place for the number eligible."""
    members, columns = len(matrix.outcomes), len(matrix.outcomes[0])
    if i not in range(members) or j not in range(columns):
        raise UsageError(f"the matrix has {members} rows and {columns} columns: it has no row {i + 1}, column {j + 1}")
    attacked, other = model_name(i, members), model_name(j, members)
    text = f"the attack on {attacked} also fools {other} (of {{}} that both classify correctly and on which it fools {attacked})"
    if i == j:
        text = f"the attack on {attacked} fools it (of {{}} that it classifies correctly without an attack)"
    cell = matrix.outcomes[i][j]
    return [letter == "1" for letter in cell], [letter != "-" for letter in cell], text


def _required(value: Any, what: str) -> Any:
    if value is None:
        raise UsageError(f"{what}: not measured yet")
    return value
