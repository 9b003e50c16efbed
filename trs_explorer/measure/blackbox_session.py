"""Black-box robust accuracy of several runs under the same adversarial images, made on surrogates; resumable."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from trs_explorer import data, plugins
from trs_explorer.attacks.pgd import pgd
from trs_explorer.data import Dataset
from trs_explorer.evaluation import blackbox
from trs_explorer.evaluation.accuracy import Rate, empty_rate, join_rates, measure, parse_rate, worst_of
from trs_explorer.evaluation.blackbox import Attempt, measure_attempt, per_attempt
from trs_explorer.evaluation.trust.checks import CHECKS
from trs_explorer.evaluation.trust.from_attacks import is_stronger
from trs_explorer.files import Json
from trs_explorer.measure.session import (
    Measurement,
    Progress,
    Reporting,
    Session,
    attack_function,
    attack_options,
    code_of,
    describe,
    load_newest,
    open_session,
    saving,
)
from trs_explorer.measure.sharding import ProcessGroup
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.options import UsageError
from trs_explorer.runs import Run

WHITE_BOX_STEPS = 50


@dataclass(frozen=True)
class BlackboxPlan:
    """What to measure.

    - attacks: names of the catalogue; pgd is the paper's protocol.
    - radii: eps of the attacks.
    - norm: of the radii.
    - limit: how many test images, the first ones.
    - seed: of the random starts.
    - data_dir: folder with the data, if it is not where the first run's config says.
    - options: of the attacks besides the norm, where they are not the usual ones: {"loss": "margin"}. A loss takes the place of
      both losses of the paper's protocol.
    """

    attacks: Sequence[str] = ("pgd",)
    radii: Sequence[float] = (0.1,)
    norm: str = "linf"
    limit: int = 1000
    seed: int = 0
    data_dir: str = ""
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass
class Target:
    """A run under attack, and its rates so far, by attempt and radius."""

    session: Session
    rates: dict[str, Rate] = field(default_factory=dict)

    def is_complete(self, key: str, n: int) -> bool:
        """Whether a rate is of all n images."""
        return key in self.rates and self.rates[key].n == n


def shared_test_split(runs: Sequence[Run], data_dir: str = "") -> Dataset:
    """The test split that all runs have. Raises UsageError if they have different images or labels."""
    test = data.load_for(runs[0], train=False, data_dir=data_dir)
    for run in runs[1:]:
        data.check_same(run, test, train=False, folder=data.folder_of(runs[0], data_dir))
    return test


def blackbox_runs(
    runs: Sequence[Run],
    surrogates: Sequence[Run],
    plan: BlackboxPlan,
    *,
    test: Dataset | None = None,
    device: torch.device | str = "cpu",
    group: ProcessGroup | None = None,
    reporting: Reporting | None = None,
) -> list[Measurement]:
    """Measure every run under the images made on the surrogates. Resumes what an interrupted measurement of the same has left.

    - surrogates: runs on which the images are made, such as `training.surrogates.standard_surrogates`.
    - test: `shared_test_split`, if it is loaded already.
    - device: where to compute.
    - group: the processes that share the images; by default this one alone.
    - reporting: progress and lines of text.

    Raises: UsageError if a run is one of the surrogates.
    """
    group, reporting = group or ProcessGroup(), reporting or Reporting()
    test = test or shared_test_split(runs, plan.data_dir)
    places = slice(0, min(plan.limit, len(test)))
    x, y = test.images(places).to(device), test.y[places].to(device)
    ensembles, made_on = {}, []
    for run in surrogates:
        ensembles[run.name], loaded = load_newest(run, device)
        made_on.append({"name": run.name, "members": run.config.members, "weights": loaded["weights"]})
    attempts = {
        (eps, plugins.short(name)): _attempts(name, list(ensembles), eps, plan) for eps in plan.radii for name in plan.attacks
    }
    every = [attempt for same in attempts.values() for attempt in same]
    targets = [_target(run, every, made_on, test, len(x), plan, device, group) for run in runs]
    sessions = [target.session for target in targets]
    with saving(sessions, reporting.notify, resumed=any(target.rates for target in targets)):
        shard = group.shard(len(x))
        _measure(targets, ensembles, every, x[shard], y[shard], plan.seed, shard.start, reporting.progress)
    measurements = []
    for target in targets:
        parts = target.session.gather(target.rates)
        rates = {key: join_rates([part[key] for part in parts]) for key in parts[0]} if parts else {}
        result = {**target.session.description, **_summary(attempts, rates)} if parts else None
        measurements.append(target.session.finished(result))
    return measurements


def _attempts(name: str, surrogates: Sequence[str], eps: float, plan: BlackboxPlan) -> list[Attempt]:
    """The attempts of an attack at one radius: the paper's protocol for pgd; of another attack one start on each surrogate."""
    if name == "pgd":
        options = {key: value for key, value in plan.options.items() if key != "loss"}
        losses = (str(plan.options["loss"]),) if "loss" in plan.options else ("ce", "margin")
        return blackbox.protocol(surrogates, eps, norm=plan.norm, losses=losses, options=options)
    attack = partial(attack_function(name), **attack_options(name, plan.options, steps=blackbox.STEPS))
    return [Attempt(surrogate, plugins.short(name), attack, eps, norm=plan.norm) for surrogate in surrogates]


