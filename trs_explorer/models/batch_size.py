"""How many images a pass can take: as many as fit into memory, by what a pass over one image keeps."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn

from trs_explorer.memory import free_memory, is_out_of_memory
from trs_explorer.models.ensemble import Images

T = TypeVar("T")
SHARE = 0.25  # of the free memory that a pass may take
COPIES = 16  # of the images: what an attack keeps of them, such as perturbations, gradients and the best so far
LIGHT_IMAGE, LIGHT_WEIGHTS = 1 << 13, 1 << 21  # bytes and number below which any batch fits: no pass is measured


def fitting_batch(model: nn.Module, x: Images, *, most: int = 256, free: int | None = None) -> int:
    """Return the largest number of images, at most `most`, whose pass forward and back takes a quarter of the free memory.

    - x: images that the model takes; one of them is passed through it, on the model's device, in the model's mode.
    - free: bytes of memory that are free, by default those of the model's device.
    Our choice: a power of two or `most`. The estimate counts what autograd keeps for the way back, and some copies of the images.
    """
    if not len(x) or most <= 1:
        return max(1, most)
    image = x[0].numel() * 4
    weights = sum(weight.numel() for weight in model.parameters())
    if image < LIGHT_IMAGE and weights < LIGHT_WEIGHTS:
        return most
    device = next(model.parameters(), x).device
    free = _free(device) if free is None else free
    each = COPIES * image + _kept(model, x[:1].to(device))
    fits = int(SHARE * free / each)
    return most if fits >= most else 1 << max(0, fits.bit_length() - 1)


def _kept(model: nn.Module, x: Images) -> int:
    """Return the bytes that autograd keeps of a pass over x for the way back, weights not counted."""
    known = {weight.data_ptr() for weight in model.parameters()} | {buffer.data_ptr() for buffer in model.buffers()}
    kept: dict[int, int] = {}

    def pack(value: Tensor) -> Tensor:
        if value.data_ptr() not in known:
            kept[value.data_ptr()] = value.numel() * value.element_size()
        return value

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        output = model(x.detach().clone().requires_grad_())
        size = sum(kept.values())
        del output
    return size


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
