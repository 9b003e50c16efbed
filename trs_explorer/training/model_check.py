"""Check that a method can train a model, on newly built members and before anything is written."""

import contextlib
import inspect
import sys

import torch
from torch import Tensor

from trs_explorer import plugins
from trs_explorer.catalogue import DATA, load
from trs_explorer.config import TrainConfig
from trs_explorer.defences.terms import COSINE
from trs_explorer.models import Ensemble, build
from trs_explorer.options import UsageError
from trs_explorer.training.compilation import check_compilation

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
    data, method = DATA[config.data], config.about_method
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
            f"--model {config.model} does not take {config.data}, images of {shape}: {plugins.where(error) or _first_line(error)}"
        ) from error
    if logits.shape[1:] != (IMAGES, data.classes):
        got = f"{[*logits.shape[1:]]} for {IMAGES} images"
        raise UsageError(f"--model {config.model} must return {data.classes} logits an image for {config.data}, got {got}")
    if plugins.is_foreign("method", config.method):
        _check_custom_method(config, ensemble, x)
    if method.member_check:
        try:
            load(method.member_check)(ensemble, x)
        except (ValueError, RuntimeError, TypeError) as error:
            raise UsageError(f"--method {config.method} cannot train --model {config.model}: {_first_line(error)}") from error
    if config.compile:
        check_compilation(config, ensemble)


def _check_custom_method(config: TrainConfig, ensemble: Ensemble, x: Tensor) -> None:
    """Run a method of others once. Raises UsageError with the line at which it fails, or if it returns no loss terms."""
    name, function = config.method_name, load(config.about_method.function)
    y = torch.arange(len(x), device=x.device) % DATA[config.data].classes
    generator = torch.Generator(x.device).manual_seed(0)
    context = {"progress": 0.0, "generator": generator, "epoch_generator": torch.Generator().manual_seed(0), "x_ce": x}
    context |= {"other": (x, y), "member": None, "weights": torch.ones(len(x), device=x.device)}
    context |= {
        "image_memory": torch.zeros_like(x, dtype=torch.uint8),
        "rows": torch.arange(len(x), device=x.device),
        "places": range(len(x)),
    }
    needed = {key: value for key, value in context.items() if key in inspect.signature(function).parameters}
    try:
        with torch.enable_grad(), contextlib.redirect_stdout(sys.stderr):  # stdout may be events alone
            terms = function(ensemble, x, y, **config.options, **needed)
    except Exception as error:  # whatever their code raises
        raise UsageError(f"--method {plugins.where(error) or f'{name}: {_first_line(error)}'}") from error
    if not isinstance(terms, dict) or "total" not in terms:
        got = f"one with {', '.join(map(str, terms)) or 'nothing'}" if isinstance(terms, dict) else type(terms).__name__
        raise UsageError(f'--method {name} must return a dict of loss terms with "total", it returned {got}')
    for term, value in terms.items():
        if not isinstance(value, Tensor) or (value.ndim and term != COSINE):
            got = f"shape {[*value.shape]}" if isinstance(value, Tensor) else type(value).__name__
            raise UsageError(f"--method {name}: its term {term!r} must be a tensor of one number, got {got}")
    if not terms["total"].requires_grad:
        raise UsageError(f'--method {name}: its "total" does not depend on the members\' weights: nothing can be trained')


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
