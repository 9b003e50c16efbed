"""One run's evaluation, from the plan to what is stored: it goes on where an interrupted one stopped, and checks itself."""

import contextlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING

from trs_explorer import runs
from trs_explorer.catalogue import ATTACKS, load
from trs_explorer.cli.evaluations import GOES_ON, STOPPED, about, accepted, loaded
from trs_explorer.cli.flags import say
from trs_explorer.config import same_split
from trs_explorer.evaluation import paper
from trs_explorer.results import Unfinished

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from trs_explorer.cli.progress import Advance
    from trs_explorer.evaluation.accuracy import Attack, Rate
    from trs_explorer.evaluation.shares import Processes
    from trs_explorer.evaluation.trust import Findings


@dataclass(frozen=True)
class Plan:
    """What to measure: names of attacks, each with its eps or c, on the first `limit` test images.

    norm: of the balls. confidence: of the attacks without one; None: their own.
    data_dir: folder with the data, if it is not where the run's config says.
    """

    attacks: list[tuple[str, float]]
    limit: int
    steps: int
    restarts: int
    seed: int
    trust: bool
    left_out: tuple[str, ...] = ()
    norm: str = "linf"
    confidence: float | None = None
    data_dir: str = ""

    def options(self) -> dict[str, object]:
        """What a result says of how the attacks were made; norm and confidence where they are not the usual ones."""
        usual: dict[str, object] = {"limit": self.limit, "steps": self.steps, "restarts": self.restarts}
        return usual | self._unusual("norm") | self._unusual("confidence")

    def _unusual(self, name: str) -> dict[str, object]:
        value = getattr(self, name)
        return {} if value in ("linf", None) else {name: value}

    def functions(self) -> "list[Attack]":
        """The attacks with their labels and arguments, as `accuracy.measure` takes them."""
        return [self._function(name, value) for name, value in self.attacks]

    def _function(self, name: str, value: float) -> "Attack":
        function = load(ATTACKS[name].function)
        if not ATTACKS[name].ball:  # its own numbers of steps; how near it comes does not count, only whether it fools
            return name, function, {"c": value, "early_stop": True, **self._unusual("confidence")}
        own = accepted(function, steps=self.steps, restarts=self.restarts)
        label = name + (f"-{self.steps}" if "steps" in own else "") + (f" x{self.restarts}" if own.get("restarts", 1) > 1 else "")
        return label, function, {"eps": value, **own, **self._unusual("norm")}


@dataclass(frozen=True)
class Known:
    """Rates of the same measurement that are stored already, by position as in `accuracy.measure`.

    weights, data: fingerprints of the weights and of the test split that they are of.
    """

    weights: str
    data: str
    rates: Mapping[str, object]


def measured(
    run: runs.Run, plan: Plan, device: "torch.device", team: "Processes", known: Known | None = None
) -> tuple[dict | None, Unfinished]:
    """What a file under results/ holds for a run's newest checkpoint, and what to forget once it is there.

    The result is None in every process but the first.
    known: what is not to be measured again, if the newest weights are still those; for one process only.
    """
    from trs_explorer import data
    from trs_explorer.cli.progress import progress
    from trs_explorer.evaluation.accuracy import joined
    from trs_explorer.evaluation.checks import CHECKS
    from trs_explorer.evaluation.trust import warnings_of

    ensemble, named = loaded(run, device)
    test = data.load_for(run, train=False, data_dir=plan.data_dir)
    chosen = slice(0, min(plan.limit, len(test)))
    x, y = test.images(chosen).to(device), test.y[chosen].to(device)
    said = about(named, test, f"first {len(x)} test images", device, plan.seed)
    said |= {"kind": "evaluate", "options": plan.options()}
    share = team.share(len(x))
    kept = Unfinished(run, "evaluate", {**said, "attacks": plan.attacks, "share": [share.start, share.stop]})
    if kept.found() and team.rank == 0:
        say(GOES_ON)
    try:
        with progress(run.name, quiet=team.rank > 0) as advance:
            same = known and (known.weights, known.data) == (named["weights"], test.fingerprint)
            before = known.rates if same else {}
            stored = {**before, **kept.found()}
            mine = _rates(ensemble, x[share], y[share], plan, share.start, stored, kept, advance)
            parts = team.gather(said, mine)
            if not parts:
                return None, kept
            rates = [joined(same) for same in zip(*parts, strict=True)]
            findings = _findings(run, named["weights"], ensemble, x, y, rates, plan, advance)
    except KeyboardInterrupt:
        if kept.kept and team.rank == 0:
            say(STOPPED)
        raise
    rows = [(rate, None) for rate in rates]
    usual = plan.norm == "linf" and plan.confidence is None
    if usual and paper.is_like(run.config, named["checkpoint"], plan.steps, plan.restarts):
        for place, (name, value) in enumerate(plan.attacks, start=1):
            rows[place] = rates[place], paper.figure(run.config.data, name, value, run.config.method)
    rows += [(rate, None) for rate in _worst(rates)]
    result = {
        **said,
        "rates": [{**rate.to_json(), "paper": figure} for rate, figure in rows],
        "trust": [{"check": number, "name": name, "warnings": findings.get(number)} for number, name in CHECKS.items()],
        "warnings": warnings_of(findings),
    }
    return result, kept


