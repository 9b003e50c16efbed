"""Clean and robust accuracy of a run's newest ensemble, resumable, with the paper's figures and the sanity checks."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress

import torch
from torch import Tensor

from trs_explorer import data, shipped
from trs_explorer.attack_catalogue import attack
from trs_explorer.config import same_split
from trs_explorer.evaluation.accuracy import Attack, Rate, join_rates, worst_of
from trs_explorer.evaluation.table1 import paper
from trs_explorer.evaluation.table1.columns import MIN_FOR_WORST
from trs_explorer.evaluation.trust.checks import CHECKS
from trs_explorer.evaluation.trust.few_images import affordable
from trs_explorer.evaluation.trust.from_attacks import THOROUGH_N, cheap_checks, thorough_checks
from trs_explorer.evaluation.trust.from_rates import CheckWarnings, all_warnings, check_rates, merge_warnings
from trs_explorer.files import Json
from trs_explorer.measure.rates import measure_rates
from trs_explorer.measure.saved_images import SavedImages
from trs_explorer.measure.session import (
    Measurement,
    Progress,
    Reporting,
    Session,
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
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.stored import load_ensemble
from trs_explorer.runs import Run, RunError


@dataclass(frozen=True)
class EvaluatePlan:
    """What to measure.

    - attacks: names of the catalogue, each with its eps or c.
    - limit: how many test images, the first ones.
    - steps, restarts: of the attacks that have them.
    - seed: of the random starts.
    - trust: whether to run all sanity checks, also those that attack again.
    - left_out: attacks that need more classes than the data set has.
    - options: of the attacks, where they are not the usual ones: {"norm": "l2"}, {"loss": "margin"}.
    - data_dir: folder with the data, if it is not where the run's config says.
    """

    attacks: Sequence[tuple[str, float]]
    limit: int = 1000
    steps: int = 50
    restarts: int = 1
    seed: int = 0
    trust: bool = False
    left_out: tuple[str, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)
    data_dir: str = ""

    def stored_options(self) -> Json:
        """What a result says of how the attacks were made; unusual options only, so that older results stay comparable."""
        return {"limit": self.limit, "steps": self.steps, "restarts": self.restarts, **self.options}

    def labelled_attacks(self) -> list[Attack]:
        """The attacks with their labels and arguments, as `accuracy.measure` takes them."""
        return [self._labelled(name, value) for name, value in self.attacks]

    def _labelled(self, name: str, value: float) -> Attack:
        options = attack_options(name, self.options, steps=self.steps, restarts=self.restarts)
        if not attack(name).has_radius:  # only whether it fools counts, not how near the image is
            return name, attack_function(name), {"c": value, "early_stop": True, **options}
        return attack_label(name, options), attack_function(name), {"eps": value, **options}


@dataclass(frozen=True)
class StoredRates:
    """Rates of the same measurement that are stored already, by position as in `accuracy.measure`.

    weights, data: SHA-256 of the weights and of the test split that they were measured on.
    """

    weights: str
    data: str
    rates: Mapping[str, object]


def evaluate_run(
    run: Run,
    plan: EvaluatePlan,
    *,
    device: torch.device | str = "cpu",
    group: ProcessGroup | None = None,
    reporting: Reporting | None = None,
    stored: StoredRates | None = None,
    images: bool = False,
    announcement: str = "",
) -> Measurement:
    """Measure a run's newest checkpoint by the plan. Resumes what an interrupted evaluation of the same has left.

    - device: where to compute.
    - group: the processes that share the images; by default this one alone.
    - reporting: progress and lines of text.
    - stored: rates not to be measured again, if the newest weights are still those; for one process only.
    - images: whether the measurement has the images, too. It cannot be resumed then, and keeps them all in memory.
    - announcement: a line for the user, once the run and its data could be loaded.
    """
    group, reporting = group or ProcessGroup(), reporting or Reporting()
    ensemble, loaded = load_newest(run, device)
    test = data.load_for(run, train=False, data_dir=plan.data_dir)
    places = slice(0, min(plan.limit, len(test)))
    x, y = test.images(places).to(device), test.y[places].to(device)
    description = describe(loaded, test, f"first {len(x)} test images", device, plan.seed)
    description |= {"kind": "evaluate", "options": plan.stored_options()}
    description |= code_of(run, [name for name, _ in plan.attacks])
    request = {"attacks": plan.attacks}
    session = open_session(run, "evaluate", ensemble, description, request, len(x), group, resumable=not images)
    same = stored is not None and (stored.weights, stored.data) == (loaded["weights"], test.fingerprint)
    reusable = stored.rates if stored is not None and same and not images else {}
    if announcement:
        reporting.notify(announcement)
    with saving([session], reporting.notify, resumed=bool(session.stored)):
        shard, attacks = session.shard, plan.labelled_attacks()
        kept = torch.empty(len(plan.attacks), *x[shard].shape) if images else None
        rates = measure_rates(session, x[shard], y[shard], attacks, plan.seed, reusable, reporting.progress, kept)
        parts = session.gather((rates, kept))
        if not parts:
            return session.finished(None)
        rates = [join_rates(same) for same in zip(*(part for part, _ in parts), strict=True)]
        warnings = _warnings(session, x, y, rates, plan, reporting.progress)
    figures = _paper_figures(run, loaded["checkpoint"], plan)
    rows = [*zip(rates, figures, strict=True), *((rate, None) for rate in _worst(rates))]
    result = {
        **description,
        "rates": [{**rate.to_json(), "paper": figure} for rate, figure in rows],
        "trust": [{"check": number, "name": name, "warnings": warnings.get(number)} for number, name in CHECKS.items()],
        "warnings": all_warnings(warnings),
    }
    adversarial = [theirs for _, theirs in parts if theirs is not None]
    return session.finished(result, _images(x, y, torch.cat(adversarial, 1), rates, description) if adversarial else None)


def _images(x: Tensor, y: Tensor, adversarial: Tensor, rates: Sequence[Rate], description: Json) -> SavedImages:
    """The images with the outcomes of the rates: the clean one, and one for each attack."""
    correct = torch.tensor([rate.outcomes for rate in rates]).bool().view(len(rates), len(x))
    outcomes = {"clean_correct": correct[0], "correct": correct[1:]}
    attacks = [{"name": rate.name, "eps": rate.eps, "c": rate.c, "norm": rate.norm} for rate in rates[1:]]
    return SavedImages(x, y, adversarial, outcomes, {**description, "attacks": attacks})


def _warnings(
    session: Session, x: Tensor, y: Tensor, rates: Sequence[Rate], plan: EvaluatePlan, progress: Progress
) -> CheckWarnings:
    """The warnings of the cheap sanity checks, of all if the plan says so.

    Attacks made for transfer need not be strong on this model, and look at transformed copies of their images: for them the
    checks are only that they stay in the ball and give back the original.
    """
    direct = [not attack(name).made_for_transfer for name, _ in plan.attacks]
    attacks = list(compress(plan.labelled_attacks(), direct))
    others = check_rates(list(compress(rates[1:], [not each for each in direct])))
    rates = [rates[0], *compress(rates[1:], direct)]

    def notify(text: str) -> None:
        progress(0, None, f"checks: {text}")

    progress(0, None, "checks")
    warnings = merge_warnings(
        {14: [f"{name} was left out: it needs more classes" for name in plan.left_out]},
        {number: others[number] for number in (11, 17) if number in others},
        cheap_checks(session.ensemble, x, y, rates=rates, attacks=attacks, seed=plan.seed, notify=notify),
    )
    if not plan.trust:
        return warnings
    few = affordable(session.ensemble, x, THOROUGH_N)
    thorough = thorough_checks(
        session.ensemble,
        x[few],
        y[few],
        rates=rates,
        attacks=attacks,
        others=_other_ensembles(session.run, session.description["weights"], x.device),
        steps=plan.steps,
        seed=plan.seed,
        notify=notify,
    )
    return merge_warnings(warnings, thorough)


def _other_ensembles(run: Run, weights: str, device: torch.device) -> list[tuple[str, Ensemble]]:
    """A shipped run on the same data with other weights, the standard ensemble first; empty if there is none."""
    same = [other for other in shipped.shipped_runs() if same_split(other.config, run.config, "test")]
    for other in sorted(same, key=lambda other: other.config.method != "standard"):
        with contextlib.suppress(RunError):  # the user did not name this run: a damaged one is passed over
            ensemble, theirs = load_ensemble(other, device=device)
            if theirs != weights:
                return [(other.name, ensemble)]
    return []


def _paper_figures(run: Run, checkpoint: str, plan: EvaluatePlan) -> list[float | None]:
    """The paper's figure for the clean rate and every attack; None where the measurement is not the paper's."""
    if plan.options or not paper.is_comparable(run.config, checkpoint, plan.steps, plan.restarts):
        return [None] * (1 + len(plan.attacks))
    return [None, *(paper.figure(run.config.data, name, value, run.config.method) for name, value in plan.attacks)]


def _worst(rates: Sequence[Rate]) -> list[Rate]:
    """For every radius of at least MIN_FOR_WORST attacks, the accuracy under the worst of them, image by image."""
    by_eps: dict[float, list[Rate]] = {}
    for rate in rates:
        if rate.eps:
            by_eps.setdefault(rate.eps, []).append(rate)
    return [worst_of(f"worst of {len(same)}", same) for _, same in sorted(by_eps.items()) if len(same) >= MIN_FOR_WORST]
