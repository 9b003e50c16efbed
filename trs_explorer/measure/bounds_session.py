"""The bounds of Theorems 1 and 2 on a run's members, at one checkpoint or along the training; resumable."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch

from trs_explorer import data
from trs_explorer.catalogue import DATA
from trs_explorer.evaluation.bounds.measured import CLASSES, SAMPLES, bounds_from, measure_bounds
from trs_explorer.evaluation.bounds.per_image import PerImage
from trs_explorer.evaluation.transfer import other_classes
from trs_explorer.evaluation.trust.checks import CHECKS
from trs_explorer.evaluation.trust.from_rates import all_warnings, check_model
from trs_explorer.files import Json
from trs_explorer.measure.session import (
    Measurement,
    Reporting,
    attack_function,
    attack_label,
    attack_options,
    code_of,
    describe,
    load_at,
    open_session,
    saving,
)
from trs_explorer.measure.sharding import ProcessGroup
from trs_explorer.options import UsageError
from trs_explorer.runs import Checkpoint, Run, RunError

KIND = "bounds"
RADII = 4  # by default, each a quarter of the next one


@dataclass(frozen=True)
class BoundsPlan:
    """What to measure.

    - eps: the L2 radii, ascending.
    - attack: a name of the catalogue, of an attack with a radius in L2.
    - steps: of an iterated attack.
    - limit: how many test images, the first ones.
    - seed: of the attacks' noise, the random points and the wanted classes.
    - targeted: whether each image is to be taken for a random other class.
    - samples: random points of each ball.
    - classes: how many classes' gradients are taken of each image (`evaluation.bounds.per_image`).
    - options: of the attack, where they are not the usual ones.
    - data_dir: folder with the data, if it is not where the run's config says.
    """

    eps: Sequence[float]
    attack: str = "pgd"
    steps: int = 50
    limit: int = 500
    seed: int = 0
    targeted: bool = False
    samples: int = SAMPLES
    classes: int = CLASSES
    options: Mapping[str, object] = field(default_factory=lambda: {"norm": "l2"})
    data_dir: str = ""


def default_radii(data_name: str) -> list[float]:
    """L2 radii up to the usual one of a data set, each a quarter of the next.

    Our choice: at the largest, attacks fool most images of an undefended ensemble; at the smallest, a theorem may hold.
    """
    return radii_up_to(DATA[data_name].usual_eps("l2"))


def radii_up_to(largest: float) -> list[float]:
    """Radii of which each is a quarter of the next, to two digits; the last is `largest`."""
    return [*(float(f"{largest / 4**k:.2g}") for k in reversed(range(1, RADII))), largest]


def checkpoints_of(run: Run, epochs: str) -> list[Checkpoint]:
    """The stored checkpoints of some epochs, oldest first. epochs: "" for the newest, "all", or numbers with commas.

    Raises: UsageError for an epoch without a checkpoint; RunError if there is none at all.
    """
    stored = run.checkpoints()
    if not stored:
        raise RunError(f"{run.path} has no checkpoint yet: nothing has been saved")
    if epochs in ("", "all"):
        return stored if epochs else stored[-1:]
    by_epoch = {epoch_of(checkpoint): checkpoint for checkpoint in stored}
    chosen = set()
    for text in filter(None, map(str.strip, epochs.split(","))):
        if not text.isdecimal() or int(text) not in by_epoch:
            there = ", ".join(map(str, sorted(by_epoch)))
            raise UsageError(f"--epochs: no checkpoint of epoch {text}: stored are {there}; or all")
        chosen.add(int(text))
    return [checkpoint for epoch, checkpoint in by_epoch.items() if epoch in chosen]


def epoch_of(checkpoint: Checkpoint) -> int:
    """The epoch at whose end, or after which, a checkpoint was saved."""
    return int(checkpoint.name.split("-")[0])


def bounds_run(
    run: Run,
    plan: BoundsPlan,
    *,
    checkpoint: Checkpoint | None = None,
    device: torch.device | str = "cpu",
    group: ProcessGroup | None = None,
    reporting: Reporting | None = None,
) -> Measurement:
    """Measure the bounds of a run's checkpoint. Resumes what an interrupted measurement of the same has left.

    - checkpoint: by default the newest.
    - device: where to compute.
    - group: the processes that share the images; by default this one alone.
    - reporting: progress and lines of text.

    Raises: RunError for an ensemble of one member, which has no pair.
    """
    group, reporting = group or ProcessGroup(), reporting or Reporting()
    ensemble, loaded = load_at(run, device, checkpoint)
    if len(ensemble) < 2:
        raise RunError(f"{run.path} has one member: the bounds are of the transfer between two")
    test = data.load_for(run, train=False, data_dir=plan.data_dir)
    places = slice(0, min(plan.limit, len(test)))
    x, y = test.images(places).to(device), test.y[places].to(device)
    options = attack_options(plan.attack, plan.options, steps=plan.steps)
    description = {
        **describe(loaded, test, f"first {len(x)} test images", device, plan.seed),
        **code_of(run, [plan.attack]),
        "kind": KIND,
        "attack": attack_label(plan.attack, options),
        "norm": "l2",
        "options": options,
        "samples": plan.samples,
        "limit": plan.limit,
    }
    request = {"eps": list(plan.eps), "targeted": plan.targeted, "classes": plan.classes}
    session = open_session(run, KIND, ensemble, description, request, len(x), group)
    shard = session.shard
    n = shard.stop - shard.start
    measured = PerImage.from_json(session.stored, len(plan.eps), len(ensemble), n)
    wanted = other_classes(y, DATA[run.config.data].classes, seed=plan.seed) if plan.targeted else None
    session.values = lambda: measured.to_json() if len(measured) else {}
    so_far = measure_bounds(
        ensemble,
        x[shard],
        y[shard],
        attack=partial(attack_function(plan.attack), **options),
        eps=plan.eps,
        wanted=None if wanted is None else wanted[shard],
        samples=plan.samples,
        classes=plan.classes,
        seed=plan.seed,
        done=measured,
        first=shard.start,
        progress=lambda images: reporting.progress(images, n),
    )
    with saving([session], reporting.notify, resumed=bool(len(measured))):
        for measured in so_far:
            reporting.progress(len(measured), n)
            session.save()
    parts = session.gather(measured)
    if not parts:
        return session.finished(None)
    about: Json = {"eps": plan.eps, "targeted": plan.targeted, "samples": plan.samples, "classes": plan.classes}
    bounds = bounds_from(PerImage.joined(parts), ensemble, x, **about)
    warnings = check_model(ensemble, x[:100], y[:100])
    trust = [{"check": number, "name": CHECKS[number], "warnings": texts} for number, texts in warnings.items()]
    return session.finished({**description, **bounds.to_json(), "trust": trust, "warnings": all_warnings(warnings)})
