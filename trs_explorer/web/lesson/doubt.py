"""Doubt: the members' logits times a factor, what attacks report then, and which checks warn."""

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
from trs_explorer.explore.library import Library
from trs_explorer.explore.live import Jobs, offer
from trs_explorer.files import Json
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.recording import RecordingModel
from trs_explorer.options import UsageError
from trs_explorer.web.figures import CLASS_COLOURS
from trs_explorer.web.lesson.card import Card, Teacher, after, choice, slider
from trs_explorer.web.lesson.live import about, asked_of, followed, right
from trs_explorer.web.matrix import key
from trs_explorer.web.pages import answer
from trs_explorer.web.robust import first_images, robust
from trs_explorer.web.state import State

RUN = "mnist-standard"
COLOUR, LOUD = CLASS_COLOURS[4], CLASS_COLOURS[5]
FACTORS = (1, 10, 100, 1000)
# What is measured, in this order: the catalogue's name, other options, and what the card calls it.
MEASURED = (
    ("pgd", {}, "PGD on cross-entropy"),
    ("pgd", {"loss": "margin"}, "PGD on the ensemble's margin"),
    ("apgd-dlr", {}, "APGD on the margin as a ratio (DLR)"),
    ("mora", {}, "MORA, on the members' margins"),
)


@dataclass(frozen=True)
class Doubted:
    """What has been found so far: the clean rate and those of MEASURED; how many of n answers the factor changed; findings."""

    rates: list[Rate]
    changed: int
    n: int
    findings: CheckWarnings | None = None


class Times(nn.Module):
    """A model whose logits are multiplied by a factor: the same answers, surer."""

    def __init__(self, model: nn.Module, factor: float) -> None:
        super().__init__()
        self.model, self.factor = model, factor

    def forward(self, x: Tensor) -> Tensor:
        """The model's logits times the factor."""
        return self.factor * self.model(x)


def times(ensemble: Ensemble, factor: float) -> Ensemble:
    """The ensemble of members whose logits are multiplied; it votes as the other does, and lets requests of pages go first."""
    members = [RecordingModel(Times(member, factor), lambda x: offer()) for member in ensemble.members]
    louder = Ensemble(members, ensemble.voting)
    if ensemble.voting != "mean":
        louder.vote_weights.copy_(ensemble.vote_weights)
    return louder.eval().requires_grad_(False)


_rows = [
    html.Tr([
        html.Th(name, scope="row"), html.Td("...", **{"data-rate": place, "data-colour": COLOUR}),
        html.Td("...", **{"data-rate": place, "data-colour": LOUD, "data-after": True}),
    ])
    for place, name in enumerate(("no attack", *(words for *_, words in MEASURED)))
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
        after([html.H3("What the checks of trs evaluate say"), html.Ul(className="checks")]),
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
    """GET lesson/doubt/attack?run, factor, eps, n, steps, seed: what attacks leave right, and what the checks say."""

    @server.get("/lesson/doubt/attack")
    def attack_louder() -> Response:
        return answer(lambda: doubted(library, jobs, request.args))


def doubted(library: Library, jobs: Jobs, wish: Mapping[str, object]) -> Json:
    """How far the attacks on the louder ensemble are; started if they were not. Raises UsageError or RunError: in words."""
    asked = asked_of(library, wish, (RUN,), attack="pgd", norm="linf")
    factor = str(wish.get("factor") or 1)
    if factor not in map(str, FACTORS):
        raise UsageError(f"the factor is one of {', '.join(map(str, FACTORS))}, not {factor[:40]!r}")
    loaded, state = asked.loaded, asked.state
    told = followed(
        jobs, ("doubt", *key(loaded, state), factor), f"doubt in the lesson of {asked.client}",
        lambda: measuring(loaded.ensemble, *first_images(loaded.data, state.n), float(factor), state),
        as_json, again=bool(wish.get("again")),
    )  # fmt: skip
    words = f"{RUN}, eps {state.eps:g}, {state.steps} steps"
    return {**told, "of": about(asked, words), "notice": "\n".join(asked.complaints)}


def measuring(ensemble: Ensemble, x: Tensor, y: Tensor, factor: float, state: State) -> Iterator[Doubted]:
    """The rates of MEASURED on the louder ensemble as they fill; then what the checks say of PGD alone."""
    louder, attacks = times(ensemble, factor), attacks_at(state.eps, state.steps)
    with torch.no_grad():
        changed = int((louder(x).argmax(-1) != ensemble(x).argmax(-1)).sum())
    rates: list[Rate] = []
    for rates in robust(louder, x, y, attacks, seed=state.seed):
        yield Doubted(rates, changed, len(x))
    checked = {"rates": rates[:2], "attacks": attacks[:1], "seed": state.seed}
    yield Doubted(rates, changed, len(x), cheap_checks(louder, x, y, **checked))


def attacks_at(eps: float, steps: int) -> list[Attack]:
    """MEASURED at a radius, with names by which checks know them."""
    attacks = []
    for kind, options, _ in MEASURED:
        name = "-".join([kind, *options.values(), str(steps)])
        attacks.append((name, partial(load(ATTACKS[kind].function), **options), {"eps": eps, "steps": steps}))
    return attacks


def as_json(found: Doubted) -> Json:
    """The shares so far, and the checks in words once they are there: those that warn first."""
    told = {"rates": [right(rate) for rate in found.rates], "changed": f"{found.changed} of {found.n}"}
    if found.findings is None:
        return told
    warn = [{"check": number, "warnings": texts} for number, texts in found.findings.items() if texts]
    passed = [f"{number} ({CHECKS[number]})" for number, texts in found.findings.items() if not texts]
    return {**told, "warn": warn, "passed": passed}
