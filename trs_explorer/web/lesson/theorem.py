"""Card "theorem": the pairs of card 3 compared with the paper's bounds."""

import orjson
from dash import html
from flask import Flask, Response

from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.library import Library
from trs_explorer.explore.two_nets import CORNERS, EPS, OPTIONS
from trs_explorer.web.lesson.card import Card, Teacher, out
from trs_explorer.web.lesson.ten_seeds import SEEDS, stored
from trs_explorer.web.lesson.train_it import NAMES
from trs_explorer.web.markup import Field

LETTERS = "ABCDEF"


def add_routes(server: Flask, library: Library, jobs: Jobs) -> None:
    """Add /lesson/theorem/stored: the figures of ten seeds for every setting. Trainings use the routes of card 3."""
    del library, jobs

    @server.get("/lesson/theorem/stored")
    def figures() -> Response:
        rows = [row for row in stored() if row["seed"] in SEEDS]
        return Response(orjson.dumps({"corners": list(CORNERS), "rows": rows}), mimetype="application/json")


HEAD = ("line", "trained with", "|cos| at the points", "S̲ to S̄", "β", "lower bound", "upper bound", "Thm 2 speaks up to ε =",
        "there PGD fools one", "transfer: both fooled")  # fmt: skip
TABLE = html.Table([
    html.Caption(f"Means of ten seeds, then what was trained here. ε {EPS:g}; of all attacks, as the theorems count"),
    html.Thead(html.Tr([html.Th(text, scope="col") for text in HEAD])),
    html.Tbody(id="bounds"),
])  # fmt: skip


def _train(letter: str, corner: str) -> html.Button:
    weights = dict(zip(NAMES, CORNERS[corner], strict=True))
    return html.Button([html.B(letter), " ", corner], **{"data-act": "pair", "data-weights": orjson.dumps(weights).decode()})


CARD = Card(
    name="theorem",
    title="The theorem",
    lead="The same six trainings, ten seeds each: how far apart the gradients of F and G are, not at the training points but all "
    "around them, where attacks go. A line reaches from the lowest cosine found there, S̲, to the highest, S̄.",
    stage=[
        html.Canvas(role="img", className="chart", **{"aria-label": "Six trainings and their cosines."}),
        html.Div(TABLE, tabIndex=0, role="region", **{"aria-label": "the bounds", "data-after": True}),
    ],
    controls=[
        html.Span("Train one more here:"),
        *(_train(letter, corner) for letter, corner in zip(LETTERS, CORNERS, strict=True)),
        html.Label(["seed ", Field(type="number", min=0, max=OPTIONS[-1].high, step=1, **{"data-field": "seed"})]),
        html.Span(out("training"), role="status"),
    ],
    question="Theorem 2 promises few transfers if S̄, the highest cosine, is small. Which other quantity must be small?",
    choices=(
        "β: how fast the gradients change from place to place",
        "The number of training points",
        "The number of steps that the attack takes",
        "The size of the networks",
    ),
    right=0,
    answer=(
        "It says: gradients that are dissimilar everywhere, that change slowly (β) and are short (B), against a small ε: then "
        "few attacks fool both. C has its right angles at the points only; B is smooth, but its gradients are the same.",
        html.P(
            [
                "It does not say how few. Here all bounds are ",
                html.B("vacuous"),
                ": the conditions of both theorems fail at this ε. Theorem 2 starts to speak ",
                out("within"),
                ". B's radius is the largest, and all of B transfers: where gradients "
                "are short and no point is near a boundary, the theorem promises much, whatever the angle.",
            ]
        ),
        "So it shows a direction; how much transfers must be measured. And none of this certifies: the true S̄, β and B may be "
        "larger than what a sample has found.",
    ),
    paper="Theorem 1: transfer is at least (1 − α) − (η_F + η_G) − … √(2 − 2 S̲). Theorem 2: at most (ξ_F + ξ_G) / (ℓ_min − ε B "
    "(1 + √((1 + S̄) / 2)) − β ε²), if that is above 0. As β falls they close in on each other.",
    measured=f"Untargeted, for which the bounds are derived anew. S, β (the largest secant of the loss's gradient), B and the "
    f"rest: from 400 fresh points a seed, where PGD took them, and 8 points of each one's ball. n: {2 * 400 * len(SEEDS)} "
    "attacks of either direction. Theorem 1 fails on one sure point: where G's gradient is almost 0, c_G has no limit. Card 3 "
    "counts the same attacks out of those that fool one.",
    teacher=Teacher(
        0.7,
        "We have seen it; this is what the paper proves. Up and down is the cosine, everywhere around the points; after the "
        "reveal left to right is β, how fast the gradients turn. The theorem wants short lines near 0, far to the left: E and F. "
        "Then B: as smooth as can be, and everything transfers, because the two networks are one.",
        "On the last card |cos| of C was 0.01: why does its line reach from -1 to 1? What is a bound of more than 100 % worth?",
        "That a theorem's bound is a useful number: all of these are vacuous. That smoothness alone will do: look at B. And "
        "that β is the gradient's length: it is how fast the gradient changes.",
    ),
    fields={"seed": 0},
)
