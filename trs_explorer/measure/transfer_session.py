"""The transfer matrix of a run's newest ensemble, resumable."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from trs_explorer import data, plugins
from trs_explorer.attack_catalogue import attack
from trs_explorer.catalogue import DATA
from trs_explorer.evaluation.transfer import (
    STARTS_OF,
    TransferMatrix,
    all_correct,
    join_matrices,
    measure_transfer,
    other_classes,
)
from trs_explorer.evaluation.trust.checks import CHECKS
from trs_explorer.evaluation.trust.from_rates import all_warnings, check_model
from trs_explorer.files import Json
from trs_explorer.measure.saved_images import SavedImages
from trs_explorer.measure.session import (
    Measurement,
    Reporting,
    attack_function,
    attack_label,
    attack_options,
    code_of,
    describe,
    load_newest,
    open_session,
    saving,
)
from trs_explorer.measure.sharding import ProcessGroup
from trs_explorer.options import UsageError
from trs_explorer.runs import Run


@dataclass(frozen=True)
class TransferPlan:
    """What to measure.

    - attack: a name of the catalogue.
    - value: its eps, or its c if it has no radius.
    - steps: of an iterated attack.
    - limit: how many test images, the first ones.
    - seed: of the random starts and of the wanted classes.
    - targeted: whether each image is to be taken for a random other class.
    - protocol: which images count. "def6": Definition 6, those that both models classify correctly and that fool the surrogate;
      "all-right": those that all members classify correctly. Details: `evaluation.transfer.TransferMatrix`.
    - options: of the attack, where they are not the usual ones: {"norm": "l2"}, {"loss": "margin"}.
    - data_dir: folder with the data, if it is not where the run's config says.
    """

    attack: str = "pgd"
    value: float = 0.3
    steps: int = 50
    limit: int = 1000
    seed: int = 0
    targeted: bool = False
    protocol: str = "def6"
    options: Mapping[str, object] = field(default_factory=dict)
    data_dir: str = ""


def transfer_run(
    run: Run,
    plan: TransferPlan,
    *,
    device: torch.device | str = "cpu",
    group: ProcessGroup | None = None,
    reporting: Reporting | None = None,
    images: bool = False,
) -> Measurement:
    """Measure the transfer matrix of a run's newest checkpoint. Resumes what an interrupted measurement of the same has left.

    - device: where to compute.
    - group: the processes that share the images; by default this one alone.
    - reporting: progress and lines of text.
    - images: whether the measurement has the images, too. It cannot be resumed then, and keeps them all in memory.

    Raises: UsageError for images of protocol "all-right", of which there are several for each image and surrogate.
    """
    if images and STARTS_OF[plan.protocol] > 1:
        raise UsageError(f"images cannot be saved with protocol {plan.protocol}, which makes several of each: take def6")
    group, reporting = group or ProcessGroup(), reporting or Reporting()
    ensemble, loaded = load_newest(run, device)
    test = data.load_for(run, train=False, data_dir=plan.data_dir)
    places, which = torch.arange(min(plan.limit, len(test))), ""
    if plan.protocol == "all-right":
        places, which = all_correct(ensemble, test.images, test.y, limit=plan.limit), " that all members have right"
    x, y = test.images(places).to(device), test.y[places].to(device)
    ball = attack(plan.attack).has_radius
    options = attack_options(plan.attack, plan.options, steps=plan.steps)
    description = {
        **describe(loaded, test, f"first {len(x)} test images{which}", device, plan.seed),
        **code_of(run, [plan.attack]),
        "kind": "transfer",
        "attack": attack_label(plan.attack, options) if ball else plugins.short(plan.attack),
        "eps": plan.value if ball else None,
        "c": None if ball else plan.value,
        "norm": options.get("norm", "linf") if ball else None,
        "confidence": options.get("confidence"),
        "options": options,
        "protocol": plan.protocol,
        "targeted": plan.targeted,
        "starts": STARTS_OF[plan.protocol],
    }
    wanted = other_classes(y, DATA[run.config.data].classes, seed=plan.seed) if plan.targeted else None
    session = open_session(run, "transfer", ensemble, description, {}, len(x), group, resumable=not images)
    shard, members = session.shard, len(ensemble)
    n = shard.stop - shard.start
    done = stored_outcomes(session.stored, members, n)
    matrix: TransferMatrix | None = None
    kept = torch.empty(members, *x[shard].shape) if images else None

    def keep(surrogate: int, places: slice, x_adv: Tensor) -> None:
        assert kept is not None
        kept[surrogate, places] = x_adv.detach().cpu()

    def values() -> Json:
        return {"outcomes": matrix.outcomes} if matrix is not None and any(row[0] for row in matrix.outcomes) else {}

    if not images:
        session.values = values
    snapshots = measure_transfer(
        ensemble,
        x[shard],
        y[shard],
        attack=partial(attack_function(plan.attack), **{"eps" if ball else "c": plan.value}, **options),
        wanted=None if wanted is None else wanted[shard],
        protocol=plan.protocol,
        ensemble_column=True,
        seed=plan.seed,
        done=done,
        first=shard.start,
        keep=keep if images else None,
    )
    with saving([session], reporting.notify, resumed=bool(done)):
        for matrix in snapshots:
            reporting.progress(sum(len(row[0]) for row in matrix.outcomes), members * n)
            session.save()
    assert matrix is not None  # the first snapshot is an empty matrix
    parts = session.gather((matrix, kept))
    if not parts:
        return session.finished(None)
    warnings = check_model(ensemble, x[:100], y[:100])
    trust = [{"check": number, "name": CHECKS[number], "warnings": texts} for number, texts in warnings.items()]
    whole = join_matrices([part for part, _ in parts])
    result = {**description, **whole.to_json(), "trust": trust, "warnings": all_warnings(warnings)}
    adversarial = [theirs for _, theirs in parts if theirs is not None]
    if not adversarial:
        return session.finished(result)
    letters = torch.tensor([[["-01".index(letter) for letter in cell] for cell in row] for row in whole.outcomes])
    outcomes = {"eligible": letters > 0, "fooled": letters == 2, **({} if wanted is None else {"wanted": wanted})}
    return session.finished(result, SavedImages(x, y, torch.cat(adversarial, 1), outcomes, description))


def stored_outcomes(stored: Json, members: int, limit: int) -> list[list[str]]:
    """The letters of an interrupted matrix, a text for each cell, of `limit` images at most; empty if they are damaged."""
    rows = stored.get("outcomes")
    if not isinstance(rows, list) or [len(row) if isinstance(row, list) else 0 for row in rows] != [members + 1] * members:
        return []
    for row in rows:
        lengths = {len(cell) if isinstance(cell, str) and set(cell) <= set("-01") else limit + 1 for cell in row}
        if len(lengths) > 1 or max(lengths) > limit:
            return []
    return rows
