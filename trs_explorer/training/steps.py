"""One optimiser step: the loss with what the defence needs of the step, learning rate, random numbers."""

import contextlib
import functools
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from trs_explorer.batch_noise import PartGenerator
from trs_explorer.catalogue import load
from trs_explorer.config import TrainConfig
from trs_explorer.data.augment import crop_and_flip
from trs_explorer.defences.adversarial import adversarial_images
from trs_explorer.gradients import Images, Labels
from trs_explorer.training.parallel import Loss, Terms, own_parts, places_of, terms_and_gradients
from trs_explorer.training.processes import ProcessLost
from trs_explorer.training.smaller_parts import TooLarge
from trs_explorer.training.state import Progress, State, TrainingError

# Purposes of random numbers; each has its own stream.
ORDER, NOISE, AUGMENT, OTHER_ORDER, OTHER_AUGMENT, EPOCH, ADVERSARIAL, AFTER_STEP = 1, 2, 3, 4, 5, 6, 7, 8


class Part(NamedTuple):
    """A part of a batch: its number, its images' places in the batch, and the size of the whole batch."""

    number: int
    places: range
    size: int


def training_step(state: State, orders: Tensor) -> dict[str, Tensor]:
    """Take one optimiser step; returns the method's loss terms, detached, still on the device.

    orders: [1 or 2, batch], indices of the batch's images, and of a second batch if the method uses one.

    The terms also contain "update_norm", the norm of the weights' gradient before clipping, which is checked for finiteness
    like a term. Where each member has its own loss, it is the largest of the members' norms. Weights that are not in training
    get no gradient, so the optimiser changes neither them nor its memory of them.
    Raises: ProcessLost if another process of the training ends; the state is then that of before the step.
    """
    config, ensemble = state.run.config, state.ensemble
    method = config.about_method
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(config, *state.stage)
    defence = load(method.function)
    in_training = ensemble if state.member is None else ensemble.members[state.member]

    def loss(number: int, places: range) -> dict[str, Tensor]:
        part = Part(number, places, orders.shape[1])
        chosen = orders[:, places.start : places.stop]
        x, y = _images_and_labels(state, part, chosen[0], AUGMENT)
        return defence(ensemble, x, y, **state.options, **step_context(state, defence, part, chosen, x, y))

    ensemble.eval()
    in_training.train()
    ensemble.autocast, ensemble.compiled = state.bfloat16, config.compile
    parameters = list(in_training.parameters())
    run = functools.partial(_run_within_memory, state, orders[0])
    with _undone_if_lost(state, orders[0]):
        terms, gradients = terms_and_gradients(loss, orders.shape[1], parameters, state.parts, state.processes, run)
        if state.image_memory is not None:
            _share_image_memory(state, orders[0])
    ensemble.autocast = ensemble.compiled = False
    for parameter in ensemble.parameters():
        parameter.grad = None
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.contiguous()  # fused Adam ignores the gradient's strides
    clipped = [list(member.parameters()) for member in ensemble.members] if method.separate_losses else [parameters]
    terms["update_norm"] = torch.stack([torch.nn.utils.clip_grad_norm_(group, config.clip) for group in clipped]).max()
    state.optimizer.step()
    if method.after_step:
        _after_step(state)
    state.progress = Progress(state.progress.epoch, state.progress.step_in_epoch + 1, state.progress.step + 1)
    return terms


@contextlib.contextmanager
def _undone_if_lost(state: State, rows: Tensor) -> Iterator[None]:
    """If another process is lost, take back what a step changes before its gradient is known: running averages, image memory."""
    if state.processes.size == 1:
        yield
        return
    averages = [buffer.clone() for buffer in state.ensemble.buffers()]
    kept = None if state.image_memory is None else state.image_memory[rows]
    try:
        yield
    except ProcessLost:
        for buffer, before in zip(state.ensemble.buffers(), averages, strict=True):
            buffer.copy_(before)
        if kept is not None:
            state.image_memory[rows] = kept
        raise


def _share_image_memory(state: State, rows: Tensor) -> None:
    """Give what the defence has written about this process's images to all processes. rows: of the whole batch."""
    if state.processes.size == 1:
        return
    own = own_parts(state.parts, state.processes)
    written = torch.zeros_like(state.image_memory[rows])
    if own:
        first, last = (places_of(part, state.parts, len(rows)) for part in (own[0], own[-1]))
        written[first.start : last.stop] = state.image_memory[rows[first.start : last.stop]]
    state.processes.add_up_bytes(written)
    state.image_memory[rows] = written


def _run_within_memory(
    state: State, rows: Tensor, loss: Loss, part: int, places: range, parameters: Sequence[Tensor]
) -> tuple[Terms, tuple[Tensor, ...]]:
    """Compute one part of a batch. Raises TrainingError if memory is not enough for it, in smaller parts either."""
    memory, own = state.image_memory, rows[places.start : places.stop]
    before = None if memory is None else memory[own]  # the method may have changed it before memory runs out

    def put_back() -> None:
        if memory is not None and before is not None:
            memory[own] = before

    try:
        return state.smaller_parts.run(loss, part, places, parameters, put_back)
    except TooLarge as error:
        remedy = "fewer --members, a smaller --model, or --precision bfloat16"
        if not state.smaller_parts.divisible:
            why = f"{error}: {state.run.config.method} or batch norm needs the whole batch"
            raise TrainingError(f"{why}; take a smaller --batch-size, or {remedy}") from error
        raise TrainingError(f"{error}: take {remedy}") from error


