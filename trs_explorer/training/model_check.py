"""Check that a method can train a model, on newly built members and before anything is written."""

import inspect

import torch

from trs_explorer.catalogue import DATA, METHODS, load
from trs_explorer.config import TrainConfig
from trs_explorer.models import Ensemble, build
from trs_explorer.options import UsageError

IMAGES = 2


def check_model(config: TrainConfig) -> None:
    """Build two members and check them, see `check_members`. Raises UsageError."""
    check_members(config, build(config.model, config.data, min(2, config.members), seed=config.seed, method=config.method))


@torch.no_grad()
def check_members(config: TrainConfig, ensemble: Ensemble) -> None:
    """Run the members once on noise, and run the method's own check. Leaves them in eval mode.

    Raises: UsageError if they do not accept the data's images, do not return logits of its classes, or cannot be trained by
    the method; and if the config is for adversarial training, which the method's loss terms would ignore.
    """
    data, method = DATA[config.data], METHODS[config.method]
    if config.adversarial and "x_ce" not in inspect.signature(load(method.function)).parameters:
        raise UsageError(f"--adversarial: {config.method} has no parameter x_ce, the images for the cross-entropy: drop the flag")
    device = next((weight.device for weight in ensemble.parameters()), torch.device("cpu"))
    x = torch.rand((IMAGES, *data.shape), generator=torch.Generator().manual_seed(0)).to(device)
    ensemble.eval()
    try:
        logits = ensemble.member_logits(x)
    except UsageError:
        raise
    except (ValueError, RuntimeError, TypeError) as error:
        shape = " x ".join(map(str, data.shape))
        raise UsageError(
            f"--model {config.model} does not take {config.data}, images of {shape}: {_first_line(error)}"
        ) from error
    if logits.shape[1:] != (IMAGES, data.classes):
        got = f"{[*logits.shape[1:]]} for {IMAGES} images"
        raise UsageError(f"--model {config.model} must return {data.classes} logits an image for {config.data}, got {got}")
    if method.member_check:
        try:
            load(method.member_check)(ensemble, x)
        except (ValueError, RuntimeError, TypeError) as error:
            raise UsageError(f"--method {config.method} cannot train --model {config.model}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
