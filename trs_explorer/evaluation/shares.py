"""One evaluation by several processes that torchrun has started: each takes a share of the images.

    torchrun --nproc-per-node 2 --no-python trs evaluate RUN

The figures are those of one process: an image's noise depends on its place in the whole (`accuracy.measure`, first).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Processes:
    """How many there are, and which one this is; the first one, 0, shows and stores the result."""

    rank: int = 0
    count: int = 1

    def share(self, n: int) -> slice:
        """This process's part of n images, one after the other; the parts differ by one image at most."""
        return slice(n * self.rank // self.count, n * (self.rank + 1) // self.count)

    def device(self, device: torch.device) -> torch.device:
        """The device, or where several processes share GPUs, this one's of them."""
        if device.type != "cuda" or self.count == 1:
            return device
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())

    def wait(self) -> None:
        """Until every process has come here."""
        if self.count > 1:
            dist.barrier()

    def gather(self, found: Any) -> list[Any]:
        """What every process has found, by rank, in the first one; nothing in the others. All must come here."""
        if self.count == 1:
            return [found]
        everything = [None] * self.count if self.rank == 0 else None
        dist.gather_object(found, everything)
        return everything or []


@contextmanager
def processes() -> Iterator[Processes]:
    """Those that torchrun has started, connected; this one alone without torchrun."""
    if not dist.is_available() or not dist.is_torchelastic_launched():
        yield Processes()
        return
    dist.init_process_group("gloo")
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
