"""The processes that torchrun has started for one training: how they exchange what a step needs, and how they end together.

Rank 0 alone writes, shows and reads requests; the others follow it. What happens to one of them, such as a signal, is a flag in
the next exchange, so that all act on it after the same step.
"""

import contextlib
import os
import platform
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from trs_explorer.locks import process_lives

WAIT = timedelta(days=7)  # for rank 0's next command: it may be downloading data
STEP_WAIT = timedelta(minutes=30)  # for the others' part of a step; rank 0 probes and saves in between
REPORTS_S = 2.0  # waited for word of other processes after one is lost
RANK_0_S = 25.0  # waited for that of rank 0, which may be in a probe; torchrun kills all after 30
STOP, REQUESTS = 0, 1  # flags
CONNECTION = "TRS_CONNECTION"  # environment: which connection of this torchrun a child process joins


class ProcessLost(RuntimeError):
    """Another process of the training has ended, or does not answer. What this one computed since the last step is not used."""


class Processes:
    """The processes of one training. This one is `rank`; alone, `size` is 1 and nothing is exchanged.

    flags: what this process says in the next exchange: that it must stop (STOP), that viewers have requests (REQUESTS).
    heard: what any process said in the last one.
    seconds, bytes: time spent in the exchanges of steps, and bytes of gradients, terms and flags exchanged.
    """

    def __init__(self, rank: int = 0, size: int = 1, store: Any = None, number: int = 0) -> None:
        """Start without connections for steps.

        store: of the connection.
        number: how often torchrun's processes had connected before.
        """
        self.rank, self.size, self.number = rank, size, number
        self.flags, self.heard = [False, False], [False, False]
        self.seconds, self.bytes = 0.0, 0
        self._store, self._steps, self._gpus = store, None, None

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes the run's folder."""
        return self.rank == 0

    @property
    def on_gpus(self) -> bool:
        """Whether gradients are added up between GPUs. After a process is lost, what a GPU holds is then unknown."""
        return self._gpus is not None

    def local_device(self, device: torch.device) -> torch.device:
        """The device; where several processes share a machine's GPUs, this process's own one as far as they suffice."""
        if device.type != "cuda" or self.size == 1:
            return device
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", self.rank)) % torch.cuda.device_count())

    def prepare(self, device: torch.device) -> None:
        """Make the connections for the steps of a training on a device. All processes must call this."""
        if self.size == 1:
            return
        with _others():
            own_gpu = device.type == "cuda" and int(os.environ.get("LOCAL_WORLD_SIZE", "1")) <= torch.cuda.device_count()
            everywhere: list[Any] = [None] * self.size
            dist.all_gather_object(everywhere, own_gpu)
            self._steps = self._steps or dist.new_group(timeout=STEP_WAIT, backend="gloo")
            if all(everywhere) and self._gpus is None and dist.is_nccl_available():
                self._gpus = dist.new_group(timeout=STEP_WAIT, backend="nccl")

    def add_up(self, flat: Tensor) -> None:
        """Replace a flat tensor by its sum over the processes, and exchange the flags. All get the same bits.

        On the CPU both are one collective. On GPUs the flags are one of their own between the CPUs: reading them from a GPU would
        make every step wait for it.
        """
        started = time.perf_counter()
        slots = torch.tensor([float(flag) for flag in self.flags])
        if flat.device.type == "cpu":
            both = torch.cat([flat, slots.to(flat.dtype)])
            self._all_reduce(both)
            flat.copy_(both[: len(flat)])
            slots = both[len(flat) :]
        else:
            self._all_reduce(slots)
            if self._gpus is not None:
                self._all_reduce(flat, self._gpus)
            else:
                on_cpu = flat.cpu()
                self._all_reduce(on_cpu)
                flat.copy_(on_cpu)
        self.heard = [bool(slot) for slot in slots.tolist()]
        self.seconds += time.perf_counter() - started
        self.bytes += (flat.numel() + len(slots)) * flat.element_size()

    def meet(self) -> None:
        """Exchange the flags alone."""
        if self.size == 1:
            self.heard = list(self.flags)
            return
        slots = torch.tensor([float(flag) for flag in self.flags])
        self._all_reduce(slots)
        self.heard = [bool(slot) for slot in slots.tolist()]

    def add_up_bytes(self, rows: Tensor) -> None:
        """Replace bytes, which are 0 in all processes but one, by their sum."""
        started = time.perf_counter()
        if rows.device.type == "cpu" or self._gpus is not None:
            self._all_reduce(rows, None if rows.device.type == "cpu" else self._gpus)
        else:
            on_cpu = rows.cpu()
            self._all_reduce(on_cpu)
            rows.copy_(on_cpu)
        self.seconds += time.perf_counter() - started
        self.bytes += rows.numel()

    def _all_reduce(self, values: Tensor, group: Any = None) -> None:
        with _others():
            dist.all_reduce(values, group=group or self._steps)

    def broadcast(self, value: Any = None) -> Any:
        """Rank 0's value, in every process."""
        if self.size == 1:
            return value
        values = [value]
        with _others():
            dist.broadcast_object_list(values, group=self._steps if self._steps is not None else None)
        return values[0]

    def dismiss(self) -> dict[str, str]:
        """Let the others go to the next connection; returns the environment of the process that takes this one's place in it.

        This one is alone from then on.
        """
        self.command("reconnect")
        self.size = 1
        return {CONNECTION: str(self.number + 1)}

    def command(self, *words: object) -> tuple:
        """Give the others a command, a word and what belongs to it; they get it by their call, without words.

        "train", folder, config: take part in this training. "reconnect": leave, and connect again. "end", exit status.
        """
        if self.size == 1:
            return words
        values: list[Any] = [words]
        with _others():
            dist.broadcast_object_list(values)
        return tuple(values[0])

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        if self.size == 1:
            return flag
        everywhere: list[Any] = [None] * self.size
        with _others():
            dist.all_gather_object(everywhere, flag)
        return any(everywhere)

    def introduce(self) -> None:
        """Tell the others which process of which machine this is, so that they can see whether it lives."""
        self._store.set(f"process/{self.rank}", f"{os.getpid()} {platform.node()}")

    def report(self, text: str, status: int) -> None:
        """Leave word of why this process ends, with its exit status, for the others, whose exchanges will fail."""
        if self.size > 1:
            with contextlib.suppress(RuntimeError):  # the store is gone with the process that had it
                self._store.set(f"end/{self.rank}", f"{status} {text}")

    def reports(self, wanted: int | None = None) -> dict[int, tuple[int, str]]:
        """Exit status and text of the processes that left word; waits for them while any may still do so.

        wanted: the process to wait for; by default any one.
        """
        heard: dict[int, tuple[int, str]] = {}
        deadline = time.monotonic() + (REPORTS_S if wanted is None else RANK_0_S)
        with contextlib.suppress(RuntimeError):
            while True:
                for rank in set(range(self.size)) - {self.rank, *heard}:
                    if self._store.check([f"end/{rank}"]):
                        status, _, text = self._store.get(f"end/{rank}").decode().partition(" ")
                        heard[rank] = int(status), text
                if time.monotonic() > deadline or (heard if wanted is None else wanted in {*heard, *self.dead()}):
                    return heard
                time.sleep(0.05)
        return heard

    def dead(self) -> list[int]:
        """The processes of this machine that do not live any more and left no word: killed."""
        dead = []
        with contextlib.suppress(RuntimeError):
            for rank in set(range(self.size)) - {self.rank}:
                if self._store.check([f"process/{rank}"]) and not self._store.check([f"end/{rank}"]):
                    pid, _, node = self._store.get(f"process/{rank}").decode().partition(" ")
                    if node == platform.node() and not process_lives(int(pid)):
                        dead.append(rank)
        return dead

    def why_lost(self, lost: ProcessLost) -> str:
        """Why an exchange failed, in words."""
        if "timed out" in str(lost).lower():
            return f"a process of {self.size} did not answer for {STEP_WAIT.total_seconds() / 60:g} minutes"
        told = {rank: text for rank, (_, text) in self.reports().items() if text}
        if told:
            rank = min(told)
            return f"process {rank} of {self.size} failed: {told[rank]}"
        dead = self.dead()
        which = f"process {dead[0]}" if len(dead) == 1 else "a process"
        return f"{which} of {self.size} has ended: it was killed, or out of memory"


ALONE = Processes()


@contextlib.contextmanager
def connect(number: int) -> Iterator[Processes]:
    """Connect the processes that torchrun has started. number: how often they have connected before.

    Raises: ProcessLost if they cannot be connected.
    """
    with _others():
        base, rank, size = next(dist.rendezvous("env://", timeout=WAIT))
        store = dist.PrefixStore(f"trs-{number}", base)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=WAIT)
    try:
        processes = Processes(rank, size, store, number)
        processes.introduce()
        yield processes
    finally:
        dist.destroy_process_group()


@contextlib.contextmanager
def _others() -> Iterator[None]:
    """Turn errors of torch.distributed into ProcessLost."""
    try:
        yield
    except (RuntimeError, OSError) as error:  # DistError is a RuntimeError
        raise ProcessLost(str(error)) from error
