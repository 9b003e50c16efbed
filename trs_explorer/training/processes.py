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
REPORT_S = 2.0  # for a report of another process after one is lost
RANK_0_S = 25.0  # for that of rank 0, which may be in a probe; torchrun kills all after 30
STOP, REQUESTS = 0, 1  # flags
RECONNECT = -1  # in place of an exit status: rank 0 goes on
CONNECTION = "TRS_CONNECTION"  # environment variable: number of the connection that a child process joins


class ProcessLost(RuntimeError):
    """Another process of the training has ended, or does not answer. What this one computed since the last step is not used."""


class Processes:
    """The processes of one training. This one is `rank`; alone, `size` is 1 and nothing is exchanged.

    number: how often they had connected before.
    flags: what this process sends in the next exchange: that it must stop (STOP), that viewers have requests (REQUESTS).
    received: the flags that any process sent in the last one.
    seconds, bytes: time spent in the exchanges of steps, and bytes of gradients, terms and flags exchanged.
    """

    def __init__(self, rank: int = 0, size: int = 1, store: Any = None, number: int = 0) -> None:
        """Start without connections for steps. store: of the connection."""
        self.rank, self.size, self.number = rank, size, number
        self.flags, self.received = [False, False], [False, False]
        self.seconds, self.bytes = 0.0, 0
        self._store, self._steps, self._gpus = store, None, None
        self._gone = False  # whether a process was killed or does not answer, so that there is no next connection

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
        with _errors_as_lost():
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
        self.received = [bool(slot) for slot in slots.tolist()]
        self.seconds += time.perf_counter() - started
        self.bytes += (flat.numel() + len(slots)) * flat.element_size()

    def exchange_flags(self) -> None:
        """Exchange the flags without a step."""
        if self.size == 1:
            self.received = list(self.flags)
            return
        slots = torch.tensor([float(flag) for flag in self.flags])
        self._all_reduce(slots)
        self.received = [bool(slot) for slot in slots.tolist()]

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
        with _errors_as_lost():
            dist.all_reduce(values, group=group or self._steps)

    def broadcast(self, value: Any = None) -> Any:
        """Rank 0's value, in every process."""
        if self.size == 1:
            return value
        values = [value]
        with _errors_as_lost():
            dist.broadcast_object_list(values, group=self._steps if self._steps is not None else None)
        return values[0]

    def any_process(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        if self.size == 1:
            return flag
        everywhere: list[Any] = [None] * self.size
        with _errors_as_lost():
            dist.all_gather_object(everywhere, flag)
        return any(everywhere)

    def send_command(self, *words: object) -> None:
        """Send the other processes a command: a word and what belongs to it.

        "train", folder, config: take part in this training. "reconnect": connect again. "end", status: exit.
        """
        if self.size > 1:
            with _errors_as_lost():
                dist.broadcast_object_list([words])

    def receive_command(self) -> tuple:
        """Wait for rank 0's next command, and return it."""
        values: list[Any] = [None]
        with _errors_as_lost():
            dist.broadcast_object_list(values)
        return tuple(values[0])

    def hand_over(self) -> dict[str, str]:
        """Let a child process take the place of this one, rank 0, which is alone from then on.

        Returns the child's environment variables.
        """
        self.send_command("reconnect")
        self.size = 1
        return {CONNECTION: str(self.number + 1)}

    def join(self, number: int) -> None:
        """Connect to the others, for the given time."""
        with _errors_as_lost():
            base, rank, size = next(dist.rendezvous("env://", timeout=WAIT))
            store = dist.PrefixStore(f"trs-{number}", base)
            dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=WAIT)
            self.rank, self.size, self.number, self._store, self.flags = rank, size, number, store, [False, False]
            store.set(f"process/{rank}", f"{os.getpid()} {platform.node()}")  # so that the others see whether it lives

    def leave(self) -> None:
        """End the connection; the others' exchanges then fail."""
        self._steps = self._gpus = None  # a group that is named is not closed
        if dist.is_initialized():
            dist.destroy_process_group()

    def rejoin(self) -> None:
        """Connect again. All processes must call this."""
        self.leave()
        self.join(self.number + 1)

    def go_on(self) -> bool:
        """In rank 0 after a training has failed: connect all processes again, for the next one. False if one is gone."""
        if self._gone or self.dead(reported=True):
            return False
        self.report_end("", RECONNECT)
        self.rejoin()
        return True

    def report_end(self, text: str, status: int) -> None:
        """Leave a report of why this process ends, with its exit status, for the others, whose exchanges will fail."""
        if self.size > 1:
            with contextlib.suppress(RuntimeError):  # the store is gone with the process that had it
                self._store.set(f"end/{self.rank}", f"{status} {text}")

    def end_reports(self, rank: int | None = None) -> dict[int, tuple[int, str]]:
        """Exit status and text of each process that has left a report, by rank. Waits for one as long as it may still come.

        rank: the process to wait for; by default any one.
        """
        reports: dict[int, tuple[int, str]] = {}
        deadline = time.monotonic() + (REPORT_S if rank is None else RANK_0_S)
        with contextlib.suppress(RuntimeError):
            while True:
                for other in set(range(self.size)) - {self.rank, *reports}:
                    if self._store.check([f"end/{other}"]):
                        status, _, text = self._store.get(f"end/{other}").decode().partition(" ")
                        reports[other] = int(status), text
                if time.monotonic() > deadline or (reports if rank is None else rank in {*reports, *self.dead()}):
                    return reports
                time.sleep(0.05)
        return reports

    def dead(self, *, reported: bool = False) -> list[int]:
        """The processes of this machine that have ended without a report: killed. reported: those with one too."""
        dead = []
        with contextlib.suppress(RuntimeError):
            for rank in set(range(self.size)) - {self.rank}:
                if self._store.check([f"process/{rank}"]) and (reported or not self._store.check([f"end/{rank}"])):
                    pid, _, node = self._store.get(f"process/{rank}").decode().partition(" ")
                    if node == platform.node() and not process_lives(int(pid)):
                        dead.append(rank)
        return dead

    def why_lost(self, lost: ProcessLost) -> str:
        """Why an exchange failed, in words."""
        if "timed out" in str(lost).lower():
            self._gone = True
            return f"a process of {self.size} did not answer for {STEP_WAIT.total_seconds() / 60:g} minutes"
        failed = {rank: text for rank, (_, text) in self.end_reports().items() if text}
        if failed:
            rank = min(failed)
            return f"process {rank} of {self.size} failed: {failed[rank]}"
        self._gone = True
        dead = self.dead()
        which = f"process {dead[0]}" if len(dead) == 1 else "a process"
        return f"{which} of {self.size} has ended: it was killed, or out of memory"


ALONE = Processes()


@contextlib.contextmanager
def connect(number: int) -> Iterator[Processes]:
    """Connect the processes that torchrun has started. number: how often they have connected before.

    Raises: ProcessLost if they cannot be connected.
    """
    processes = Processes()
    processes.join(number)
    try:
        yield processes
    finally:
        processes.leave()


@contextlib.contextmanager
def _errors_as_lost() -> Iterator[None]:
    """Turn errors of torch.distributed into ProcessLost."""
    try:
        yield
    except (RuntimeError, OSError) as error:  # DistError is a RuntimeError
        raise ProcessLost(str(error)) from error
