"""What an attack maximises at a model's input: its value, its gradient, and whether the input fools the model."""

from collections.abc import Callable

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from trs_explorer.attacks.losses import Outputs, PerExample, cross_entropy
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.stacked import at_least_float32

# What is maximised at x, per example, and the model's outputs there: (model, x, y) -> (value, outputs).
Objective = Callable[[nn.Module, Images, Labels], tuple[PerExample, Outputs]]


def objective_of(loss: Callable[[Outputs, Labels], PerExample]) -> Objective:
    """The objective that is a loss of the model's outputs, computed in float32 at least."""

    def objective(model: nn.Module, x: Images, y: Labels) -> tuple[PerExample, Outputs]:
        outputs = at_least_float32(model(x))
        return loss(outputs, y), outputs

    return objective


CROSS_ENTROPY = objective_of(cross_entropy)


def loss_and_success(
    model: nn.Module, x: Images, y: Labels, *, targeted: bool, objective: Objective = CROSS_ENTROPY
) -> tuple[PerExample, Bool[Tensor, " batch"]]:
    """The value that an attack maximises, per example, and whether x fools the model.

    The value is the objective's, negated if targeted. An output with NaN never counts as fooled.
    """
    value, outputs = objective(model, x, y)
    is_y = outputs.argmax(-1) == y
    fooled = (is_y if targeted else ~is_y) & ~value.isnan()
    return (-value if targeted else value), fooled


def loss_gradient(
    model: nn.Module, x: Images, y: Labels, *, targeted: bool, objective: Objective = CROSS_ENTROPY
) -> tuple[Images, PerExample, Bool[Tensor, " batch"]]:
    """The gradient of the summed values at x, followed by `loss_and_success` there.

    Works inside no_grad and inference_mode too. NaN in a gradient becomes 0, so that one bad pixel does not erase an image;
    `trust.check_model` reports it.
    """
    with torch.inference_mode(False), torch.enable_grad():
        point = x.detach().clone().requires_grad_()
        value, fooled = loss_and_success(model, point, y.clone(), targeted=targeted, objective=objective)
        (gradient,) = torch.autograd.grad(value.sum(), point)
    return gradient.nan_to_num(), value.detach(), fooled
