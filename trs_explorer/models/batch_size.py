"""How many images a pass can take: as many as fit into memory and take about a second, by what a pass over one image needs."""

from collections.abc import Callable, Iterator
from typing import TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from trs_explorer.memory import free_memory, is_out_of_memory
from trs_explorer.models.ensemble import Images
from trs_explorer.models.eval_mode import eval_mode

T = TypeVar("T")
SHARE = 0.25  # of the free memory that a pass may take
MOST_FLOPS = {"cpu": 2e11, "cuda": 2e13}  # of a pass forward and back: more show no progress, and save no time
COPIES = 16  # of the images: what an attack keeps of them, such as perturbations, gradients and the best so far
LIGHT_IMAGE, LIGHT_WEIGHTS = 1 << 13, 1 << 21  # bytes and number below which any batch fits: no pass is measured
_costs: WeakKeyDictionary[nn.Module, dict[tuple[int, ...], tuple[int, int]]] = WeakKeyDictionary()  # by the shape of an image


def fitting_batch(model: nn.Module, x: Images, *, most: int = 256, free: int | None = None) -> int:
    """Return the largest number of images, at most `most`, that fit: a power of two, or `most`.

    - x: images that the model takes; one of them is passed through it, on the model's device, in eval mode.
    - free: bytes of memory that are free, by default those of the model's device.
    A pass forward and back then takes a quarter of the free memory at most, and MOST_FLOPS (our choice). The estimate counts what
    autograd keeps for the way back and some copies of the images; and three times the operations of the way forward.
    """
    if not len(x) or most <= 1:
        return max(1, most)
    image = x[0].numel() * 4
    weights = sum(weight.numel() for weight in model.parameters())
    if image < LIGHT_IMAGE and weights < LIGHT_WEIGHTS:
        return most
    device = next(model.parameters(), x).device
    free = _free(device) if free is None else free
    shape = tuple(x.shape[1:])
    costs = _costs.setdefault(model, {})
    if shape not in costs:
        costs[shape] = _cost(model, x[:1].to(device))
    kept, flops = costs[shape]
    fits = int(min(SHARE * free / (COPIES * image + kept), MOST_FLOPS.get(device.type, 2e13) / max(3 * flops, 1)))
    return most if fits >= most else 1 << max(0, fits.bit_length() - 1)


def _cost(model: nn.Module, x: Images) -> tuple[int, int]:
    """Return the bytes that autograd keeps of a pass over x, weights not counted, and the operations of the way forward."""
    of_weights = {weight.data_ptr() for weight in model.parameters()} | {buffer.data_ptr() for buffer in model.buffers()}
    kept: dict[int, int] = {}

    def pack(value: Tensor) -> Tensor:
        if value.data_ptr() not in of_weights:
            kept[value.data_ptr()] = value.numel() * value.element_size()
        return value

    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value)
    with eval_mode(model), torch.enable_grad(), hooks, FlopCounterMode(display=False) as counter:
        output = model(x.detach().clone().requires_grad_())
        size = sum(kept.values())
        del output
    return size, counter.get_total_flops()


def _free(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()


class Batches:
    """Work through images batch by batch, in smaller ones once memory is not enough.

    size: images in a batch, at present.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def over(
        self, first: int, n: int, work: Callable[[slice], T], generator: torch.Generator | None = None
    ) -> Iterator[tuple[slice, T]]:
        """Yield the places of every batch of the images from `first` to n, and what `work` gives for them.

        generator: is put back to where it was before work that failed.
        Raises: whatever `work` raises, also that memory is not enough for a single image.
        """
        while first < n:
            state = generator.get_state() if generator is not None else None
            part = slice(first, min(n, first + self.size))
            try:
                done = work(part)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or part.stop - part.start == 1:
                    raise
                self.size = (part.stop - part.start) // 2
                if generator is not None and state is not None:
                    generator.set_state(state)
                continue
            yield part, done
            first = part.stop
