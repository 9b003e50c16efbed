"""One measurement split over the processes that torchrun has started: each takes a share of the images.

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
TIMEOUT = timedelta(days=7)  # while the first process trains surrogates or runs checks, the others wait


@dataclass(frozen=True)
class ProcessGroup:
    """How many processes measure together, and which one this is. Rank 0 shows and stores the result."""

    rank: int = 0
    size: int = 1

    def shard(self, n: int) -> slice:
        """This process's consecutive part of n images. The parts differ by one image at most."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def local_device(self, device: torch.device) -> torch.device:
        """The device; where several processes share the GPUs of a machine, this process's own GPU."""
        if device.type != "cuda" or self.size == 1:
            return device
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())

    def broadcast(self, value: Any) -> Any:
        """Rank 0's value, in every process. Also a barrier: no process continues before rank 0 gets here."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]

    def gather(self, description: Mapping[str, object], value: T) -> list[T]:
        """Every process's value, by rank, in rank 0; an empty list in the others. All processes must call this.

        description: what was measured, such as the weights' SHA-256.
        Raises: ValueError if the description is not the same in all processes.
        """
        if self.size == 1:
            return [value]
        gathered: list[Any] = [None] * self.size
        dist.gather_object((dict(description), value), gathered if self.rank == 0 else None)
        if self.rank:
            return []
        for rank, (theirs, _) in enumerate(gathered):
            if theirs != dict(description):
                ours = dict(description)
                raise ValueError(f"process {rank} measured {theirs}, this one {ours}: the run has changed, start again")
        return [part for _, part in gathered]


@contextmanager
def connect_processes() -> Iterator[ProcessGroup]:
    """Connect the processes that torchrun has started; without torchrun, a group of this process alone."""
    if not dist.is_available() or not dist.is_torchelastic_launched():
        yield ProcessGroup()
        return
    dist.init_process_group("gloo", timeout=TIMEOUT)
    try:
        yield ProcessGroup(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
