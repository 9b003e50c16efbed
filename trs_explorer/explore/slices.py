"""Slices: every member's logits on nested grids of a plane, coarse first; a finer grid reuses all points of the coarser ones."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64

from trs_explorer.explore.planes import Plane
from trs_explorer.models.batch_size import fitting_batch
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.eval_mode import eval_mode
from trs_explorer.models.to_device import to_device

# Points per side. 24 divides 48 divides 96 divides 192: every grid contains the one before it.
LEVELS = (25, 49, 97, 193)
HEAVY_LEVELS = (7, 13, 25, 49, 97)  # of a heavy model, whose first picture would take minutes

HEAVY_BATCH = 64  # images that fit into one pass: fewer of a heavy model

GridPoints = Int64[np.ndarray, "point 2"]
Samples = Float32[np.ndarray, "point member class"]


class Cancelled(Exception):
    """These samples are not needed any more."""


def new_points(level: int, grids: Sequence[int] = LEVELS) -> GridPoints:
    """Return (row, column) of the points of the grid grids[level] that the previous grid lacks, row by row, left to right.

    Level 0 has all of its points. Row 0 is the lowest b, column 0 the lowest a.
    """
    n = grids[level]
    row, column = np.divmod(np.arange(n * n), n)
    if level:
        step = (n - 1) // (grids[level - 1] - 1)
        new = (row % step != 0) | (column % step != 0)
        row, column = row[new], column[new]
    return np.stack([row, column], -1)


def coordinates(
    points: GridPoints, level: int, *, low: float, high: float, grids: Sequence[int] = LEVELS
) -> Float64[np.ndarray, "point 2"]:
    """Convert (row, column) of a level's grid to (a, b). The grid covers [low, high] on both axes (for an image, [-span, span]).

    A point has the same coordinates in every level, to the last bit: the step halves from one level to the next.
    """
    return low + (high - low) * points[:, ::-1] / (grids[level] - 1)


def sample(
    ensemble: Ensemble,
    plane: Plane,
    points: Float[np.ndarray, "point 2"],
    *,
    stop: Callable[[], bool] = lambda: False,
    lock: Callable[[], AbstractContextManager] = nullcontext,
    batch: int = 256,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Samples:
    """Compute every member's logits, in eval mode, at points (a, b) of the plane; images outside [0, 1] are not clipped.

    points: plane coordinates.
    stop: checked before every forward pass.
    lock: held during every forward pass, such as `PROCESS_LOCK.hold`.
    batch: images per forward pass at most; fewer of a large model, so that `stop` is heard within about a second.
    progress: called after every forward pass with how many points are done, and how many there are.
    Raises: Cancelled if stop() is true.
    """
    weight = next(ensemble.parameters(), plane.origin)
    where = torch.from_numpy(np.ascontiguousarray(points)).to(plane.origin)
    pool, together = _one_thread_a_core() if weight.device.type == "cpu" and _keeps_no_state(ensemble) else (None, 1)

    def images(chunk: torch.Tensor) -> torch.Tensor:
        return to_device(plane.images(chunk), weight.device).to(weight.dtype)

    def logits(chunk: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return ensemble.member_logits(images(chunk)).transpose(0, 1).float().cpu()

    outputs: list[torch.Tensor] = []
    batch = fitting_batch(ensemble, images(where[:1]), most=batch)
    rounds = -(-len(where) // (together * batch))
    chunks = where.split(-(-len(where) // (together * rounds)) if rounds else 1)
    with eval_mode(ensemble):
        for k in range(0, len(chunks), together):
            if stop():
                raise Cancelled
            with lock():
                outputs.extend((pool.map if pool else map)(logits, chunks[k : k + together]))
            progress(sum(map(len, outputs)), len(where))
    return torch.cat(outputs).numpy()


def is_heavy(ensemble: Ensemble, x: Float[torch.Tensor, "channel height width"]) -> bool:
    """Whether a slice through an image takes long, so that its progress is worth showing."""
    return fitting_batch(ensemble, x[None]) < HEAVY_BATCH


@cache
def _one_thread_a_core() -> tuple[ThreadPoolExecutor, int]:
    """Return as many threads as torch has, each of which computes alone, and their number.

    For small batches that is half as fast again as one after the other on all cores, where cores wait for one another after every
    operation; on a busy machine, more.
    """
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, "slices", initializer=torch.set_num_threads, initargs=(1,))
    started = threading.Barrier(threads)
    list(pool.map(lambda _: started.wait(), range(threads)))
    torch.set_num_threads(threads)  # of this thread, and of new ones
    return pool, threads


def _keeps_no_state(ensemble: Ensemble) -> bool:
    """Whether two threads can compute with it at once: modules of others may keep values between their layers."""
    return all(type(module).__module__.partition(".")[0] in ("torch", "trs_explorer") for module in ensemble.modules())


def assemble(
    levels: Sequence[Float32[np.ndarray, "_ member class"]], grids: Sequence[int] = LEVELS
) -> Float32[np.ndarray, "row column member class"]:
    """Join the samples at `new_points` of levels 0, 1, ... into one grid, the last level's. Raises ValueError if none fits."""
    if not 0 < len(levels) <= len(grids):
        raise ValueError(f"samples of 1 to {len(grids)} levels make a grid, got {len(levels)}")
    n = grids[len(levels) - 1]
    grid = np.empty((n, n, *levels[0].shape[1:]), dtype=np.float32)
    for level, samples in enumerate(levels):
        row, column = new_points(level, grids).T * ((n - 1) // (grids[level] - 1))
        if len(samples) != len(row):
            raise ValueError(f"level {level} has {len(row)} new points, got {len(samples)} samples")
        grid[row, column] = samples
    return grid


def with_vote(
    ensemble: Ensemble, logits: Float32[np.ndarray, "row column member class"]
) -> Float32[np.ndarray, "row column model class"]:
    """Append the ensemble's log-probabilities to the members' logits."""
    members = torch.from_numpy(np.ascontiguousarray(logits)).movedim(2, 0)
    device = next(ensemble.parameters(), members).device
    vote = ensemble.vote(members.flatten(1, 2).to(device)).view(members.shape[1:])
    return np.concatenate([logits, vote[:, :, None].cpu().numpy()], axis=2)


def sample_grid(
    ensemble: Ensemble, plane: Plane, *, low: float, high: float, level: int
) -> Float32[np.ndarray, "row column model class"]:
    """Compute the outputs of all models, the ensemble last, on LEVELS[level]'s grid of the square [low, high]^2."""
    points = [coordinates(new_points(k), k, low=low, high=high) for k in range(level + 1)]
    return with_vote(ensemble, assemble([sample(ensemble, plane, new) for new in points]))
