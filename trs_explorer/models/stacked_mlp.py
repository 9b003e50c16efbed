"""Sine networks of the plane (mlp.py) of two classes as one, with the margin's input gradient written out.

For trainings of seconds: both networks' margins and gradients in six products, which autograd then differentiates once.
"""

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from trs_explorer.models.ensemble import Ensemble

LAST = ("fc3.weight", "fc3.bias")  # two logits, which count by their difference only

Points = Float32[Tensor, "n 2"]
Margins = Float32[Tensor, "member n"]
Slopes = Float32[Tensor, "member n 2"]
Weights = dict[str, Tensor]


def stack_mlps(ensemble: Ensemble) -> Weights:
    """All members' weights by name, one below the other, as leaves. Of the last layer the margin's: class 1 less class 0."""
    names = [name for name, _ in ensemble.members[0].named_parameters()]
    stacked = {name: torch.stack([member.get_parameter(name).detach() for member in ensemble.members]) for name in names}
    for name in LAST:
        stacked[name] = stacked[name].diff(dim=1)
    return {name: values.requires_grad_() for name, values in stacked.items()}


@torch.no_grad()
def unstack_mlps(weights: Weights, ensemble: Ensemble) -> None:
    """Write the weights into the members; half of the margin goes to either logit."""
    for k, member in enumerate(ensemble.members):
        for name, values in weights.items():
            own = torch.cat([-values[k], values[k]]) / 2 if name in LAST else values[k]
            member.get_parameter(name).copy_(own)


def margins_and_gradients(weights: Weights, p: Points) -> tuple[Margins, Slopes]:
    """Logit of class 1 minus that of class 0 of every network, and its gradient. p and lengths are the plane's, [-2, 2]."""
    first, second, last = 3 * weights["fc1.weight"], weights["fc2.weight"], weights["fc3.weight"]
    points = p.expand(len(first), -1, -1)
    sine, slope1 = _SineCosine.apply(torch.baddbmm(3 * weights["fc1.bias"][:, None], points, first.mT))
    sine, slope2 = _SineCosine.apply(torch.baddbmm(weights["fc2.bias"][:, None], sine, second.mT))
    margins = torch.baddbmm(weights["fc3.bias"][:, None], sine, last.mT)[..., 0]
    return margins, torch.bmm(torch.bmm(slope2 * last, second) * slope1, first)


class _SineCosine(torch.autograd.Function):
    """Both at once: each is the other's slope, which autograd would compute anew."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, angle: Float[Tensor, "..."]) -> tuple[Tensor, Tensor]:
        sine, cosine = angle.sin(), angle.cos()
        ctx.save_for_backward(sine, cosine)
        return sine, cosine

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, by_sine: Tensor, by_cosine: Tensor) -> Tensor:
        sine, cosine = ctx.saved_tensors
        return by_sine * cosine - by_cosine * sine
