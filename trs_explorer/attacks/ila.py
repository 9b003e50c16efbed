"""ILA: a reference attack says which way a layer's features should move; the steps move them further that way."""

import torch
from torch import Tensor, nn

from trs_explorer.attacks.common import climb, direction, eval_mode, judge
from trs_explorer.attacks.losses import Outputs, PerExample
from trs_explorer.attacks.pgd import pgd
from trs_explorer.attacks.steps import ascend
from trs_explorer.gradients import Images, Labels
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
    norm: str = "linf",
    targeted: bool = False,
    early_stop: bool = True,
    for_others: bool = False,
    generator: torch.Generator | None = None,
) -> Images:
    """The iterate of highest cross-entropy among all visited that fool the model; x where none does.

    Shapes, units, early_stop, for_others: as for `pgd`. The reference is the image of highest loss that `reference_steps` steps
    of eps/10 from x reach. The attack begins at x again, and its steps climb the dot product of the features' shift from x
    with the reference's shift: along it, the features may go farther than the reference went. Where the reference moved
    nothing, nothing moves. Nothing is random: `generator` is there because all attacks are called alike.
    layer: one of the model's declared feature layers; None is the last one. From a standard ensemble to a cos-only one (MNIST,
    36 epochs each, eps .2) it leaves 86 of 200 images right, the middle one 137, the reference itself 117; no layer is best
    between all runs.
    Raises: ValueError as `pgd`; for a model that declares no feature layers, or not this one.
    Source: Huang et al., "Enhancing adversarial example transferability with an intermediate level attack", ICCV 2019, its
    projection loss (ILAP); 10 reference steps: its authors' code.
    """
    known = feature_layers(model)
    at = known[-1] if layer is None else layer
    own = {"norm": norm, "targeted": targeted, "early_stop": early_stop, "for_others": for_others}
    reference = pgd(model, x, y, eps=eps, steps=reference_steps, random_start=False, **{**own, "for_others": True})
    with eval_mode(model), torch.no_grad():
        wanted = at_least_float32(features(model, reference, at)) - features(model, x, at)
    y = y.long()

    def slope(point: Images, rows: Tensor, step: int) -> tuple[Images, PerExample, Tensor]:
        def along(model: nn.Module, images: Images, labels: Labels) -> tuple[PerExample, Outputs]:
            found = at_least_float32(features(model, images, at))
            return (found * wanted[rows]).sum(1), found  # less a constant, the features of x

        gradient, _, _ = climb(model, point, y[rows], targeted=False, objective=along)
        return gradient, *judge(model, point, y[rows], targeted=targeted)

    size = eps / 10 if step_size is None else step_size
    return ascend(
        model,
        x,
        y,
        lambda gradient, memory, _: (size * direction(gradient, norm), memory),
        eps=eps,
        steps=steps,
        step_size=size,
        restarts=1,
        random_start=False,
        generator=None,
        slope=slope,
        **own,
    )
