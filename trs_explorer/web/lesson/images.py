"""Real images: four ensembles on MNIST, how much transfers between their members, and what an attack on the whole leaves."""

from collections.abc import Mapping

from dash import html
from flask import Flask, Response, request

from trs_explorer.evaluation.transfer import tried_on_all
from trs_explorer.explore.library import Library
from trs_explorer.explore.live import Jobs
from trs_explorer.files import Json
from trs_explorer.options import UsageError, unknown
from trs_explorer.web import matrix
from trs_explorer.web.figures import CLASS_COLOURS
from trs_explorer.web.lesson.card import Card, Teacher, choice, slider
from trs_explorer.web.lesson.live import about, asked_of, followed, in_paper, right, share
from trs_explorer.web.pages import answer

# What each has of TRS's two terms. Colours are told apart by the marks besides.
CORNERS = (
    ("standard", "mnist-standard", "neither term", CLASS_COLOURS[5], "circle"),
    ("cos-only", "mnist-cos-only", "similarity only", CLASS_COLOURS[1], "triangle"),
    ("smooth-only", "mnist-smooth-only", "smoothness only", CLASS_COLOURS[4], "square"),
    ("TRS", "mnist-trs", "both", CLASS_COLOURS[2], "diamond"),
)
RUNS = tuple(run for _, run, *_ in CORNERS)
PAIRS = {"pgd": "PGD", "mdi2": "MDI²-FGSM"}  # attacks on single members


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
        html.Tbody([_row(*corner) for corner in CORNERS]),
    ],
    className="shares",
)  # fmt: skip

CARD = Card(
    name="images",
    title="Real images",
    lead=(
        "Four ensembles of three small networks, trained on handwritten digits. Attack their members: of the images that fool "
        "one member, how many fool another? Further right: members fall together."
    ),
    stage=[
        html.Canvas(role="img", **{"aria-label": "nothing has been attacked yet"}),
        _table,
        html.P(className="of", role="status"),
    ],
    controls=[
        html.Span([
            "attack ",
            *(html.Button(name, **{"data-act": run, "aria-pressed": "false"}) for name, run, *_ in CORNERS),
            html.Button("all four", **{"data-act": "all"}),
        ], className="row"),
        slider("eps", "eps", low=0.05, high=0.3, step=0.05),
        html.Span(["members by ", *(choice(words, pairs=name) for name, words in PAIRS.items())], className="row"),
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
        "The members of cos-only seldom fall together, and yet the ensemble falls: the attack on the whole looks at all members "
        "at once. Low transfer between members is not robustness of the ensemble. Smooth-only is the other way round.",
        "Take MDI²-FGSM, made to transfer: points move to the right.",
    ),
    paper=f"Table 1, PGD at eps .1 / .15: cos-only {in_paper('pgd', 'cos-only')} % right, TRS {in_paper('pgd', 'trs')} (other "
          "networks). It says that similarity alone cannot guarantee low transfer.",
    measured="Live, here, on the runs that ship: what stands below the picture, with 95 % intervals; transfer by Definition 6, "
             "an image counted once in all pairs. Under PGD cos-only transfers little; under MDI²-FGSM much more.",
    teacher=Teacher(
        0.8,
        "Press \"all four\" and read the picture from left to right: who falls together? Then let the class guess how far "
        "up each point goes. Reveal.",
        "Why can the attack on the whole be strong where attacks on members do not transfer? What did each of the two terms buy?",
        "Most take low transfer for safety and choose cos-only or TRS alone. Low transfer only says that an attacker must look "
        "at all members; a white-box attacker does.",
    ),
    fields={"eps": 0.3, "pairs": "pgd", "n": 256, "steps": 20, "seed": 0, "attacked": ""},
)  # fmt: skip


def add_routes(server: Flask, library: Library, jobs: Jobs) -> None:
    """GET lesson/images/attack?run, eps, pairs, n, steps, seed: transfer between a run's members and what the whole has right."""

    @server.get("/lesson/images/attack")
    def attack_images() -> Response:
        return answer(lambda: attacked(library, jobs, request.args))


def attacked(library: Library, jobs: Jobs, wish: Mapping[str, object]) -> Json:
    """How far the attacks on a run are; started if they were not. Raises UsageError or RunError: in words."""
    asked = asked_of(library, wish, RUNS, attack="pgd", norm="linf")
    pairs = str(wish.get("pairs") or "pgd")
    if pairs not in PAIRS:
        raise UsageError(unknown("pairs", pairs[:40], tuple(PAIRS)))
    loaded, state = asked.loaded, asked.state
    key = matrix.key(loaded, state) if pairs == state.attack else (*matrix.key(loaded, state), pairs)
    slot = f"images in the lesson of {asked.client}"  # one run after the other
    told = followed(jobs, key, slot, lambda: matrix.measuring(loaded, state, pairs=pairs), as_json, again=bool(wish.get("again")))
    words = f"{PAIRS[pairs]} on members, PGD on the whole, {state.steps} steps, eps {state.eps:g}"
    return {**told, "of": about(asked, words), "notice": "\n".join(asked.complaints)}


def as_json(found: matrix.Measured) -> Json:
    """The two shares so far, and on how many images."""
    pairs = tried_on_all(found.matrix)
    return {"transfer": share(*pairs.pooled(), pairs.pooled_interval()), "robust": right(found.robust)}
