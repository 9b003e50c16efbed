"""Card "doubt": multiply the members' logits by a factor, then see what attacks report and which sanity checks warn."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from dash import html
from flask import Flask, Response, request
from torch import Tensor, nn

from trs_explorer.attack_catalogue import ATTACKS
from trs_explorer.catalogue import load
from trs_explorer.evaluation.accuracy import Attack, Rate
from trs_explorer.evaluation.trust.checks import CHECKS
from trs_explorer.evaluation.trust.from_attacks import cheap_checks
from trs_explorer.evaluation.trust.from_rates import CheckWarnings
from trs_explorer.explore.compute_lock import PROCESS_LOCK
from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.library import Library
from trs_explorer.files import Json
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.recording import RecordingModel
from trs_explorer.options import UsageError
from trs_explorer.web.figures import CLASS_COLOURS
from trs_explorer.web.lesson.card import Card, Teacher, after, choice, slider
from trs_explorer.web.lesson.measurements import accuracy_share, conditions, job_response, parse_card_request
from trs_explorer.web.matrix import matrix_key
from trs_explorer.web.pages import json_response
from trs_explorer.web.robust_accuracy import first_images, robust_accuracies
from trs_explorer.web.state import State

RUN = "mnist-standard"
COLOUR, SCALED_COLOUR = CLASS_COLOURS[4], CLASS_COLOURS[5]
FACTORS = (1, 10, 100, 1000)
# The attacks in the order of measurement: name in the catalogue, options, name on the card.
CARD_ATTACKS = (
    ("pgd", {}, "PGD on cross-entropy"),
    ("pgd", {"loss": "margin"}, "PGD on the ensemble's margin"),
    ("apgd-dlr", {}, "APGD on the margin as a ratio (DLR)"),
    ("mora", {}, "MORA, on the members' margins"),
)


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
    if ensemble.voting != "mean":
        scaled.vote_weights.copy_(ensemble.vote_weights)
    return scaled.eval().requires_grad_(False)


_rows = [
    html.Tr([
        html.Th(name, scope="row"), html.Td("...", **{"data-rate": place, "data-colour": COLOUR}),
        html.Td("...", **{"data-rate": place, "data-colour": SCALED_COLOUR, "data-after": True}),
    ])
    for place, name in enumerate(("no attack", *(title for *_, title in CARD_ATTACKS)))
]  # fmt: skip

CARD = Card(
    name="doubt",
    title="Doubt",
    lead=(
        "A robust accuracy is what an attack failed to do. Here are four attacks on the standard ensemble: what each of them "
        "leaves right."
    ),
    stage=[
        html.Table(
            [
                html.Thead(html.Tr([
                    html.Th("right under", scope="col"), html.Th("logits as they are", scope="col"),
                    html.Th(["logits x ", html.Output(**{"data-value-of": "factor"})], scope="col", **{"data-after": True}),
                ])),
                html.Tbody(_rows),
            ],
            className="shares",
        ),
        html.P(className="of", role="status"),
        after([html.H3("Sanity checks of trs evaluate"), html.Ul(className="checks")]),
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
        "PGD stands still. Where all members are so sure, the ensemble's own margin is flat, too. MORA looks at the members' "
        "margins: it does not care for the factor.",
        "Check 5 sees zero gradients, 8 compares attacks on different losses, 2 asks whether eps 1 leaves anything right. "
        "Believe no accuracy that has only been attacked one way.",
        html.P([html.B("Not only a toy: "), "GAL and cos-only show a milder form after ordinary training. Try ",
                html.Code("trs evaluate mnist-gal"), " and read its warnings."]),
    ),
    paper="It has no such figure. It adds black-box attacks (section 4.1) because masked gradients can fool white-box ones.",
    measured="Live, here, on mnist-standard: right of all images, 95 % intervals. The checks are those that trs evaluate makes "
             "after PGD alone, on the first 100 of these images.",
    teacher=Teacher(
        0.7,
        "Read the rows. Then ask: the answers stay, only how sure they are changes. Reveal, and let the rows fill; then step "
        "down from 1000 to 1 and watch which check falls silent.",
        "Which row would you have published? Which single check would have stopped you?",
        "\"The same\": most think of robustness as a property of answers. An attack needs a slope, and a sure softmax has none.",
    ),
    fields={"factor": 1000, "eps": 0.15, "n": 100, "steps": 20, "seed": 0},
)  # fmt: skip


def add_routes(server: Flask, library: Library, jobs: Jobs) -> None:
    """Add /lesson/doubt/attack?run, factor, eps, n, steps, seed: accuracies under the attacks, and the checks' warnings."""

    @server.get("/lesson/doubt/attack")
    def attack_scaled() -> Response:
        return json_response(lambda: doubt_response(library, jobs, request.args))


def doubt_response(library: Library, jobs: Jobs, fields: Mapping[str, object]) -> Json:
    """Respond with the progress of the attacks on the scaled ensemble; start them if necessary. Raises UsageError or RunError."""
    parsed = parse_card_request(library, fields, (RUN,), attack="pgd", norm="linf")
    factor = str(fields.get("factor") or 1)
    if factor not in map(str, FACTORS):
        raise UsageError(f"the factor must be one of {', '.join(map(str, FACTORS))}, got {factor[:40]!r}")
    loaded, state = parsed.loaded, parsed.state
    response = job_response(
        jobs, ("doubt", *matrix_key(loaded, state), factor), f"doubt in the lesson of {parsed.client}",
        lambda: measure_doubt(loaded.ensemble, *first_images(loaded.data, state.n), float(factor), state),
        as_json, again=bool(fields.get("again")),
    )  # fmt: skip
    attacks = f"{RUN}, eps {state.eps:g}, {state.steps} steps"
    return {**response, "of": conditions(parsed, attacks), "notice": "\n".join(parsed.warnings)}


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


def as_json(progress: DoubtProgress) -> Json:
    """Return the shares so far, and the checks' findings once they are there: warnings first."""
    response = {"rates": [accuracy_share(rate) for rate in progress.rates], "changed": f"{progress.changed} of {progress.n}"}
    if progress.findings is None:
        return response
    warn = [{"check": number, "warnings": texts} for number, texts in progress.findings.items() if texts]
    passed = [f"{number} ({CHECKS[number]})" for number, texts in progress.findings.items() if not texts]
    return {**response, "warn": warn, "passed": passed}
