"""Time functions in turns, and name the machine."""

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from trs_explorer import __version__


def interleaved(variants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of every variant, after one unmeasured round. They take turns, so that a disturbance affects all of them."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(rounds + 1):
        for name, run in variants.items():
            start = time.perf_counter()
            run()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def machine() -> str:
    """Processor, threads and versions, in one line."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        named = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        processor = named[0] if named else processor
    return (
        f"{processor}, {torch.get_num_threads()} threads; python {platform.python_version()}, torch {torch.__version__}, "
        f"trs-explorer {__version__}"
    )
