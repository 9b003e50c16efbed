"""PARL: the first layers of different members react to different changes of the image."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from trs_explorer.defences.terms import with_total
from trs_explorer.gradients import Images, Labels, MemberGradients, member_losses, pair_mean, pairwise_cosine
from trs_explorer.models.affine import SameLayer, affine_layers
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.stacked import MemberLogits, at_least_float32


def parl(ensemble: Ensemble, x: Images, y: Labels, *, lambda_parl: float, parl_layers: int, x_ce: Images) -> dict[str, Tensor]:
    """Return mean cross-entropy + lambda_parl * mean cosine of the `layer_gradients` of two members.

    The mean is over images, layers and pairs of members. The cosine has its sign: opposite gradients are best.

    lambda_parl: the weight of the cosines.
    parl_layers: the number of layers, the first ones: convolutions and linear layers, but for the last, which gives the logits.
    x_ce: the images for cross-entropy.
    Source: Alam et al., "PARL: enhancing diversity of ensemble networks to resist adversarial attacks via pairwise adversarially
    robust loss function", 2021 (arXiv:2112.04948, version 1), which compares "gradients of each layer with respect to input".
    **Our reading**, since that version's code is not public. As in the code of its successor ("Guardian of the ensembles", WACV
    2025: version 2) a layer's gradient is that of the sum of its outputs, before the activation. Ours: linear layers count too
    (small nets have few convolutions), and means in place of sums. The successor takes gradients with respect to the weights
    instead, of a whole batch, and multiplies their cosine by the correlation of the outputs.
    """
    layers = affine_layers(ensemble, x)[:-1][:parl_layers]
    gradients, logits = layer_gradients(ensemble, x, layers)
    ce_logits = logits if x_ce is x else ensemble.member_logits(x_ce)
    cosines = torch.stack([pair_mean(pairwise_cosine(of_layer).mean(-1)) for of_layer in gradients])
    return with_total({"ce": member_losses(ce_logits, y).mean(), "cosines": lambda_parl * cosines.mean()})


def layer_gradients(ensemble: Ensemble, x: Images, layers: Sequence[SameLayer]) -> tuple[list[MemberGradients], MemberLogits]:
    """Return, for each layer, every member's gradient of the sum of the layer's outputs with respect to x; and the logits.

    All of them have a graph to the weights.
    """
    copies = [x.detach().clone().requires_grad_() for _ in ensemble.members]
    with _RecordOutputs([layer.weight for same in layers for layer in same.layers]) as recorded:
        logits = ensemble.member_logits(copies)
    sums = [torch.stack([at_least_float32(recorded.outputs[one.weight]).sum() for one in same.layers]).sum() for same in layers]
    return [torch.stack(torch.autograd.grad(one, copies, create_graph=True)) for one in sums], logits


class _RecordOutputs(TorchFunctionMode):
    """Record what convolutions and linear layers with these weights return, in this thread.

    Hooks would see the other threads of a training step too.
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        super().__init__()
        self.wanted, self.outputs = {*weights}, dict[Tensor, Tensor]()

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if func in (F.conv2d, F.linear) and args[1] in self.wanted:
            self.outputs.setdefault(args[1], output)
        return output
