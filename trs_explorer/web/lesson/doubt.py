"""Card "doubt": multiply the members' logits by a factor, then see what attacks report and which sanity checks warn."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature

import torch
from dash import html
from torch import Tensor, nn

from trs_explorer.attack_catalogue import ATTACKS
from trs_explorer.attacks.pgd import pgd
from trs_explorer.catalogue import load
from trs_explorer.evaluation.accuracy import Attack, Rate
from trs_explorer.evaluation.trust.checks import CHECKS
from trs_explorer.evaluation.trust.from_attacks import cheap_checks
from trs_explorer.evaluation.trust.from_rates import CheckWarnings
from trs_explorer.explore.compute_lock import PROCESS_LOCK
from trs_explorer.figures.lesson import Series, Share, attack_bars
from trs_explorer.figures.theme import CLASS_COLOURS
from trs_explorer.models.ensemble import WEIGHTED, Ensemble
from trs_explorer.models.recording import RecordingModel
from trs_explorer.options import UsageError
from trs_explorer.web.lesson.card import Card, Teacher, after, choice, figure, out, part, scrolling, slider
from trs_explorer.web.lesson.measurements import accuracy_share, conditions, follow, requests_of_runs
from trs_explorer.web.lesson.view import CardRequest, View
from trs_explorer.web.matrix import matrix_key
from trs_explorer.web.page_request import PageRequest
from trs_explorer.web.robust_accuracy import first_images, robust_accuracies
from trs_explorer.web.state import State

RUN = "mnist-standard"
SERIES, SCALED_SERIES = Series("logits as they are", CLASS_COLOURS[4], ""), Series("logits multiplied", CLASS_COLOURS[5], "/")
FACTORS = (1, 10, 100, 1000)
# The attacks in the order of measurement: name in the catalogue, options, name on the card.
CARD_ATTACKS = (
    ("pgd", {}, "PGD on cross-entropy"),
    ("pgd", {"loss": "margin"}, "PGD on the ensemble's margin"),
    ("apgd-dlr", {}, "APGD on the margin as a ratio (DLR)"),
    ("mora", {}, "MORA, on the members"),
)
STEPS = signature(pgd).parameters["steps"].default
CHECKS_ATTACK = f"They attack by themselves, with {STEPS} steps: their counts are not those above."
ROWS = ("no attack", *(title for *_, title in CARD_ATTACKS))


@dataclass(frozen=True)
class DoubtProgress:
    """What is measured so far.

    rates: the clean accuracy, then those under CARD_ATTACKS.
    changed: how many of n predictions the factor has changed.
    findings: the sanity checks' findings; None until they have run.
    """

    rates: list[Rate]
    changed: int
    n: int
    findings: CheckWarnings | None = None


class ScaledLogits(nn.Module):
    """A model with its logits multiplied by a factor: the same predictions with higher confidence."""

    def __init__(self, model: nn.Module, factor: float) -> None:
        super().__init__()
        self.model, self.factor = model, factor

    def forward(self, x: Tensor) -> Tensor:
        """Return the model's logits times the factor."""
        return self.factor * self.model(x)


def scale_logits(ensemble: Ensemble, factor: float) -> Ensemble:
    """Return the ensemble with its members' logits multiplied; it votes the same way, and yields to interactive requests."""
    members = [RecordingModel(ScaledLogits(member, factor), lambda x: PROCESS_LOCK.yield_turn()) for member in ensemble.members]
    scaled = Ensemble(members, ensemble.voting)
    if ensemble.voting in WEIGHTED:
        scaled.vote_weights.copy_(ensemble.vote_weights)
    return scaled.eval().requires_grad_(False)


CARD = Card(
    name="doubt",
    title="Doubt",
    lead=(
        "A robust accuracy is what an attack failed to do. Here are four attacks on the standard ensemble, and how many digits "
        "it still classifies correctly under each."
    ),
    stage=[
        figure("accuracy"),
        html.P(out("of"), className="of", role="status"),
        after([html.H3("Sanity checks of trs evaluate"), html.P(CHECKS_ATTACK, className="small"), part("checks")]),
        html.Details([html.Summary("the numbers"), scrolling("the numbers of the chart", part("table"))]),
    ],
    controls=[
        html.Span(["logits ", *(choice(f"x {factor}", factor=factor) for factor in FACTORS)], className="row",
                  **{"data-after": True}),
        slider("eps", "eps", low=0.05, high=0.3, step=0.05),
    ],
    question="Every member's logits are multiplied by 1000. No member's answer changes. What does PGD on cross-entropy report?",
    choices=(
        "the same: no answer has changed",
        "nearly all digits right",
        "fewer right: a surer network is easier to push over",
        "nothing right",
    ),
    right=1,
    answer=(
        "Nothing is safer than before. Where the softmax is exactly 1, cross-entropy is flat: a gradient of exactly zero, and "
        "PGD does not move. Where all members are so sure, the ensemble's own margin is flat, too. MORA divides the "
        "logits by their lead before it takes a gradient, which the factor then does not flatten.",
        "The sanity checks run once the attacks are done. They look for gradients of zero, compare attacks on different losses, "
        "and try an ε that should leave nothing right. Believe no accuracy that has only been attacked one way.",
        html.P([html.B("Not only a toy: "), "with x 1, the network as it was trained, some checks still warn. GAL and cos-only "
                "show more of it after ordinary training. Try ",
                html.Code("trs evaluate mnist-gal"), " and read its warnings."]),
    ),
    paper="It has no such figure. It adds black-box attacks (section 4.1) because masked gradients can fool white-box ones.",
    measured="Live, here, on mnist-standard: accuracy on all images, 95 % intervals. The checks are those that trs evaluate "
    "makes "
             "after PGD alone, on the first 100 of these images.",
    teacher=Teacher(
        8,
        "Read the rows. Then ask: the answers stay, only how sure they are changes. Reveal, and let the rows fill; then step "
        "down from 1000 to 1 and watch which checks fall silent, and which do not: the network as it is is masked a little, too.",
        "Which row would you have published? Which single check would have stopped you?",
        "\"The same\": most think of robustness as a property of answers. An attack needs a slope, and a sure softmax has none.",
    ),
    fields={"factor": 1000, "eps": 0.15, "n": 100, "steps": 20, "seed": 0},
)  # fmt: skip


