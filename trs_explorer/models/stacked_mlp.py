"""Two-class sine networks in the plane (mlp.py) as one network, with the margin's input gradient in closed form.

For trainings of seconds: both networks' margins and gradients take six products, which autograd then differentiates once.
"""

from typing import Any

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from trs_explorer.models.ensemble import Ensemble

LAST = ("fc3.weight", "fc3.bias")  # two logits, of which only the difference matters

Points = Float32[Tensor, "n 2"]
Margins = Float32[Tensor, "member n"]
Slopes = Float32[Tensor, "member n 2"]
Weights = dict[str, Tensor]


def stack_mlps(ensemble: Ensemble) -> Weights:
    """Stack all members' weights by name, as leaf tensors. The last layer's are those of the margin: class 1 minus class 0."""
    names = [name for name, _ in ensemble.members[0].named_parameters()]
    stacked = {name: torch.stack([member.get_parameter(name).detach() for member in ensemble.members]) for name in names}
    for name in LAST:
        stacked[name] = stacked[name].diff(dim=1)
    return {name: values.requires_grad_() for name, values in stacked.items()}


@torch.no_grad()
def unstack_mlps(weights: Weights, ensemble: Ensemble) -> None:
    """Write the weights back into the members; each logit gets half of the margin."""
    for k, member in enumerate(ensemble.members):
        for name, values in weights.items():
            parameter = torch.cat([-values[k], values[k]]) / 2 if name in LAST else values[k]
            member.get_parameter(name).copy_(parameter)


def margins_and_gradients(weights: Weights, p: Points) -> tuple[Margins, Slopes]:
    """Return the logit of class 1 minus that of class 0 for every network, and its gradient. p: in plane coordinates, [-2, 2]."""
    first, second, last = 3 * weights["fc1.weight"], weights["fc2.weight"], weights["fc3.weight"]
    points = p.expand(len(first), -1, -1)
    sine, slope1 = _SineCosine.apply(torch.baddbmm(3 * weights["fc1.bias"][:, None], points, first.mT))  # type: ignore[no-untyped-call]
    sine, slope2 = _SineCosine.apply(torch.baddbmm(weights["fc2.bias"][:, None], sine, second.mT))  # type: ignore[no-untyped-call]
    margins = torch.baddbmm(weights["fc3.bias"][:, None], sine, last.mT)[..., 0]
    return margins, torch.bmm(torch.bmm(slope2 * last, second) * slope1, first)


class _SineCosine(torch.autograd.Function):
    """Sine and cosine at once: each is the other's derivative (up to sign), which autograd would compute again."""

    @staticmethod
    def forward(ctx: Any, angle: Float[Tensor, "..."]) -> tuple[Tensor, Tensor]:
        sine, cosine = angle.sin(), angle.cos()
        ctx.save_for_backward(sine, cosine)
        return sine, cosine

    @staticmethod
    def backward(ctx: Any, by_sine: Tensor, by_cosine: Tensor) -> Tensor:
        sine, cosine = ctx.saved_tensors
        slope: Tensor = by_sine * cosine - by_cosine * sine
        return slope
