"""The black-box evaluation of several runs by the same images, from the attempts to what is stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from trs_explorer.catalogue import ATTACKS, load
from trs_explorer.cli.evaluations import GOES_ON, STOPPED, about, accepted, loaded
from trs_explorer.cli.flags import say
from trs_explorer.options import UsageError
from trs_explorer.results import Unfinished
from trs_explorer.runs import Run

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from trs_explorer.cli.progress import Advance
    from trs_explorer.data import Dataset
    from trs_explorer.evaluation.accuracy import Rate
    from trs_explorer.evaluation.blackbox import Attempt
    from trs_explorer.evaluation.shares import Processes

WHITE_BOX_STEPS = 50


@dataclass
class Target:
    """An ensemble that the attacker does not know, and its rates, by radius and attempt."""

    ensemble: "nn.Module"
    said: dict
    kept: Unfinished
    rates: dict[str, "Rate"] = field(default_factory=dict)

    def keep(self, *, now: bool = False) -> None:
        """Write down the rates for a continuation."""
        self.kept.keep({key: rate.to_json() for key, rate in self.rates.items()}, now=now)


def attempted(
    chosen: Sequence[Run],
    makers: Sequence[Run],
    test: "Dataset",
    kinds: Sequence[str],
    radii: Sequence[float],
    *,
    norm: str,
    limit: int,
    seed: int,
    device: "torch.device",
    team: "Processes",
) -> tuple[list[dict], list[Unfinished]]:
    """What is stored of each chosen run under images made on the makers, and what to forget once it is there.

    There are no results in any process but the first. test: the test split of all of them.
    """
    from trs_explorer.cli.progress import progress
    from trs_explorer.evaluation.accuracy import joined

    places = slice(0, min(limit, len(test)))
    x, y = test.images(places).to(device), test.y[places].to(device)
    share = team.share(len(x))
    surrogates, made_on = {}, []
    for run in makers:
        surrogates[run.name], named = loaded(run, device)
        made_on.append({"name": run.name, "members": run.config.members, "weights": named["weights"]})
    groups = {(eps, kind): _attempts(kind, list(surrogates), eps, norm) for eps in radii for kind in kinds}
    attempts = [attempt for group in groups.values() for attempt in group]
    targets = [_target(run, attempts, made_on, test, len(x), share, seed, device) for run in chosen]
    if team.rank == 0 and any(target.rates for target in targets):
        say(GOES_ON)
    try:
        with progress("black box", quiet=team.rank > 0) as advance:
            _measure(targets, surrogates, attempts, x[share], y[share], seed, share.start, advance)
    except KeyboardInterrupt:
        for target in targets:
            target.keep(now=True)
        if team.rank == 0 and all(target.kept.kept for target in targets):
            say(STOPPED)
        raise
    for target in targets:
        target.keep(now=True)
    results = []
    for target in targets:
        parts = team.gather(target.said, target.rates)
        if parts:
            rates = {key: joined([part[key] for part in parts]) for key in parts[0]}
            results.append({**target.said, **_summary(groups, rates)})
    return results, [target.kept for target in targets]


def _attempts(kind: str, surrogates: Sequence[str], eps: float, norm: str) -> "list[Attempt]":
    """The paper's attempts for pgd; of another attack one start on each surrogate."""
    from trs_explorer.evaluation.blackbox import STEPS, Attempt, protocol

    if kind == "pgd":
        return protocol(surrogates, eps, norm=norm)
    function = load(ATTACKS[kind].function)
    attack = partial(function, **accepted(function, steps=STEPS))
    return [Attempt(surrogate, kind, attack, eps, norm=norm) for surrogate in surrogates]


