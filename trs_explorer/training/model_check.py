"""Whether a training can work with its model, seen on freshly built members before anything is written."""

import torch

from trs_explorer.catalogue import DATA, METHODS, load
from trs_explorer.config import TrainConfig
from trs_explorer.models import Ensemble, build
from trs_explorer.options import UsageError

IMAGES = 2


def check_model(config: TrainConfig) -> None:
    """Build two members and try them, see `check_members`. Raises UsageError."""
    check_members(config, build(config.model, config.data, min(2, config.members), seed=config.seed, method=config.method))


@torch.no_grad()
def check_members(config: TrainConfig, ensemble: Ensemble) -> None:
    """Run members once, on noise, and ask the method whether they have what it needs. They are in eval mode then.

    Raises: UsageError if they do not take the data's images or do not return logits of its classes, or if the method cannot
    train them.
    """
    about, method = DATA[config.data], METHODS[config.method]
    device = next((weight.device for weight in ensemble.parameters()), torch.device("cpu"))
    x = torch.rand((IMAGES, *about.shape), generator=torch.Generator().manual_seed(0)).to(device)
    ensemble.eval()
    try:
        logits = ensemble.member_logits(x)
    except UsageError:
        raise
    except (ValueError, RuntimeError, TypeError) as error:
        shape = " x ".join(map(str, about.shape))
        raise UsageError(
            f"--model {config.model} does not take {config.data}, images of {shape}: {_first_line(error)}"
        ) from error
    if logits.shape[1:] != (IMAGES, about.classes):
        got = f"{[*logits.shape[1:]]} for {IMAGES} images"
        raise UsageError(f"--model {config.model} must return {about.classes} logits an image for {config.data}, got {got}")
    if method.needs:
        try:
            load(method.needs)(ensemble, x)
        except (ValueError, RuntimeError, TypeError) as error:
            raise UsageError(f"--method {config.method} cannot train --model {config.model}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