def _after_step(state: State) -> None:
    """Change the weights as the method does after each step of the optimiser."""
    function = load(state.run.config.about_method.after_step)
    options = {name: value for name, value in state.options.items() if name in _parameter_names(function)}
    noise = generator(state.run.config.seed, AFTER_STEP, state.progress.step, device=state.device)
    function(state.ensemble, state.probe_x, **options, generator=noise)


def step_context(state: State, defence: Callable, part: Part, chosen: Tensor, x: Images, y: Labels) -> dict[str, object]:
    """The arguments that a defence names in its signature, for one part of the present batch.

    progress         finished share of the training, in [0, 1]
    generator        random numbers of this step, for `batch_noise`: an image's do not depend on the part that computes it. Drawn
                     from directly they are independent of the other parts', but others in another number of parts
    epoch_generator  random numbers of this epoch
    x_ce             images for the cross-entropy: x, or adversarial ones
    other            (images, labels) of a second batch, drawn in another order
    member           index of the member in training, None if all are
    weights          weights of the images for that member, [batch]
    image_memory     a byte for every pixel of every training image, [n, channel, height, width], 0 at first. What the defence
                     writes there it finds again in the next epoch, also after a resume. It may change `rows` only
    rows             the images' places in it, [batch]
    places           the images' places in the whole batch, a range: which part of it this is
    """
    config, names = state.run.config, _parameter_names(defence)
    arguments: dict[str, object] = {}
    if "progress" in names:
        arguments["progress"] = state.fraction_done
    if "generator" in names:
        arguments["generator"] = _part_generator(state, NOISE, part)
    if "epoch_generator" in names:
        arguments["epoch_generator"] = generator(config.seed, EPOCH, state.progress.epoch)
    if "x_ce" in names:
        arguments["x_ce"] = _adversarial(state, part, x, y) if config.adversarial else x
    if "other" in names:
        arguments["other"] = _images_and_labels(state, part, chosen[1], OTHER_AUGMENT)
    if "member" in names:
        arguments["member"] = state.member
    if "weights" in names:
        arguments["weights"] = state.weights[chosen[0]]
    if "image_memory" in names:
        arguments["image_memory"] = state.image_memory
    if "rows" in names:
        arguments["rows"] = chosen[0]
    if "places" in names:
        arguments["places"] = part.places
    return arguments


@functools.cache
def _parameter_names(function: Callable) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)


def _images_and_labels(state: State, part: Part, chosen: Tensor, purpose: int) -> tuple[Images, Labels]:
    """The training images of those indices, augmented if the config says so, and their labels."""
    x, config = state.images.images(chosen), state.run.config
    if config.augment:
        x = crop_and_flip(x, _part_generator(state, purpose, part))
    return x, state.images.y[chosen]


def _adversarial(state: State, part: Part, x: Images, y: Labels) -> Images:
    config = state.run.config
    noise = _part_generator(state, ADVERSARIAL, part)
    return adversarial_images(state.ensemble, x, y, eps=config.adv_eps, steps=config.adv_steps, generator=noise)


def epoch_orders(state: State) -> Tensor:
    """The order of the images in the present epoch, and a second one if the method uses a second batch; [1 or 2, n].

    They depend only on the seed and the epoch.
    """
    purposes = (ORDER, OTHER_ORDER) if "other" in _parameter_names(load(state.run.config.about_method.function)) else (ORDER,)
    generators = [generator(state.run.config.seed, purpose, state.progress.epoch) for purpose in purposes]
    return torch.stack([torch.randperm(len(state.images), generator=draw) for draw in generators]).to(state.device)


def _part_generator(state: State, purpose: int, part: Part) -> PartGenerator:
    """The random numbers of one part of the present step."""
    key = state.run.config.seed, purpose, state.progress.step
    return PartGenerator(part.places, part.size, generator(*key, 0, device=state.device), mixed_seed(*key, part.number + 1))


def generator(*key: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Random numbers that depend only on the key (seed, purpose, step or epoch), so that a resume needs no stored state."""
    return torch.Generator(device).manual_seed(mixed_seed(*key))


def mixed_seed(*key: int) -> int:
    """One seed that depends on all numbers of a key."""
    return functools.reduce(lambda mix, part: (mix * 6364136223846793005 + part + 1442695040888963407) % 2**63, key, 0)


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """Linear warm-up over the first `warmup` share of the steps, times a cosine from 1 to 0 over all steps."""
    rise = min(1.0, (step + 1) / (config.warmup * steps)) if config.warmup else 1.0
    return config.lr * rise * 0.5 * (1 + math.cos(math.pi * step / steps))
