"""Losses that attacks maximise, per example: larger is worse for class y. They take logits and log-probabilities alike.

The true class is always excluded from a maximum by -inf. Excluded by 0, it would be the maximum of log-probabilities, which are
all below 0: the other classes, and with them the gradient, would be lost.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from trs_explorer.gradients import Labels

Outputs = Float[Tensor, "batch class"]
PerExample = Float[Tensor, " batch"]


def cross_entropy(outputs: Outputs, y: Labels) -> PerExample:
    """-log p_y. log_softmax leaves log-probabilities as they are."""
    return F.cross_entropy(outputs, y, reduction="none")


def margin(outputs: Outputs, y: Labels) -> PerExample:
    """Max over i != y of z_i, minus z_y: above 0 exactly where y is not the largest.

    Source: Carlini and Wagner 2017, f_6 without its clipping.
    """
    return best_other(outputs, y) - outputs.gather(1, y[:, None])[:, 0]


def dlr(outputs: Outputs, y: Labels) -> PerExample:
    """The margin divided by z_1 - z_3, largest and third largest: it does not vanish where a model scales its logits up.

    z_1 - z_3 is taken as a constant. The published loss follows its slope too, which on the log-probabilities of a confident
    ensemble leads to a smaller z_3 instead of a larger z_2: on a cos-only ensemble (MNIST, 36 epochs) at eps .15 the published
    one left 92 of the first 100 images right, this one 33, the margin 28; on a single member's logits both left none (a
    script, seed 0).
    Raises: ValueError for fewer than three classes.
    Source: Croce and Hein 2020, Eq. (6), "difference of logits ratio".
    """
    if outputs.shape[1] < 3:
        raise ValueError(f"DLR needs at least 3 classes, the model has {outputs.shape[1]}: use the margin or cross-entropy")
    top = outputs.detach().topk(3, dim=1).values
    return margin(outputs, y) / (top[:, 0] - top[:, 2] + 1e-12)


def best_other(outputs: Outputs, y: Labels) -> PerExample:
    """The largest output of another class than y."""
    return outputs.scatter(1, y[:, None], -torch.inf).amax(-1)


def towards(outputs: Outputs, y: Labels, target: Labels) -> PerExample:
    """z_target - z_y: how far the outputs favour another given class."""
    target = target.clone()  # one of an attack under inference_mode could not be saved for the way back
    return outputs.gather(1, target[:, None])[:, 0] - outputs.gather(1, y[:, None])[:, 0]


def dlr_towards(outputs: Outputs, y: Labels, target: Labels) -> PerExample:
    """`towards`, divided by z_1 - (z_3 + z_4) / 2 of the sorted outputs, taken as a constant (see `dlr`).

    For three classes it is divided by z_1 - z_3.
    Source: Croce and Hein 2020, Eq. (7), "targeted DLR". Three classes: our reading, as theirs needs four.
    Raises: ValueError for fewer than three classes.
    """
    if outputs.shape[1] < 3:
        raise ValueError(f"DLR needs at least 3 classes, the model has {outputs.shape[1]}: use the margin or cross-entropy")
    top = outputs.detach().topk(min(4, outputs.shape[1]), dim=1).values
    return towards(outputs, y, target) / (top[:, 0] - top[:, 2:].mean(-1) + 1e-12)


LOSSES = {"ce": cross_entropy, "margin": margin, "dlr": dlr}


def loss_named(name: str) -> Callable[[Outputs, Labels], PerExample]:
    """The loss of that name. Raises: ValueError that lists what there is."""
    if name not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {name!r}")
    return LOSSES[name]
