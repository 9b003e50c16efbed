"""`trs bench scaling`: a training step's time against the number of members, and against the size of the images."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from trs_explorer.bench.timing import interleaved
from trs_explorer.catalogue import METHODS, MODELS, load
from trs_explorer.defences.trs import trs
from trs_explorer.models import Ensemble
from trs_explorer.training.device import resolve_device, use_bfloat16
from trs_explorer.training.parallel import one_thread_each, parts_for, terms_and_gradients

MEMBERS = (2, 4, 8, 16)  # at 28 x 28, batch 128
SIZES = (28, 56, 112, 224)  # of 3 members, batch 32
CLASSES, DELTA = 10, 0.1
SETTINGS = "members: 28 x 28 pixels, batch 128. pixels: of an image, 3 members, batch 32. slope: from the row above; linear: 1."


def bench_scaling(model: str, rounds: int) -> list[dict]:
    """One row per measurement: median milliseconds of a default TRS step, and what they say of its growth.

    unit, n: members, or pixels of an image.
    against linear: the time per unit, relative to the first row of that unit. A step that is linear in it has 1.00 everywhere.
    slope: the exponent of the growth since the row above: 1 is linear.

    Images are random and weights untrained; neither changes what is computed.
    """
    steps: dict[tuple[str, int], Callable[[], object]] = {}
    steps |= {("members", n): _step(model, n, 28, 128) for n in MEMBERS}
    steps |= {("pixels", size * size): _step(model, 3, size, 32) for size in SIZES}
    times = interleaved({f"{what} {n}": run for (what, n), run in steps.items()}, rounds)
    rows: list[dict] = []
    for what, n in steps:
        ms = 1000 * times[f"{what} {n}"]
        same = [row for row in rows if row["unit"] == what]
        first, last = (same[0], same[-1]) if same else (None, None)
        rows.append(
            {
                "unit": what,
                "n": n,
                "setting": f"{n} members of 28 x 28, batch 128"
                if what == "members"
                else f"{math.isqrt(n)} x {math.isqrt(n)}, 3 members, batch 32",
                "ms": ms,
                "ms per unit": ms / n,
                "against linear": ms / n / (first["ms"] / first["n"]) if first else 1.0,
                "slope": math.log(ms / last["ms"]) / math.log(n / last["n"]) if last else None,
            }
        )
    return rows


def _step(model: str, members: int, size: int, batch: int) -> Callable[[], object]:
    """A function that computes a step's loss and gradients."""
    device, draw = resolve_device("auto"), torch.Generator().manual_seed(0)
    shape = (1, size, size)
    torch.manual_seed(0)
    ensemble = Ensemble([load(MODELS[model].function)(shape, CLASSES) for _ in range(members)]).to(device)
    parameters = list(ensemble.parameters())
    x = torch.rand(batch, *shape, generator=draw).to(device)
    y = torch.randint(CLASSES, (batch,), generator=draw).to(device)
    options = {**METHODS["trs"].defaults, "delta": DELTA, "delta_start": DELTA}
    parts, bfloat16 = parts_for(ensemble, batch, x[0].numel(), device), use_bfloat16("auto", device)

    def loss(part: int, places: range) -> dict[str, Tensor]:
        del part
        chosen = slice(places.start, places.stop)
        clean, noise = x[chosen], torch.Generator()
        return trs(ensemble, clean, y[chosen], **options, progress=1.0, generator=noise, x_ce=clean, places=places)

    def run() -> object:
        ensemble.autocast = bfloat16
        with one_thread_each(parts):
            terms, _ = terms_and_gradients(loss, batch, parameters, parts)
        ensemble.autocast = False
        return terms["total"].item()

    return run