def _target(
    run: Run,
    attempts: "list[Attempt]",
    made_on: list[dict],
    test: "Dataset",
    n: int,
    share: slice,
    seed: int,
    device: "torch.device",
) -> Target:
    """A run to be evaluated, with what an interrupted evaluation had found."""
    from trs_explorer.evaluation.accuracy import nothing_yet, restored

    ensemble, named = loaded(run, device)
    if named["weights"] in {maker["weights"] for maker in made_on}:
        raise UsageError(f"{run.name} is one of the surrogates: that is no black box")
    said = about(named, test, f"first {n} test images", device, seed)
    norm = attempts[0].norm
    said |= {"kind": "blackbox", "surrogates": made_on, "norm": norm}
    asked = {**said, "attempts": [_key(attempt) for attempt in attempts], "share": [share.start, share.stop]}
    target = Target(ensemble, said, Unfinished(run, "blackbox", asked))
    stored = target.kept.found()
    blanks = {_key(attempt): nothing_yet(attempt.name, attempt.eps, norm=norm) for attempt in attempts}
    white = f"pgd-{WHITE_BOX_STEPS}"
    blanks |= {_white_box(eps): nothing_yet(white, eps, norm=norm) for eps in {attempt.eps for attempt in attempts}}
    for key, blank in blanks.items():
        rate = restored(stored.get(key), blank, share.stop - share.start)
        if rate is not None:
            target.rates[key] = rate
    return target


def _key(attempt: "Attempt") -> str:
    return f"{attempt.eps!r}, {attempt.name}"


def _white_box(eps: float) -> str:
    return f"{eps!r}, white box"


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
    from trs_explorer.evaluation.blackbox import measure_attempt

    total = len(x) * sum(len(surrogates[attempt.surrogate]) for attempt in attempts)
    done = 0
    for attempt in attempts:
        surrogate, key = surrogates[attempt.surrogate], _key(attempt)
        lacking = {str(place): target for place, target in enumerate(targets) if not _whole(target, key, len(x))}
        if lacking:
            without = {place: target.ensemble for place, target in lacking.items()}
            before = {place: target.rates[key] for place, target in lacking.items() if key in target.rates}
            for rates in measure_attempt(attempt, surrogate, without, x, y, seed=seed, first=first, done=before):
                for place, target in lacking.items():
                    target.rates[key] = rates[place]
                    target.keep()
                advance(done + len(surrogate) * rates[place].n, total, f"eps {attempt.eps:g}, {attempt.name}")
        done += len(surrogate) * len(x)
    for target in targets:
        missing = [eps for eps in dict.fromkeys(a.eps for a in attempts) if not _whole(target, _white_box(eps), len(x))]
        own = {"steps": WHITE_BOX_STEPS, "norm": attempts[0].norm}
        attacks = [(f"pgd-{WHITE_BOX_STEPS}", pgd, {"eps": eps, **own}) for eps in missing]
        for position, rate in measure(target.ensemble, x, y, attacks=attacks, seed=seed, first=first) if missing else ():
            advance(total, total, f"{target.said['run']}, white box")
            if position:
                target.rates[_white_box(missing[position - 1])] = rate
                target.keep()


def _whole(target: Target, key: str, n: int) -> bool:
    """Whether a rate is of all images."""
    return key in target.rates and target.rates[key].n == n


def _summary(groups: "dict[tuple[float, str], list[Attempt]]", rates: "dict[str, Rate]") -> dict:
    """A row an attack and radius, then one of all attacks together where there are several; and what is suspicious."""
    import torch

    from trs_explorer.evaluation.accuracy import worst_of
    from trs_explorer.evaluation.blackbox import per_attempt
    from trs_explorer.evaluation.checks import CHECKS
    from trs_explorer.evaluation.trials import beats

    together: dict[float, list[Attempt]] = {}
    for (eps, _), group in groups.items():
        together.setdefault(eps, []).extend(group)
    several = len(groups) > len(together)
    named = [(kind, eps, group) for (eps, kind), group in groups.items()]
    named += [("all", eps, group) for eps, group in together.items() if several]
    rows, warnings = [], []
    for kind, eps, group in sorted(named, key=lambda row: row[1]):
        each, white = [rates[_key(attempt)] for attempt in group], rates[_white_box(eps)]
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
        fewer = beats(torch.tensor(robust.outcomes), torch.tensor(white.outcomes))
        if (kind == "all" or not several) and fewer:
            warnings.append(
                f"{kind} on other ensembles leaves {robust.correct} of {robust.n} right at eps {eps:g}, PGD on the run itself "
                f"{white.correct}: its gradients are masked, and its white-box figures too high"
            )
    return {"rows": rows, "trust": [{"check": 4, "name": CHECKS[4], "warnings": warnings}], "warnings": warnings}
