"""One batch on all cores: parts of it side by side, one thread each, instead of every operation on all threads.

At these sizes an operation takes a tenth of a millisecond: threads that must meet after each lose more to waiting than to work,
and stall altogether when another program takes a core. Threads that meet once a step do not.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor, nn

MIN_PIXELS, MIN_PART, MOST_PARTS = 256, 32, 256

Loss = Callable[[int, Tensor], dict[str, Tensor]]


def parts_for(model: nn.Module, batch_size: int, pixels: int, device: torch.device) -> int:
    """How many parts a batch gets here: one a thread as far as they are worth it, 1 on a GPU."""
    return 1 if device.type != "cpu" else min(torch.get_num_threads(), most_parts(model, batch_size, pixels))


def most_parts(model: nn.Module, batch_size: int, pixels: int) -> int:
    """How many parts a batch can get anywhere: 1 for tiny inputs, and with batch norm (whose statistics are the batch's)."""
    mixes = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    return 1 if mixes or pixels < MIN_PIXELS else max(1, min(MOST_PARTS, batch_size // MIN_PART))


@contextmanager
def one_thread_each(parts: int) -> Iterator[None]:
    """While parts run side by side, single operations keep to one thread: none waits for another."""
    before = torch.get_num_threads()
    if parts > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def terms_and_gradients(
    loss: Loss, indices: Tensor, parameters: Sequence[Tensor], parts: int
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """The loss terms of a batch, detached, and the gradients of "total" with respect to the parameters.

    loss(part, indices) gives the terms of some of the batch as means over its examples, so that the batch's are their mean,
    weighted by size; of "grad_norm" it is the largest. The sum is taken in a fixed order: the same bits every time.
    """
    chunks = indices.tensor_split(parts)
    if parts == 1:
        results = [_run(loss, 0, indices, parameters)]
    else:
        results = list(_pool(parts).map(lambda part: _run(loss, part, chunks[part], parameters), range(parts)))
    shares = [len(chunk) / len(indices) for chunk in chunks]
    terms = {
        name: torch.stack([terms[name] for terms, _ in results]).max()
        if name == "grad_norm"
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
