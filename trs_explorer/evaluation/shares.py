"""One evaluation by several processes that torchrun has started: each takes a share of the images.

    torchrun --nproc-per-node 2 --no-python trs evaluate RUN

The figures are those of one process: an image's noise depends on its place in the whole (`accuracy.measure`, first).
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")
PATIENCE = timedelta(days=7)  # while the first process trains surrogates or checks, the others wait


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

    def agree(self, value: Any) -> Any:
        """The first process's value, in all of them: none goes on before the first one is here."""
        if self.count == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]

    def gather(self, named: Mapping[str, object], found: T) -> list[T]:
        """What every process has found, by rank, in the first one; nothing in the others. All must come here.

        named: what was measured, such as the weights' SHA-256. Raises ValueError if that is not the same in all.
        """
        if self.count == 1:
            return [found]
        everything: list[Any] = [None] * self.count
        dist.gather_object((dict(named), found), everything if self.rank == 0 else None)
        if self.rank:
            return []
        for rank, (theirs, _) in enumerate(everything):
            if theirs != dict(named):
                raise ValueError(f"process {rank} measured {theirs}, this one {dict(named)}: the run has changed, start again")
        return [part for _, part in everything]


@contextmanager
def processes() -> Iterator[Processes]:
    """Those that torchrun has started, connected; this one alone without torchrun."""
    if not dist.is_available() or not dist.is_torchelastic_launched():
        yield Processes()
        return
    dist.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
