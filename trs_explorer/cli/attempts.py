"""The black-box evaluation of several runs by the same images, from the attempts to what is stored."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import typer

from trs_explorer.catalogue import ATTACKS, load
from trs_explorer.cli.measured import GOES_ON, INTERRUPTED
from trs_explorer.options import UsageError
from trs_explorer.results import Unfinished
from trs_explorer.runs import Run

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from trs_explorer.cli.progress import Advance
    from trs_explorer.evaluation.accuracy import Rate
    from trs_explorer.evaluation.blackbox import Attempt
    from trs_explorer.evaluation.shares import Processes

WHITE_BOX = "white box"


@dataclass
class Target:
    """An ensemble that the attacker does not know, and its rates, by radius and attempt."""

    ensemble: "nn.Module"
    said: dict
    kept: Unfinished
    rates: dict[str, "Rate"] = field(default_factory=dict)

    def keep(self, *, now: bool = False) -> bool:
        """Write down the rates for a continuation; False where that is not possible."""
        return self.kept.keep({key: rate.to_json() for key, rate in self.rates.items()}, now=now)


def attempted(
    chosen: Sequence[Run],
    makers: Sequence[Run],
    kinds: Sequence[str],
    radii: Sequence[float],
    *,
    limit: int,
    seed: int,
    device: "torch.device",
    team: "Processes",
) -> list[dict]:
    """What is stored of each chosen run under images made on the makers; nothing in every process but the first."""
    from trs_explorer import data
    from trs_explorer.cli.progress import progress
    from trs_explorer.evaluation.accuracy import joined
    from trs_explorer.models.stored import load_ensemble

    config = chosen[0].config
    test = data.load(config.data, train=False, data_dir=config.data_dir)
    places = slice(0, min(limit, len(test)))
    x, y = test.images(places).to(device), test.y[places].to(device)
    share = team.share(len(x))
    loaded = {run.name: load_ensemble(run, device=device) for run in makers}
    made_on = [{"name": run.name, "members": run.config.members, "weights": loaded[run.name][1]} for run in makers]
    groups = {(eps, kind): _attempts(kind, list(loaded), eps) for eps in radii for kind in kinds}
    attempts = [attempt for group in groups.values() for attempt in group]
    targets = [_target(run, attempts, made_on, len(x), share, seed, device) for run in chosen]
    if any(target.rates for target in targets):
        typer.echo(GOES_ON, err=True)
    try:
        with progress("black box", quiet=team.rank > 0) as advance:
            surrogates = {name: ensemble for name, (ensemble, _) in loaded.items()}
            _measure(targets, surrogates, attempts, x[share], y[share], seed, share.start, advance)
    except KeyboardInterrupt:
        written = [target.keep(now=True) for target in targets]
        if all(written):
            typer.echo(INTERRUPTED, err=True)
        raise
    results = []
    for target in targets:
        parts = team.gather(target.rates)
        if parts:
            results.append({**target.said, **_summary(groups, {key: joined([part[key] for part in parts]) for key in parts[0]})})
        target.kept.forget()
    return results


def _attempts(kind: str, surrogates: Sequence[str], eps: float) -> "list[Attempt]":
    """The paper's attempts for pgd; of another attack one start on each surrogate."""
    from trs_explorer.evaluation.blackbox import STEPS, Attempt, protocol

    if kind == "pgd":
        return protocol(surrogates, eps)
    function = load(ATTACKS[kind].function)
    steps = {"steps": STEPS} if "steps" in inspect.signature(function).parameters else {}
    return [Attempt(surrogate, kind, partial(function, **steps), eps) for surrogate in surrogates]


def _target(
    run: Run, attempts: "list[Attempt]", made_on: list[dict], n: int, share: slice, seed: int, device: "torch.device"
) -> Target:
    """A run to be evaluated, with what an interrupted evaluation had found."""
    from trs_explorer.cli.results import about
    from trs_explorer.evaluation.accuracy import restored
    from trs_explorer.models.stored import load_ensemble

    ensemble, weights = load_ensemble(run, device=device)
    if weights in {maker["weights"] for maker in made_on}:
        raise UsageError(f"{run.name} is one of the surrogates: that is no black box")
    said = {**about(run, weights, n, device, seed), "kind": "blackbox", "surrogates": made_on}
    asked = {**said, "attempts": [_key(attempt) for attempt in attempts], "share": [share.start, share.stop]}
    target = Target(ensemble, said, Unfinished(run, "blackbox", asked))
    for key, stored in target.kept.found().items():
        rate = restored(stored)
        if rate is not None and rate.n == share.stop - share.start:
            target.rates[key] = rate
    return target


