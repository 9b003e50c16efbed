"""Compute one batch on all cores: its parts in parallel, one thread each, instead of every operation on all threads.

At these sizes an operation takes a tenth of a millisecond. Threads that synchronise after each operation lose more time waiting
than working, and stall when another program takes a core. Threads that synchronise once per step do not.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from trs_explorer.defences.terms import GRAD_NORM

MIN_PIXELS, MIN_PART, MOST_PARTS = 256, 32, 256

Loss = Callable[[int, Tensor], dict[str, Tensor]]
Run = Callable[[Loss, int, Tensor, Sequence[Tensor]], tuple[dict[str, Tensor], tuple[Tensor, ...]]]


def parts_for(model: nn.Module, batch_size: int, pixels: int, device: torch.device) -> int:
    """The number of parts of a batch on this machine: at most one per thread, and 1 on a GPU."""
    return 1 if device.type != "cpu" else min(torch.get_num_threads(), most_parts(model, batch_size, pixels))


def most_parts(model: nn.Module, batch_size: int, pixels: int) -> int:
    """The most parts of a batch on any machine: 1 for tiny inputs and with batch norm, which uses the batch's statistics."""
    return 1 if has_batch_norm(model) or pixels < MIN_PIXELS else max(1, min(MOST_PARTS, batch_size // MIN_PART))


def has_batch_norm(model: nn.Module) -> bool:
    """Whether the outputs of an image depend on the images beside it in training."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())


@contextmanager
def one_thread_each(parts: int) -> Iterator[None]:
    """While the block runs with several parts, limit every operation to one thread."""
    before = torch.get_num_threads()
    if parts > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def terms_and_gradients(
    loss: Loss, indices: Tensor, parameters: Sequence[Tensor], parts: int, run: Run | None = None
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """The loss terms of a batch, detached, and the gradients of "total" with respect to the parameters.

    loss: loss(part, indices) returns the terms of one part of the batch, as means over its examples.
    indices: of the whole batch, [batch].
    parameters: the weights in training.
    parts: the number of parts.
    run: computes one part, such as `SmallerParts.run`.

    A term of the batch is the mean over parts weighted by their size; GRAD_NORM is the largest. Parts are summed in a fixed
    order, so the result has the same bits every time.
    """
    run, chunks = run or _run, indices.tensor_split(parts)
    if parts == 1:
        results = [run(loss, 0, indices, parameters)]
    else:
        results = list(_pool(parts).map(lambda part: run(loss, part, chunks[part], parameters), range(parts)))
    shares = [len(chunk) / len(indices) for chunk in chunks]
    terms = {
        name: torch.stack([terms[name] for terms, _ in results]).max()
        if name == GRAD_NORM
        else _mean([terms[name] for terms, _ in results], shares)
        for name in results[0][0]
    }
    gradients = [_mean(list(one), shares) for one in zip(*(gradients for _, gradients in results), strict=True)]
    return terms, gradients


def _run(loss: Loss, part: int, indices: Tensor, parameters: Sequence[Tensor]) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
    terms = loss(part, indices)
    gradients = torch.autograd.grad(terms["total"], parameters)
    return {name: value.detach() for name, value in terms.items()}, gradients


def _mean(values: list[Tensor], shares: list[float]) -> Tensor:
    if len(values) == 1:
        return values[0]
    total = values[0] * shares[0]
    for value, share in zip(values[1:], shares[1:], strict=True):
        total = total.add(value, alpha=share)
    return total


@functools.cache
def _pool(parts: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(parts, "trs-part", initializer=torch.set_num_threads, initargs=(1,))
