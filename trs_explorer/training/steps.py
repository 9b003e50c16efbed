"""One optimiser step, its learning rate and its random numbers."""

import functools
import inspect
import math
from collections.abc import Callable

import torch
from torch import Tensor

from trs_explorer.catalogue import METHODS, load
from trs_explorer.config import TrainConfig
from trs_explorer.data.augment import crop_and_flip
from trs_explorer.defences.adversarial import adversarial_images
from trs_explorer.gradients import Images, Labels
from trs_explorer.training.parallel import terms_and_gradients
from trs_explorer.training.state import Progress, State

# What random numbers are for.
ORDER, MIN_NORM, AUGMENT, OTHER_ORDER, OTHER_AUGMENT, EPOCH, ADVERSARIAL = 1, 2, 3, 4, 5, 6, 7


def training_step(state: State, orders: Tensor) -> dict[str, Tensor]:
    """Take one step; returns the method's loss terms, detached, still on the device.

    orders: [1 or 2, batch], the images of the batch by number, and of the other one where the method asks for it.
    Besides, "update_norm": the norm of the weights' gradient before clipping, to be checked like a term; where each member
    has a loss of its own, the largest of theirs. Weights that are not in training have no gradient: the optimiser, which
    knows each weight by itself, leaves them and what it remembers of them alone.
    """
    config, ensemble = state.run.config, state.ensemble
    method = METHODS[config.method]
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(config, *state.stage)
    defence = load(method.function)
    in_training = ensemble if state.member is None else ensemble.members[state.member]

    def loss(part: int, rows: Tensor) -> dict[str, Tensor]:
        chosen = orders[:, rows]
        x, y = _shown(state, part, chosen[0], AUGMENT)
        return defence(ensemble, x, y, **state.options, **moment(state, defence, part, chosen, x, y))

    ensemble.eval()
    in_training.train()
    ensemble.autocast = state.bfloat16
    parameters = list(in_training.parameters())
    terms, gradients = terms_and_gradients(loss, torch.arange(orders.shape[1], device=state.device), parameters, state.parts)
    ensemble.autocast = False
    for parameter in ensemble.parameters():
        parameter.grad = None
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.contiguous()  # fused Adam reads memory in the weight's own order, whatever the strides say
    apart = [list(member.parameters()) for member in ensemble.members] if method.member_losses else [parameters]
    terms["update_norm"] = torch.stack([torch.nn.utils.clip_grad_norm_(some, config.clip) for some in apart]).max()
    state.optimizer.step()
    state.at = Progress(state.at.epoch, state.at.step_in_epoch + 1, state.at.step + 1)
    return terms


def moment(state: State, defence: Callable, part: int, chosen: Tensor, x: Images, y: Labels) -> dict[str, object]:
    """What a defence asks of the present step by the names in its signature, for one part of the batch.

    progress: how far the training is, in [0, 1]. generator, epoch_generator: random numbers of this part of the step, of the
    epoch. x_ce: the images on which cross-entropy is taken: x, or the adversarial ones. other: images and labels of a batch
    from an order of its own. member, weights: the number of the member in training and the weights of its images.
    """
    config, asked, found = state.run.config, _keywords(defence), {}
    if "progress" in asked:
        found["progress"] = state.done
    if "generator" in asked:
        found["generator"] = generator(config.seed, MIN_NORM, state.at.step, part, device=state.device)
    if "epoch_generator" in asked:
        found["epoch_generator"] = generator(config.seed, EPOCH, state.at.epoch)
    if "x_ce" in asked:
        found["x_ce"] = _adversarial(state, part, x, y) if config.adversarial else x
    if "other" in asked:
        found["other"] = _shown(state, part, chosen[1], OTHER_AUGMENT)
    if "member" in asked:
        found["member"] = state.member
    if "weights" in asked:
        found["weights"] = state.weights[chosen[0]]
    return found


@functools.cache
def _keywords(function: Callable) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)


def _shown(state: State, part: int, chosen: Tensor, purpose: int) -> tuple[Images, Labels]:
    """The training images of those numbers, augmented if that is asked, and their labels."""
    x, config = state.images.images(chosen), state.run.config
    if config.augment:
        x = crop_and_flip(x, generator(config.seed, purpose, state.at.step, part, device=state.device))
    return x, state.images.y[chosen]


def _adversarial(state: State, part: int, x: Images, y: Labels) -> Images:
    config = state.run.config
    noise = generator(config.seed, ADVERSARIAL, state.at.step, part, device=state.device)
    return adversarial_images(state.ensemble, x, y, eps=config.adv_eps, steps=config.adv_steps, generator=noise)


def orders_of(state: State) -> Tensor:
    """The order of the images in the present epoch, and a second one if the method asks for another batch; [1 or 2, n].

    They follow from the seed and the epoch alone.
    """
    purposes = (ORDER, OTHER_ORDER) if "other" in _keywords(load(METHODS[state.run.config.method].function)) else (ORDER,)
    draws = [generator(state.run.config.seed, purpose, state.at.epoch) for purpose in purposes]
    return torch.stack([torch.randperm(len(state.images), generator=draw) for draw in draws]).to(state.device)


def generator(*key: int, device: torch.device | str = "cpu") -> torch.Generator:
    """The random numbers of one seed, purpose and moment; nothing of them need be saved for a resume."""
    mixed = functools.reduce(lambda mix, part: (mix * 6364136223846793005 + part + 1442695040888963407) % 2**63, key, 0)
    return torch.Generator(device).manual_seed(mixed)


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """Linear warm-up over the first `warmup` of all steps, times a cosine from 1 to 0 over all of them."""
    rise = min(1.0, (step + 1) / (config.warmup * steps)) if config.warmup else 1.0
    return config.lr * rise * 0.5 * (1 + math.cos(math.pi * step / steps))
