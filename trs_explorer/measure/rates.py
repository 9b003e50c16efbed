"""The accuracies of an evaluation, one after another: resumable, with the passes made and still to make."""

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from trs_explorer.attacks.strong import parts_for, strong
from trs_explorer.evaluation.accuracy import Attack, Rate, empty_rates, measure, parse_rate
from trs_explorer.evaluation.in_parts import measure_in_parts
from trs_explorer.files import Json
from trs_explorer.measure.session import Progress, Session
from trs_explorer.models.ensemble import Ensemble


@dataclass
class _SoFar:
    """The rates by position (0: clean), what attacks in parts have done that are not finished, and the passes of each."""

    session: Session
    passes: Sequence[float]
    n: int
    progress: Progress
    rates: dict[int, Rate]
    unfinished: dict[int, Json] = field(default_factory=dict)

    def to_json(self) -> Json:
        """The values by position, for a continuation."""
        finished = {place: rate.to_json() for place, rate in self.rates.items()}
        return {str(place): value for place, value in {**self.unfinished, **finished}.items()}

    def report(self, name: str, more: float = 0.0) -> None:
        """Show how far it is, with `more` passes of an attack in parts, and save."""
        done = sum(self.passes[place] * rate.n for place, rate in self.rates.items())
        self.progress(done + more, sum(self.passes) * self.n, name)
        self.session.save()


def measure_rates(
    session: Session,
    x: Tensor,
    y: Tensor,
    attacks: Sequence[Attack],
    seed: int,
    reusable: Mapping[str, object],
    progress: Progress,
    kept: Tensor | None,
) -> list[Rate]:
    """The clean rate and every attack's on this process's images x; those that are stored are not measured again.

    - reusable: stored rates by position, besides those of the session.
    - kept: gets the adversarial images, [attack, n, channel, height, width].

    `strong` is measured part by part, after the others.
    """
    passes = [1.0, *(_passes(session.ensemble, x, attack) for attack in attacks)]
    stored = {**reusable, **session.stored}
    done = {
        place: rate
        for place, blank in enumerate(empty_rates(attacks))
        if (rate := parse_rate(stored.get(str(place)), blank, len(x))) is not None
    }
    in_parts = [place for place, (_, function, _) in enumerate(attacks, start=1) if function is strong]
    for place in in_parts:  # a rate of fewer images cannot be continued
        if place in done and done[place].n < len(x):
            del done[place]
    so_far = _SoFar(session, passes, len(x), progress, dict(done))
    if kept is None:
        session.values = so_far.to_json
    _measure_whole(so_far, x, y, attacks, seed, [place for place in range(len(passes)) if place not in in_parts], kept)
    for place in in_parts:
        if place not in so_far.rates:
            _measure_parts(so_far, x, y, attacks[place - 1], seed, place, kept)
    session.save(now=True)  # the checks that follow take long
    return [so_far.rates[place] for place in range(len(passes))]


def _measure_whole(
    so_far: _SoFar, x: Tensor, y: Tensor, attacks: Sequence[Attack], seed: int, places: Sequence[int], kept: Tensor | None
) -> None:
    """Measure the clean rate and the attacks at these positions; 0 is among them."""

    def keep(number: int, images: slice, adversarial: Tensor) -> None:
        _keep(kept, places[number], images, adversarial)

    measured = measure(
        so_far.session.ensemble,
        x,
        y,
        attacks=[attacks[place - 1] for place in places[1:]],
        seed=seed,
        done={number: so_far.rates[place] for number, place in enumerate(places) if place in so_far.rates},
        first=so_far.session.shard.start,
        keep=None if kept is None else keep,
    )
    for number, rate in measured:
        so_far.rates[places[number]] = rate
        so_far.report(f"{rate.name} {_parameter(rate)}".strip())


def _measure_parts(so_far: _SoFar, x: Tensor, y: Tensor, attack: Attack, seed: int, place: int, kept: Tensor | None) -> None:
    name, _, arguments = attack
    eps, norm = float(arguments["eps"]), str(arguments.get("norm", "linf"))
    if kept is not None:
        kept[place - 1] = x.cpu()

    def keep(images: Tensor, adversarial: Tensor) -> None:
        _keep(kept, place, images, adversarial)

    for parts in measure_in_parts(
        so_far.session.ensemble,
        x,
        y,
        attack,
        seed=seed,
        first=so_far.session.shard.start,
        stored=so_far.session.stored.get(str(place)),
        keep=None if kept is None else keep,
    ):
        so_far.unfinished[place] = parts.to_json()
        if parts.finished:
            so_far.rates[place] = parts.rate(name, eps=eps, norm=norm)
        so_far.report(f"{name} eps {eps:g}: {parts.now}", 0.0 if parts.finished else parts.done)


def _keep(kept: Tensor | None, place: int, images: slice | Tensor, adversarial: Tensor) -> None:
    if kept is not None:
        kept[place - 1, images] = adversarial.detach().cpu()  # position 0 is the clean rate


def _passes(model: Ensemble, x: Tensor, attack: Attack) -> float:
    """About how many passes an attack takes for an image: for the time left."""
    _, function, arguments = attack
    if function is strong:
        return sum(part.passes for part in parts_for(model, x, effort=float(arguments.get("effort", 1.0))))
    defaults = {name: p.default for name, p in inspect.signature(function).parameters.items()}
    named = ("steps", "restarts", "searches", "targets")
    passes = math.prod(int(arguments.get(name, defaults.get(name, 1))) for name in named)
    return passes * (int(arguments.get("queries", defaults.get("queries", 2))) / 2)


def _parameter(rate: Rate) -> str:
    if rate.c is not None:
        return f"c {rate.c:g}"
    return f"eps {rate.eps:g}" if rate.eps else ""