def view(card: CardRequest) -> View:
    """Return the card's view: the ensemble as it is and, after the guess, with its logits multiplied."""
    factor = card.fields.get("factor") or "1"
    if factor not in map(str, FACTORS):
        raise UsageError(f"the factor must be one of {', '.join(map(str, FACTORS))}, got {factor[:40]!r}")
    parsed, missing = requests_of_runs(card, (RUN,), attack="pgd", norm="linf")
    if not parsed:
        return View(figures={"accuracy": missing})
    request = parsed[RUN]
    progress: dict[str, DoubtProgress] = {}
    done = True
    for one in dict.fromkeys(("1", factor) if card.revealed else ("1",)):  # the ensemble as it is comes first
        snapshot = follow(card, ("doubt", *matrix_key(request.loaded, request.state), one), _measurement(request, float(one)))
        if isinstance(snapshot.value, DoubtProgress):
            progress[one] = snapshot.value
        if snapshot.state != "done":
            done = False
            break
    series = [(SERIES, shares(progress.get("1")))]
    if card.revealed:
        series.append((replace(SCALED_SERIES, name=f"logits x {factor}"), shares(progress.get(factor))))
    scaled = progress.get(factor) if card.revealed else None
    changed = f" The factor changed {scaled.changed} of the ensemble's {scaled.n} predictions." if scaled else ""
    of = conditions(request, f"{RUN}, ε {request.state.eps:g}, {request.state.steps} steps")
    return View(
        figures={"accuracy": attack_bars(ROWS, series, look=card.look) if progress else "Measuring ..."},
        texts={"of": of + changed + ("" if done else " Measuring ...")},
        markup={"table": table(series), "checks": checks(scaled)},
        notice="\n".join(request.warnings),
        done=done,
    )


def _measurement(request: PageRequest, factor: float) -> Callable[[], Iterator[DoubtProgress]]:
    loaded, state = request.loaded, request.state
    return lambda: measure_doubt(loaded.ensemble, *first_images(loaded.data, state.n), factor, state)


def measure_doubt(ensemble: Ensemble, x: Tensor, y: Tensor, factor: float, state: State) -> Iterator[DoubtProgress]:
    """Measure CARD_ATTACKS on the scaled ensemble; then run the sanity checks on PGD alone."""
    scaled, attacks = scale_logits(ensemble, factor), attacks_at(state.eps, state.steps)
    with torch.no_grad():
        changed = int((scaled(x).argmax(-1) != ensemble(x).argmax(-1)).sum())
    rates: list[Rate] = []
    for rates in robust_accuracies(scaled, x, y, attacks, seed=state.seed):
        yield DoubtProgress(rates, changed, len(x))
    options = {"rates": rates[:2], "attacks": attacks[:1], "seed": state.seed}
    yield DoubtProgress(rates, changed, len(x), cheap_checks(scaled, x, y, **options))


def attacks_at(eps: float, steps: int) -> list[Attack]:
    """Return CARD_ATTACKS at a radius, with the names that the checks expect."""
    attacks = []
    for kind, options, _ in CARD_ATTACKS:
        name = "-".join([kind, *options.values(), str(steps)])
        attacks.append((name, partial(load(ATTACKS[kind].function), **options), {"eps": eps, "steps": steps}))
    return attacks


def shares(progress: DoubtProgress | None) -> list[Share | None]:
    """Return the accuracies of ROWS, None where one is not measured yet."""
    rates = progress.rates if progress else []
    return [accuracy_share(rate) for rate in rates] + [None] * (len(ROWS) - len(rates))


def table(series: Sequence[tuple[Series, Sequence[Share | None]]]) -> html.Table:
    """Build the numbers of the chart."""
    head = [html.Th("correct under", scope="col"), *(html.Th(one.name, scope="col") for one, _ in series)]
    rows = [
        html.Tr([html.Th(row, scope="row"), *(html.Td(one[place].text if one[place] else "...") for _, one in series)])
        for place, row in enumerate(ROWS)
    ]
    return html.Table([html.Thead(html.Tr(head)), html.Tbody(rows)], className="shares")


def checks(progress: DoubtProgress | None) -> html.Ul:
    """Build the list of what the sanity checks find: warnings first."""
    if progress is None or progress.findings is None:
        return html.Ul([html.Li("These run once the attacks are done ...")], className="checks")
    warn = {number: " ".join(texts) for number, texts in progress.findings.items() if texts}
    items = [html.Li([html.B(f"check {number} warns: "), text], className="warn") for number, text in warn.items()]
    passed = "; ".join(f"{number} ({CHECKS[number]})" for number in progress.findings if number not in warn)
    items.append(html.Li([html.B("passed: " if warn else "no check warns; passed: "), passed], className="passed"))
    return html.Ul(items, className="checks")
