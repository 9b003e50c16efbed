"""Attacks of others, made to fit: they need not take every argument, and what they return is checked."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from trs_explorer.attack_catalogue import GIVEN
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.eval_mode import eval_mode
from trs_explorer.options import UsageError
from trs_explorer.signatures import parameter_names


def adapted(function: Callable[..., Any], name: str) -> Callable[..., Tensor]:
    """Return an attack of others as one that can be measured like those of this project.

    - It is called with those of `GIVEN` that its signature names. One without a generator has its random numbers from torch's
      global one, which is seeded from the generator for the time of the call, so that a measurement can be repeated.
    - The model is in eval mode, and its gradients and its mode are afterwards what they were before.
    - Raises: UsageError if what it returns are not as many images of the same shape, or not finite.
    """
    takes = parameter_names(function)

    @wraps(function)
    def attack(model: nn.Module, x: Images, y: Labels, **arguments: Any) -> Tensor:
        generator = arguments.get("generator")
        unused = [key for key in GIVEN if key in arguments and key not in takes]
        if arguments.get("targeted") and "targeted" in unused:
            raise UsageError(f"{name} has no parameter targeted: it can be measured untargeted only")
        for key in unused:
            del arguments[key]
        gradients = [(weight, weight.grad) for weight in model.parameters()]
        for weight, _ in gradients:
            weight.grad = None
        try:
            with eval_mode(model), torch.random.fork_rng(devices=[]):
                if "generator" in unused and generator is not None:
                    torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
                x_adv = function(model, x.clone(), y.clone(), **arguments)
        finally:
            for weight, gradient in gradients:
                weight.grad = gradient
        if not isinstance(x_adv, Tensor) or x_adv.shape != x.shape:
            got = [*x_adv.shape] if isinstance(x_adv, Tensor) else type(x_adv).__name__
            raise UsageError(f"{name} must return adversarial images of shape {[*x.shape]}, it returned {got}")
        x_adv = x_adv.detach().to(x)
        if not bool(x_adv.isfinite().all()):
            raise UsageError(f"{name} returned images with NaN or infinity: does it divide by the norm of a zero gradient?")
        low, high = (bound.item() for bound in x_adv.aminmax()) if x_adv.numel() else (0.0, 1.0)
        if low < 0 or high > 1:
            raise UsageError(f"{name} returned images in [{low:g}, {high:g}]: clamp them to [0, 1]")
        return x_adv

    return attack
