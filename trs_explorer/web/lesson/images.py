"""Card "real images": four ensembles on MNIST, transfer between members, and robust accuracy of the ensembles."""

from collections.abc import Mapping

from dash import html
from flask import Flask, Response, request

from trs_explorer.evaluation.transfer import tried_on_all
from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.library import Library
from trs_explorer.files import Json
from trs_explorer.options import UsageError, unknown
from trs_explorer.web import matrix
from trs_explorer.web.figures import CLASS_COLOURS
from trs_explorer.web.lesson.card import Card, Teacher, choice, slider
from trs_explorer.web.lesson.measurements import (
    accuracy_share,
    conditions,
    job_response,
    paper_figures,
    parse_card_request,
    share,
)
from trs_explorer.web.pages import json_response

# Which of TRS's two terms each run has. Marks are a second cue besides colours.
ENSEMBLES = (
    ("standard", "mnist-standard", "neither term", CLASS_COLOURS[5], "circle"),
    ("cos-only", "mnist-cos-only", "similarity only", CLASS_COLOURS[1], "triangle"),
    ("smooth-only", "mnist-smooth-only", "smoothness only", CLASS_COLOURS[4], "square"),
    ("TRS", "mnist-trs", "both", CLASS_COLOURS[2], "diamond"),
)
RUNS = tuple(run for _, run, *_ in ENSEMBLES)
MEMBER_ATTACKS = {"pgd": "PGD", "mdi2": "MDI²-FGSM"}  # attacks on single members


def _row(name: str, run: str, terms: str, colour: str, mark: str) -> html.Tr:
    looks = {"data-run": run, "data-name": name, "data-colour": colour, "data-mark": mark}
    return html.Tr(
        [
            html.Th([html.Canvas(className="mark", **{"aria-hidden": "true"}), " ", name, " ", html.Small(terms)], scope="row"),
            html.Td("not attacked yet", **{"data-share": "transfer"}),
            html.Td("not attacked yet", **{"data-share": "robust", "data-after": True}),
        ],
        **looks,
    )


_table = html.Table(
    [
        html.Thead(html.Tr([
            html.Th("ensemble", scope="col"), html.Th("transfer between members", scope="col"),
            html.Th("the whole ensemble is right", scope="col", **{"data-after": True}),
        ])),
        html.Tbody([_row(*corner) for corner in ENSEMBLES]),
    ],
    className="shares",
)  # fmt: skip

CARD = Card(
    name="images",
    title="Real images",
    lead=(
        "Four ensembles of three small networks, trained on handwritten digits. Attack their members: of the images that fool "
        "one member, how many fool another? Further right: more attacks transfer."
    ),
    stage=[
        html.Canvas(role="img", **{"aria-label": "nothing has been attacked yet"}),
        _table,
        html.P(className="of", role="status"),
    ],
    controls=[
        html.Span([
            "attack ",
            *(html.Button(name, **{"data-act": run, "aria-pressed": "false"}) for name, run, *_ in ENSEMBLES),
            html.Button("all four", **{"data-act": "all"}),
        ], className="row"),
        slider("eps", "eps", low=0.05, high=0.3, step=0.05),
        html.Span(["members by ", *(choice(words, pairs=name) for name, words in MEMBER_ATTACKS.items())], className="row"),
        html.Span(["images ", *(choice(str(n), n=n) for n in (128, 256, 1000))], className="row"),
    ],
    question="Now PGD attacks each ensemble as a whole, at the same eps. Which one has most digits right in the end?",
    choices=(
        "cos-only: what fools one member seldom fools another",
        "TRS, far ahead of all others",
        "smooth-only and TRS, about alike",
        "all four fall alike: the attacker sees all weights",
    ),
    right=2,
    answer=(
        html.P(html.B("Similarity buys low transfer. Smoothness buys robustness. TRS buys both.")),
        "Attacks seldom transfer between the members of cos-only, and yet the ensemble is fooled: the attack on it uses all "
        "members at once. Low transfer between members is not robustness of the ensemble. Smooth-only is the other way round.",
        "Take MDI²-FGSM, made to transfer: points move to the right.",
    ),
    paper=f"Table 1, PGD at eps .1 / .15: cos-only {paper_figures('pgd', 'cos-only')} % right, TRS {paper_figures('pgd', 'trs')} "
          "(other networks). It says that similarity alone cannot guarantee low transfer.",
    measured="Live, here, on the runs that ship: what stands below the picture, with 95 % intervals; transfer by Definition 6, "
             "an image counted once in all pairs. Under PGD cos-only transfers little; under MDI²-FGSM much more.",
    teacher=Teacher(
        0.8,
        "Press \"all four\" and read the picture from left to right: where do attacks transfer? Then let the class guess how far "
        "up each point goes. Reveal.",
        "Why can the attack on the whole be strong where attacks on members do not transfer? What did each of the two terms buy?",
        "Most take low transfer for safety and choose cos-only or TRS alone. Low transfer only says that an attacker must look "
        "at all members; a white-box attacker does.",
    ),
    fields={"eps": 0.3, "pairs": "pgd", "n": 256, "steps": 20, "seed": 0, "attacked": ""},
)  # fmt: skip


def add_routes(server: Flask, library: Library, jobs: Jobs) -> None:
    """Add /lesson/images/attack?run, eps, pairs, n, steps, seed: transfer between members, and the ensemble's robust accuracy."""

    @server.get("/lesson/images/attack")
    def attack_images() -> Response:
        return json_response(lambda: attack_response(library, jobs, request.args))


def attack_response(library: Library, jobs: Jobs, fields: Mapping[str, object]) -> Json:
    """Respond with the progress of the attacks on a run; start them if necessary. Raises UsageError or RunError."""
    parsed = parse_card_request(library, fields, RUNS, attack="pgd", norm="linf")
    pairs = str(fields.get("pairs") or "pgd")
    if pairs not in MEMBER_ATTACKS:
        raise UsageError(unknown("pairs", pairs[:40], tuple(MEMBER_ATTACKS)))
    loaded, state = parsed.loaded, parsed.state
    key = matrix.matrix_key(loaded, state) if pairs == state.attack else (*matrix.matrix_key(loaded, state), pairs)
    slot = f"images in the lesson of {parsed.client}"  # one run at a time
    response = job_response(
        jobs, key, slot, lambda: matrix.measure_matrix(loaded, state, member_attack=pairs), as_json,
        again=bool(fields.get("again")),
    )  # fmt: skip
    attacks = f"{MEMBER_ATTACKS[pairs]} on members, PGD on the whole, {state.steps} steps, eps {state.eps:g}"
    return {**response, "of": conditions(parsed, attacks), "notice": "\n".join(parsed.warnings)}


def as_json(partial: matrix.PartialMatrix) -> Json:
    """Return transfer and robust accuracy so far, with their denominators."""
    pairs = tried_on_all(partial.matrix)
    return {"transfer": share(*pairs.pooled(), pairs.pooled_interval()), "robust": accuracy_share(partial.robust)}
