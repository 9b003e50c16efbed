"""ILA: a reference attack gives the direction in which a layer's features should move; the steps move them further that way."""

from typing import Unpack

import torch
from torch import Tensor, nn

from trs_explorer.attacks.losses import Outputs, PerExample
from trs_explorer.attacks.objective import loss_gradient
from trs_explorer.attacks.options import AttackOptions, CommonOptions
from trs_explorer.attacks.pgd import fixed_step, pgd, projected_ascent
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.eval_mode import eval_mode
from trs_explorer.models.features import feature_layers, features
from trs_explorer.models.stacked import at_least_float32


def ila(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    eps: float,
    steps: int = 50,
    step_size: float | None = None,
    layer: str | None = None,
    reference_steps: int = 10,
    **options: Unpack[CommonOptions],
) -> Images:
    """The iterate of highest cross-entropy among all that fool the model; x where none does.

    The reference is the image of highest loss that `reference_steps` steps of eps/10 from x reach. The attack begins at x again.
    Its steps increase the dot product of the features' shift from x with the reference's shift: along it, the features may go
    farther than the reference went. Where the reference moved nothing, nothing moves. It draws no noise.

    Args:
        model, x, y, eps, steps, options: as for `pgd`.
        step_size: None is eps/10.
        layer: one of the model's declared feature layers; None is the last one. From a standard ensemble to a cos-only one
            (MNIST, 36 epochs each, eps .2) it leaves 86 of 200 images right, the middle one 137, the reference itself 117; no
            layer is best between all runs.
        reference_steps: steps of the reference attack.

    Raises: ValueError as `pgd`; for a model that declares no feature layers, or not this one.
    Source: Huang et al., "Enhancing adversarial example transferability with an intermediate level attack", ICCV 2019, its
    projection loss (ILAP); 10 reference steps: its authors' code.
    """
    layers = feature_layers(model)
    layer = layers[-1] if layer is None else layer
    reference_options: CommonOptions = {**options, "for_transfer": True}
    reference = pgd(model, x, y, eps=eps, steps=reference_steps, random_start=False, **reference_options)
    with eval_mode(model), torch.no_grad():
        reference_shift = at_least_float32(features(model, reference, layer)) - features(model, x, layer)
    settings = AttackOptions(eps=eps, steps=steps, step_size=step_size, **options)
    y = y.long()

    def gradient_at(images: Images, rows: Tensor, step: int) -> Images:
        def along_reference(model: nn.Module, images: Images, labels: Labels) -> tuple[PerExample, Outputs]:
            at_images = at_least_float32(features(model, images, layer))
            return (at_images * reference_shift[rows]).sum(1), at_images  # the features of x add a constant: left out

        return loss_gradient(model, images, y[rows], targeted=False, objective=along_reference)[0]

    return projected_ascent(model, x, y, settings, fixed_step(settings), gradient_at=gradient_at)
