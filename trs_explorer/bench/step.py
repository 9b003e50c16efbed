"""`trs bench step`: time a TRS step against the published one, on the same images and weights."""

from collections.abc import Callable

import torch
from torch import Tensor

from trs_explorer.bench.published import published_trs, released_trs
from trs_explorer.bench.timing import interleaved
from trs_explorer.catalogue import METHODS
from trs_explorer.config import resolve
from trs_explorer.data import Dataset, load
from trs_explorer.defences.trs import trs
from trs_explorer.models import Ensemble, build
from trs_explorer.training.compilation import check_compilation
from trs_explorer.training.device import use_bfloat16
from trs_explorer.training.parallel import one_thread_each, parts_for, terms_and_gradients

PUBLISHED = "published: second order, 6 steps, float32"
RELEASED = "as its authors released it, float32"
ALLOWED = {"float32": 1e-4, "bfloat16": 1e-2}  # relative difference of a loss that counts as the same
BATCH, WARM_UP_STEPS, DELTA = 128, 150, 0.1


def bench_step(model: str, rounds: int, *, compiled: bool = False) -> list[dict]:
    """One row per variant: median milliseconds of loss and gradients, ratios to two published steps, and the loss.

    3 members, batch 128 of MNIST, after 150 TRS steps from scratch, delta = 0.1. Every variant gets the same weights, images
    and half of the images to move. The two variants with the published search differ from it only in arithmetic. The default
    one searches its support points by first-order steps and finds less extreme ones: its loss shows by how much. The released
    trainer's objective is another, so its loss is not compared, see `released_trs`.
    compiled: add a row for the default variant with its search compiled, see `training.compilation`.
    """
    images = load("mnist", train=True)
    ensemble = build(model, "mnist", 3, seed=0)
    parameters = list(ensemble.parameters())
    x, y = images.images(slice(0, BATCH)), images.y[:BATCH]
    parts = parts_for(ensemble, BATCH, x[0].numel(), x.device)
    defaults = {**METHODS["trs"].defaults, "delta": DELTA, "delta_start": DELTA}
    second = {**defaults, "inner_order": "second", "inner_steps": 6}
    order = _order_by_halves(BATCH)
    bfloat16_is_fast = use_bfloat16("auto", x.device)

    def ours(options: dict, bfloat16: bool, compiled: bool = False) -> Callable[[], float]:
        def loss(part: int, places: range) -> dict[str, Tensor]:
            del part
            chosen = order[places.start : places.stop]
            clean, noise = x[chosen], torch.Generator()
            return trs(ensemble, clean, y[chosen], **options, progress=1.0, generator=noise, x_ce=clean, places=places)

        def run() -> float:
            ensemble.autocast, ensemble.compiled = bfloat16, compiled
            with one_thread_each(parts):
                terms, _ = terms_and_gradients(loss, BATCH, parameters, parts)
            ensemble.autocast = ensemble.compiled = False
            return terms["total"].item()

        return run

    def theirs(function: Callable[..., Tensor]) -> Callable[[], float]:
        def run() -> float:
            weights = {name: defaults[name] for name in ("lambda_a", "lambda_b")}
            total = function(ensemble, x, y, **weights, delta=DELTA, inner_steps=6)
            total.backward()
            return total.item()

        return run

    variants = {
        RELEASED: theirs(released_trs),
        PUBLISHED: theirs(published_trs),
        "ours, the same search, float32": ours(second, False),
    }
    if bfloat16_is_fast:
        variants["ours, the same search, bfloat16"] = ours(second, True)
    as_trained = f"ours, as trained by default, {'bfloat16' if bfloat16_is_fast else 'float32'}"
    variants[as_trained] = ours(defaults, bfloat16_is_fast)
    if compiled:
        check_compilation(resolve({"model": model, "compile": True}), ensemble)
        variants[f"{as_trained}, compiled"] = ours(defaults, bfloat16_is_fast, compiled=True)

    _warm_up(ensemble, images)
    losses = {name: run() for name, run in variants.items()}
    times = interleaved(variants, rounds)
    return [
        {
            "model": model,
            "variant": name,
            "ms": 1000 * times[name],
            "to released": times[RELEASED] / times[name],
            "ratio": times[PUBLISHED] / times[name],
            "loss": None if name == RELEASED else losses[name],
            "difference": None if name == RELEASED else losses[name] / losses[PUBLISHED] - 1,
            "same loss": _verdict(name, losses[name] / losses[PUBLISHED] - 1),
        }
        for name in variants
    ]


def _verdict(variant: str, difference: float) -> str:
    if "same search" in variant:
        return "yes" if abs(difference) <= ALLOWED[variant.rsplit(", ")[-1]] else "NO"
    if variant == PUBLISHED:
        return ""
    if variant == RELEASED:
        return "another objective"
    return "within 1 %" if abs(difference) <= ALLOWED["bfloat16"] else "other search"


def _order_by_halves(size: int) -> Tensor:
    """The order of the images for ours, which moves every second one: those of the second half, as the published step does."""
    return torch.arange(size).view(2, -1).T.flatten()


def _warm_up(ensemble: Ensemble, images: Dataset) -> None:
    config = resolve({})
    optimizer = torch.optim.Adam(ensemble.parameters(), lr=config.lr)
    for step in range(WARM_UP_STEPS):
        chosen = slice(step * BATCH, (step + 1) * BATCH)
        x, y = images.images(chosen), images.y[chosen]
        terms = trs(ensemble, x, y, **config.options, progress=0.0, generator=torch.Generator(), x_ce=x)
        optimizer.zero_grad(set_to_none=True)
        terms["total"].backward()
        optimizer.step()
