"""A model in eval mode for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Put a model in eval mode. Afterwards every module gets its own mode back, frozen layers of a training model too.

    Raises: TypeError for anything but a torch.nn.Module.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"the model must be a torch.nn.Module, got {type(model).__name__}: call the function in a module's forward"
        )
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