def _rates(
    ensemble: "nn.Module",
    x: "Tensor",
    y: "Tensor",
    plan: Plan,
    first: int,
    stored: Mapping[str, object],
    kept: Unfinished,
    advance: "Advance",
) -> "list[Rate]":
    """The clean rate and every attack's, with what is stored of them; images are the share from `first` on."""
    from trs_explorer.evaluation.accuracy import blanks, measure, restored

    attacks = plan.functions()
    passes = [1, *(_passes(function, arguments) for _, function, arguments in attacks)]
    before = {place: restored(stored.get(str(place)), blank, len(x)) for place, blank in enumerate(blanks(attacks))}
    found = {place: rate for place, rate in before.items() if rate is not None}
    done = dict(found)

    def keep(*, now: bool) -> None:
        kept.keep({str(position): rate.to_json() for position, rate in found.items()}, now=now)

    try:
        for position, rate in measure(ensemble, x, y, attacks=attacks, seed=plan.seed, done=done, first=first):
            found[position] = rate
            done_passes = sum(passes[place] * one.n for place, one in found.items())
            advance(done_passes, sum(passes) * len(x), f"{rate.name} {_value(rate)}".strip())
            keep(now=False)
    finally:
        keep(now=True)
    return [found[position] for position in range(len(passes))]


def _passes(function: object, arguments: dict) -> int:
    """About how many passes an image takes, for the time left."""
    defaults = {name: p.default for name, p in inspect.signature(function).parameters.items()}
    count = 1
    for name in ("steps", "restarts", "searches"):
        count *= arguments.get(name, defaults.get(name, 1))
    return count


def _value(rate: "Rate") -> str:
    if rate.c is not None:
        return f"c {rate.c:g}"
    return f"eps {rate.eps:g}" if rate.eps else ""


def _findings(
    run: runs.Run,
    weights: str,
    ensemble: "nn.Module",
    x: "Tensor",
    y: "Tensor",
    rates: "Sequence[Rate]",
    plan: Plan,
    advance: "Advance",
) -> "Findings":
    """The checks that are cheap; with --trust all.

    Attacks made for other models need not be strong on this one, and look at changed copies of their images: they are only held
    to the ball and to giving back the original.
    """
    from trs_explorer.evaluation import trials, trust

    direct = [not ATTACKS[name].for_others for name, _ in plan.attacks]
    attacks = list(compress(plan.functions(), direct))
    others = trust.check_rates(list(compress(rates[1:], [not each for each in direct])))
    rates = [rates[0], *compress(rates[1:], direct)]
    advance(0, None, "checks")
    more = slice(0, trials.THOROUGH_N)
    found = trust.in_order(
        {14: [f"{name} was left out: it needs more classes" for name in plan.left_out]},
        {number: others[number] for number in (11, 17) if number in others},
        trials.cheap_findings(ensemble, x, y, rates=rates, attacks=attacks, seed=plan.seed),
    )
    if not plan.trust:
        return found
    thorough = trials.thorough_trials(
        ensemble,
        x[more],
        y[more],
        rates=rates,
        attacks=attacks,
        others=_others(run, weights, x.device),
        steps=plan.steps,
        seed=plan.seed,
        say=lambda text: advance(0, None, f"checks: {text}"),
    )
    return trust.in_order(found, thorough)


def _others(run: runs.Run, weights: str, device: "torch.device") -> "list[tuple[str, nn.Module]]":
    """Another shipped run on the same data, the standard ensemble if it is not the one evaluated."""
    from trs_explorer.models.stored import load_ensemble
    from trs_explorer.shipped import shipped_runs

    same = [other for other in shipped_runs() if same_split(other.config, run.config, "test")]
    for other in sorted(same, key=lambda other: other.config.method != "standard"):
        with contextlib.suppress(runs.RunError):  # nobody asked for this one
            ensemble, theirs = load_ensemble(other, device=device)
            if theirs != weights:
                return [(other.name, ensemble)]
    return []


def _worst(rates: "Sequence[Rate]") -> "list[Rate]":
    """Of every radius that WORST_OF attacks had or more: the accuracy under the worst of them, image by image."""
    from trs_explorer.evaluation.accuracy import worst_of
    from trs_explorer.evaluation.table1 import WORST_OF

    same: dict[float, list] = {}
    for rate in rates:
        if rate.eps:
            same.setdefault(rate.eps, []).append(rate)
    return [worst_of(f"worst of {len(group)}", group) for _, group in sorted(same.items()) if len(group) >= WORST_OF]