def _target(
    run: Run,
    attempts: Sequence[Attempt],
    made_on: list[Json],
    test: Dataset,
    n: int,
    plan: BlackboxPlan,
    device: torch.device | str,
    group: ProcessGroup,
) -> Target:
    """A run under attack, with the rates that an interrupted measurement left."""
    ensemble, loaded = load_newest(run, device)
    if loaded["weights"] in {surrogate["weights"] for surrogate in made_on}:
        twin = next(surrogate["name"] for surrogate in made_on if surrogate["weights"] == loaded["weights"])
        same = "" if twin == run.name else f" (it has the weights of {twin})"
        raise UsageError(f"{run.name} is one of its own surrogates{same}: that is no black box. Name other runs as --surrogates")
    description = describe(loaded, test, f"first {n} test images", device, plan.seed)
    description |= {"kind": "blackbox", "surrogates": made_on, "norm": plan.norm}
    description |= {"options": dict(plan.options)} if plan.options else {}
    description |= code_of(run, plan.attacks)
    request = {"attempts": [_key(attempt) for attempt in attempts]}
    session = open_session(run, "blackbox", ensemble, description, request, n, group)
    target = Target(session)
    session.values = lambda: {key: rate.to_json() for key, rate in target.rates.items()}
    blanks = {_key(attempt): empty_rate(attempt.name, attempt.eps, norm=plan.norm) for attempt in attempts}
    white_box = f"pgd-{WHITE_BOX_STEPS}"
    blanks |= {_white_box_key(eps): empty_rate(white_box, eps, norm=plan.norm) for eps in {one.eps for one in attempts}}
    for key, blank in blanks.items():
        rate = parse_rate(session.stored.get(key), blank, session.shard.stop - session.shard.start)
        if rate is not None:
            target.rates[key] = rate
    return target


def _key(attempt: Attempt) -> str:
    return f"{attempt.eps!r}, {attempt.name}"


def _white_box_key(eps: float) -> str:
    return f"{eps!r}, white box"


def _measure(
    targets: Sequence[Target],
    surrogates: Mapping[str, Ensemble],
    attempts: Sequence[Attempt],
    x: Tensor,
    y: Tensor,
    seed: int,
    first: int,
    progress: Progress,
) -> None:
    """Make every attempt, for those targets that lack its rate; then attack each target itself with PGD, the white box."""
    total = len(x) * sum(len(surrogates[attempt.surrogate]) for attempt in attempts)
    done = 0
    for attempt in attempts:
        surrogate, key = surrogates[attempt.surrogate], _key(attempt)
        lacking = {str(place): target for place, target in enumerate(targets) if not target.is_complete(key, len(x))}
        if lacking:
            ensembles = {place: target.session.ensemble for place, target in lacking.items()}
            stored = {place: target.rates[key] for place, target in lacking.items() if key in target.rates}
            for rates in measure_attempt(attempt, surrogate, ensembles, x, y, seed=seed, first=first, done=stored):
                for place, target in lacking.items():
                    target.rates[key] = rates[place]
                    target.session.save()
                tried = next(iter(rates.values())).n
                progress(done + len(surrogate) * tried, total, f"ε {attempt.eps:g}, {attempt.name}")
        done += len(surrogate) * len(x)
    for target in targets:
        missing = [eps for eps in dict.fromkeys(a.eps for a in attempts) if not target.is_complete(_white_box_key(eps), len(x))]
        options = {"steps": WHITE_BOX_STEPS, "norm": attempts[0].norm}
        attacks = [(f"pgd-{WHITE_BOX_STEPS}", pgd, {"eps": eps, **options}) for eps in missing]
        rates_so_far = measure(target.session.ensemble, x, y, attacks=attacks, seed=seed, first=first) if missing else ()
        for position, rate in rates_so_far:
            progress(total, total, f"{target.session.run.name}, white box")
            if position:
                target.rates[_white_box_key(missing[position - 1])] = rate
                target.session.save()


def _summary(attempts: Mapping[tuple[float, str], Sequence[Attempt]], rates: Mapping[str, Rate]) -> Json:
    """A row for each attack and radius, one of all attacks together where there are several; and the warnings."""
    by_eps: dict[float, list[Attempt]] = {}
    for (eps, _), same in attempts.items():
        by_eps.setdefault(eps, []).extend(same)
    several = len(attempts) > len(by_eps)
    groups = [(name, eps, list(same)) for (eps, name), same in attempts.items()]
    groups += [("all", eps, same) for eps, same in by_eps.items() if several]
    rows, warnings = [], []
    for name, eps, same in sorted(groups, key=lambda one: one[1]):
        each, white_box = [rates[_key(attempt)] for attempt in same], rates[_white_box_key(eps)]
        robust = worst_of(f"every one of {len(same)} attempts", each)
        share, low, high = per_attempt(each)
        rows.append(
            {
                "attack": name,
                "attempts": len(same),
                "robust": robust.to_json(),
                "per_attempt": {"share": share, "low": low, "high": high},
                "white_box": white_box.to_json(),
                "each": [rate.to_json() for rate in each],
            }
        )
        fewer = is_stronger(torch.tensor(robust.outcomes), torch.tensor(white_box.outcomes))
        if (name == "all" or not several) and fewer:
            warnings.append(
                f"{name} on other ensembles leaves {robust.correct} of {robust.n} right at ε {eps:g}, PGD on the run itself "
                f"{white_box.correct}: its gradients are masked, and its white-box figures too high"
            )
    return {"rows": rows, "trust": [{"check": 4, "name": CHECKS[4], "warnings": warnings}], "warnings": warnings}
