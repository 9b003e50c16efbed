"""One optimiser step, its learning rate and its random numbers."""

import functools
import math

import torch
from torch import Tensor

from trs_explorer.catalogue import METHODS, load
from trs_explorer.config import TrainConfig
from trs_explorer.data.augment import crop_and_flip
from trs_explorer.training.parallel import terms_and_gradients
from trs_explorer.training.state import Progress, State

ORDER, NOISE, AUGMENT = 1, 2, 3  # what random numbers are for


def training_step(state: State, indices: Tensor) -> dict[str, Tensor]:
    """Take one step on the images with these indices; returns the method's loss terms, detached, still on the device.

    Besides, "update_norm": the norm of the weights' gradient before clipping, to be checked like a term.
    """
    config, ensemble = state.run.config, state.ensemble
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(config, state.at.step, state.steps)
    defence = load(METHODS[config.method].function)
    done, parameters = state.done, list(ensemble.parameters())

    def loss(part: int, chosen: Tensor) -> dict[str, Tensor]:
        noise = generator(config.seed, NOISE, state.at.step, part, device=state.device)
        x, y = state.images.images(chosen), state.images.y[chosen]
        if config.augment:
            x = crop_and_flip(x, generator(config.seed, AUGMENT, state.at.step, part, device=state.device))
        return defence(ensemble, x, y, **state.options, progress=done, generator=noise)

    ensemble.train()
    ensemble.autocast = state.bfloat16
    terms, gradients = terms_and_gradients(loss, indices, parameters, state.parts)
    ensemble.autocast = False
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.contiguous()  # fused Adam reads memory in the weight's own order, whatever the strides say
    terms["update_norm"] = torch.nn.utils.clip_grad_norm_(parameters, config.clip)
    state.optimizer.step()
    state.at = Progress(state.at.epoch, state.at.step_in_epoch + 1, state.at.step + 1)
    return terms


def order_of(state: State) -> Tensor:
    """The order of the images in the present epoch; it follows from the seed and the epoch alone."""
    chosen = generator(state.run.config.seed, ORDER, state.at.epoch)
    return torch.randperm(len(state.images), generator=chosen).to(state.device)


def generator(*key: int, device: torch.device | str = "cpu") -> torch.Generator:
    """The random numbers of one seed, purpose and moment; nothing of them need be saved for a resume."""
    mixed = functools.reduce(lambda mix, part: (mix * 6364136223846793005 + part + 1442695040888963407) % 2**63, key, 0)
    return torch.Generator(device).manual_seed(mixed)


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """Linear warm-up over the first `warmup` of all steps, times a cosine from 1 to 0 over all of them."""
    rise = min(1.0, (step + 1) / (config.warmup * steps)) if config.warmup else 1.0
    return config.lr * rise * 0.5 * (1 + math.cos(math.pi * step / steps))
