"""The smallest eps at which attacks fool a run's newest ensemble, image by image; resumable."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from trs_explorer import data
from trs_explorer.evaluation.accuracy import empty_rate, parse_rate
from trs_explorer.evaluation.smallest_eps import SmallestEps, join_smallest, measure_smallest_eps
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
    load_newest,
    open_session,
    saving,
)
from trs_explorer.measure.sharding import ProcessGroup
from trs_explorer.results import read_results
from trs_explorer.runs import Run
from trs_explorer.values import number, whole

KIND = "smallest-eps"
SAME = ("weights", "data_fingerprint", "seed", "device", "versions")  # of evaluations whose attacks are the same, to the bit
MOST_IMAGES = 10**9  # of a stored evaluation: all that it has


@dataclass(frozen=True)
class SmallestPlan:
    """What to measure.

    - attacks: names of attacks with a radius; at each radius the later ones attack what the earlier ones leave.
    - high: the largest radius, in [0, 1] pixels.
    - tolerance: how exactly the smallest eps is found.
    - limit, steps, restarts, seed, options, data_dir: as for `EvaluatePlan`.
    """

    attacks: Sequence[str]
    high: float
    tolerance: float
    limit: int = 1000
    steps: int = 50
    restarts: int = 1
    seed: int = 0
    options: Mapping[str, object] = field(default_factory=dict)
    data_dir: str = ""

    @property
    def norm(self) -> str:
        """The norm of the radii."""
        return str(self.options.get("norm", "linf"))

    def stored_options(self) -> Json:
        """How the attacks were made, as an evaluation's result says it (`EvaluatePlan.stored_options`)."""
        return {"limit": self.limit, "steps": self.steps, "restarts": self.restarts, **self.options}

    def arguments(self) -> dict[str, Json]:
        """The arguments of every attack, besides eps, by its label."""
        budget = {"steps": self.steps, "restarts": self.restarts}
        options = {name: attack_options(name, self.options, **budget) for name in self.attacks}
        return {attack_label(name, options[name]): {"name": name, "options": options[name]} for name in self.attacks}


def smallest_eps_run(
    run: Run,
    plan: SmallestPlan,
    *,
    device: torch.device | str = "cpu",
    group: ProcessGroup | None = None,
    reporting: Reporting | None = None,
) -> Measurement:
    """Search every image's smallest eps on a run's newest checkpoint. Resumes what an interrupted search of the same has left.

    Images that stored evaluations by the same attacks have left correct at a radius are not attacked there again: the attacks
    would be the same, to the bit. This saves most where --eps was evaluated before.

    - device: where to compute.
    - group: the processes that share the images; by default this one alone.
    - reporting: progress and lines of text.
    """
    group, reporting = group or ProcessGroup(), reporting or Reporting()
    ensemble, loaded = load_newest(run, device)
    test = data.load_for(run, train=False, data_dir=plan.data_dir)
    places = slice(0, min(plan.limit, len(test)))
    x, y = test.images(places).to(device), test.y[places].to(device)
    description = describe(loaded, test, f"first {len(x)} test images", device, plan.seed)
    attacks = plan.arguments()
    description |= {"kind": KIND, "attacks": list(attacks), "options": plan.stored_options()}
    description |= code_of(run, plan.attacks)
    request = {"high": plan.high, "tolerance": plan.tolerance}
    session = open_session(run, KIND, ensemble, description, request, len(x), group)
    shard = session.shard
    result = SmallestEps([], plan.high, plan.tolerance, plan.norm)
    done = _stored_part(session.stored, result, shard.stop - shard.start)

    def values() -> Json:
        return {"eps": [_or_none(eps) for eps in result.eps], "attempts": result.attempts} if result.eps else {}

    session.values = values
    so_far = measure_smallest_eps(
        ensemble,
        x[shard],
        y[shard],
        attacks=[partial(attack_function(one["name"]), **one["options"]) for one in attacks.values()],
        high=plan.high,
        tolerance=plan.tolerance,
        norm=plan.norm,
        seed=plan.seed,
        failed=_places_in(stored_failures(run, plan, description), shard),
        done=done,
        first=shard.start,
    )
    with saving([session], reporting.notify, resumed=done is not None):
        for result in so_far:
            reporting.progress(len(result.eps), shard.stop - shard.start)
            session.save()
    parts = session.gather(result)
    if not parts:
        return session.finished(None)
    warnings = check_model(ensemble, x[:100], y[:100])
    trust = [{"check": check, "name": CHECKS[check], "warnings": texts} for check, texts in warnings.items()]
    whole_result = join_smallest(parts).to_json()
    return session.finished({**description, **whole_result, "trust": trust, "warnings": all_warnings(warnings)})


def _stored_part(stored: Json, blank: SmallestEps, limit: int) -> SmallestEps | None:
    """What an interrupted search left: of `limit` images at most; None if there is nothing, or it is damaged."""
    eps, attempts = stored.get("eps"), whole(stored.get("attempts"))
    if not isinstance(eps, list) or not 0 < len(eps) <= limit or attempts is None:
        return None
    if not all(one is None or ((radius := number(one)) is not None and 0 <= radius <= blank.high) for one in eps):
        return None
    return replace(blank, eps=[math.inf if one is None else float(one) for one in eps], attempts=attempts)


def _or_none(eps: float) -> float | None:
    return eps if math.isfinite(eps) else None


def stored_failures(run: Run, plan: SmallestPlan, description: Json) -> dict[float, set[int]]:
    """By radius, the test images that stored evaluations have found correct under all the attacks of a plan.

    Used are evaluations of the same weights, images, seed, options, device and versions as the description says.
    """
    outcomes: dict[float, dict[str, set[int]]] = {}
    labels, options = plan.arguments(), plan.stored_options()
    for stored in read_results(run, "evaluate"):
        theirs = stored.get("options")
        same = all(stored.get(name) == description[name] for name in SAME)
        if not same or not isinstance(theirs, dict) or {**theirs, "limit": plan.limit} != options:
            continue
        rates = stored.get("rates")
        for rate in rates if isinstance(rates, list) else []:
            label, eps = (rate.get("name"), number(rate.get("eps"))) if isinstance(rate, dict) else (None, None)
            if not isinstance(label, str) or label not in labels or eps is None or rate.get("norm", "linf") != plan.norm:
                continue
            parsed = parse_rate(rate, empty_rate(label, eps, norm=plan.norm), MOST_IMAGES)
            correct = {image for image, ok in enumerate(parsed.outcomes) if ok} if parsed is not None else set()
            outcomes.setdefault(eps, {}).setdefault(label, set()).update(correct)
    return {eps: set.intersection(*by_label.values()) for eps, by_label in outcomes.items() if len(by_label) == len(labels)}


def _places_in(failures: Mapping[float, set[int]], shard: slice) -> dict[float, set[int]]:
    """The images of a share, counted from its first."""
    return {eps: {image - shard.start for image in images if image >= shard.start} for eps, images in failures.items()}