def _key(attempt: "Attempt") -> str:
    return f"{attempt.eps:g}, {attempt.name}"


def _measure(
    targets: list[Target],
    surrogates: "Mapping[str, nn.Module]",
    attempts: "list[Attempt]",
    x: "Tensor",
    y: "Tensor",
    seed: int,
    first: int,
    advance: "Advance",
) -> None:
    """Every attempt, for those targets that lack it, and PGD-50 on each target itself."""
    from trs_explorer.attacks.pgd import pgd
    from trs_explorer.evaluation.accuracy import measure
    from trs_explorer.evaluation.blackbox import STEPS, measure_attempt

    radii = dict.fromkeys(attempt.eps for attempt in attempts)
    total = len(x) * (sum(len(surrogates[attempt.surrogate]) for attempt in attempts))
    done = 0
    for attempt in attempts:
        surrogate, key = surrogates[attempt.surrogate], _key(attempt)
        cost, doing = len(surrogate), f"eps {key}"
        without = {str(place): target.ensemble for place, target in enumerate(targets) if key not in target.rates}
        if without:
            for rates in measure_attempt(attempt, surrogate, without, x, y, seed=seed, first=first):
                advance(done + cost * next(iter(rates.values())).n, total, doing)
        done += cost * len(x)
        for place in without:
            targets[int(place)].rates[key] = rates[place]
        for target in targets:
            target.keep()
    for target in targets:
        missing = [eps for eps in radii if f"{eps:g}, {WHITE_BOX}" not in target.rates]
        attacks = [(f"pgd-{STEPS}", pgd, {"eps": eps, "steps": STEPS}) for eps in missing]
        for position, rate in measure(target.ensemble, x, y, attacks=attacks, seed=seed, first=first):
            advance(total, total, f"{target.said['run']}, {WHITE_BOX}")
            if position and rate.n == len(x):
                target.rates[f"{missing[position - 1]:g}, {WHITE_BOX}"] = rate


def _summary(groups: "dict[tuple[float, str], list[Attempt]]", rates: "dict[str, Rate]") -> dict:
    """A row an attack and radius, then one of all attacks together where there are several; and what is suspicious."""
    from trs_explorer.evaluation.accuracy import worst_of
    from trs_explorer.evaluation.blackbox import per_attempt
    from trs_explorer.evaluation.trust import CHECKS, SLACK

    together: dict[float, list[Attempt]] = {}
    for (eps, _), group in groups.items():
        together.setdefault(eps, []).extend(group)
    several = len(groups) > len(together)
    named = [(kind, eps, group) for (eps, kind), group in groups.items()]
    named += [("all", eps, group) for eps, group in together.items() if several]
    rows, warnings = [], []
    for kind, eps, group in sorted(named, key=lambda row: row[1]):
        each, white = [rates[_key(attempt)] for attempt in group], rates[f"{eps:g}, {WHITE_BOX}"]
        robust = worst_of(f"every one of {len(group)} attempts", each)
        share, low, high = per_attempt(each)
        rows.append(
            {
                "attack": kind,
                "attempts": len(group),
                "robust": robust.to_json(),
                "per_attempt": {"share": share, "low": low, "high": high},
                "white_box": white.to_json(),
                "each": [rate.to_json() for rate in each],
            }
        )
        if (kind == "all" or not several) and robust.correct < white.correct - SLACK * white.n:
            warnings.append(
                f"{kind} on other ensembles leaves {robust.correct} of {robust.n} right at eps {eps:g}, PGD on the run itself "
                f"{white.correct}: its gradients are masked, and its white-box figures too high"
            )
    return {"rows": rows, "trust": [{"check": 4, "name": CHECKS[4], "warnings": warnings}], "warnings": warnings}
