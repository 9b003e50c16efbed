"""Compute one batch on all cores: its parts in parallel, one thread each, instead of every operation on all threads.

At these sizes an operation takes a tenth of a millisecond. Threads that synchronise after each operation lose more time waiting
than working, and stall when another program takes a core. Threads that synchronise once per step do not. Under torchrun every
process takes its share of the parts, and the processes synchronise once per step too.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from trs_explorer.defences.terms import GRAD_NORM
from trs_explorer.training.processes import ALONE, Processes

MIN_PIXELS, MIN_PART, MOST_PARTS = 256, 32, 256

Terms = dict[str, Tensor]
Loss = Callable[[int, range], Terms]
Run = Callable[[Loss, int, range, Sequence[Tensor]], tuple[Terms, tuple[Tensor, ...]]]


def parts_for(model: nn.Module, batch_size: int, pixels: int, device: torch.device, processes: int = 1) -> int:
    """The number of parts of a batch on this machine: per process at most one per thread, and 1 on a GPU.

    With several processes, each has a part if the model permits it, however small the batch is.
    """
    most = most_parts(model, batch_size, pixels, processes)
    threads = 1 if device.type != "cpu" else max(1, min(torch.get_num_threads(), most // processes))
    return min(most, processes * threads)


def most_parts(model: nn.Module, batch_size: int, pixels: int, processes: int = 1) -> int:
    """The most parts of a batch on any machine: 1 with batch norm, which uses the batch's statistics.

    Tiny inputs are split over processes only, as the user wants it, not over threads.
    """
    if has_batch_norm(model):
        return 1
    worth_it = 1 if pixels < MIN_PIXELS else min(MOST_PARTS, batch_size // MIN_PART)
    return min(batch_size, max(processes, worth_it))


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


def places_of(part: int, parts: int, size: int) -> range:
    """The consecutive places of one part in a batch of `size` images; parts differ by one image at most."""
    first, after = (one * (size // parts) + min(one, size % parts) for one in (part, part + 1))
    return range(first, after)


def own_parts(parts: int, processes: Processes) -> range:
    """The consecutive parts that this process computes; none if there are fewer parts than processes and others have them."""
    first, after = (-(-parts * rank // processes.size) for rank in (processes.rank, processes.rank + 1))  # rank 0 has one always
    return range(first, after)


def terms_and_gradients(
    loss: Loss,
    size: int,
    parameters: Sequence[Tensor],
    parts: int,
    processes: Processes = ALONE,
    run: Run | None = None,
) -> tuple[Terms, list[Tensor]]:
    """The loss terms of a batch, detached, and the gradients of "total" with respect to the parameters.

    loss: loss(part, places) returns the terms of one part of the batch, as means over its examples.
    size: of the batch.
    parameters: the weights in training.
    parts: the number of parts.
    processes: that share the parts. Each gets the same result, in the same bits.
    run: computes one part, such as `SmallerParts.run`.

    A term of the batch is the mean over parts weighted by their size; GRAD_NORM is the largest. Parts are summed in a fixed
    order, so the result has the same bits every time.
    Raises: ProcessLost if another process ends meanwhile.
    """
    run, own = run or _run, own_parts(parts, processes)
    if not own:  # compute what another process does, for the names and shapes of the terms and what batch norm keeps
        terms, gradients = run(loss, 0, places_of(0, parts, size), parameters)
        terms = {name: value if name == GRAD_NORM else torch.zeros_like(value) for name, value in terms.items()}
        return _summed_up(terms, [torch.zeros_like(one) for one in gradients], processes)
    places = [places_of(part, parts, size) for part in own]
    if len(own) == 1:
        results = [run(loss, own[0], places[0], parameters)]
    else:
        results = list(_pool(len(own)).map(lambda part, rows: run(loss, part, rows, parameters), own, places))
    shares = [len(rows) / size for rows in places]
    terms = {
        name: torch.stack([terms[name] for terms, _ in results]).max()
        if name == GRAD_NORM
        else _sum([terms[name] for terms, _ in results], shares)
        for name in results[0][0]
    }
    gradients = [_sum(list(one), shares) for one in zip(*(gradients for _, gradients in results), strict=True)]
    return _summed_up(terms, gradients, processes)


def _run(loss: Loss, part: int, places: range, parameters: Sequence[Tensor]) -> tuple[Terms, tuple[Tensor, ...]]:
    terms = loss(part, places)
    gradients = torch.autograd.grad(terms["total"], parameters)
    return {name: value.detach() for name, value in terms.items()}, gradients


def _sum(values: list[Tensor], shares: list[float]) -> Tensor:
    if shares == [1.0]:
        return values[0]
    total = values[0] * shares[0]
    for value, share in zip(values[1:], shares[1:], strict=True):
        total = total.add(value, alpha=share)
    return total


def _summed_up(terms: Mapping[str, Tensor], gradients: Sequence[Tensor], processes: Processes) -> tuple[Terms, list[Tensor]]:
    """Add up the processes' shares, in one collective: gradients, terms, and a slot per process for a term that is a maximum."""
    if processes.size == 1:
        return dict(terms), list(gradients)
    shares = [*gradients, *(_slots(value, processes) if name == GRAD_NORM else value for name, value in terms.items())]
    dtype = functools.reduce(torch.promote_types, (one.dtype for one in gradients))
    flat = torch.cat([one.reshape(-1).to(dtype) for one in shares])
    processes.add_up(flat)
    summed = [one.view(like.shape) for one, like in zip(flat.split([one.numel() for one in shares]), shares, strict=True)]
    of_terms = zip(terms.items(), summed[len(gradients) :], strict=True)
    terms = {name: (one.max() if name == GRAD_NORM else one).to(value.dtype) for (name, value), one in of_terms}
    return terms, summed[: len(gradients)]


def _slots(value: Tensor, processes: Processes) -> Tensor:
    slots = value.new_zeros(processes.size)
    slots[processes.rank] = value
    return slots


@functools.cache
def _pool(parts: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(parts, "trs-part", initializer=torch.set_num_threads, initargs=(1,))
