"""Card "baseline": DVERGE and TRS under weak and strong attacks, and a slice through each along its own gradient."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from dash import html
from flask import Flask, Response, request

from trs_explorer.evaluation.accuracy import Rate
from trs_explorer.explore.attack_paths import attack_path_on
from trs_explorer.explore.compute_lock import PROCESS_LOCK
from trs_explorer.explore.gallery import predictions
from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.library import Library, Loaded
from trs_explorer.explore.planes import ball_polygon
from trs_explorer.explore.slices import assemble
from trs_explorer.files import Json
from trs_explorer.web.attack_paths import configured_attack
from trs_explorer.web.figures import CLASS_COLOURS
from trs_explorer.web.lesson.card import Card, Teacher, choice, slider
from trs_explorer.web.lesson.measurements import accuracy_share, conditions, job_response, paper_figures, parse_card_request
from trs_explorer.web.markup import Field
from trs_explorer.web.matrix import matrix_key
from trs_explorer.web.pages import json_response
from trs_explorer.web.robust_accuracy import evaluation_attack, first_images, robust_accuracies
from trs_explorer.web.slice_cache import SliceCache
from trs_explorer.web.slice_picture import slice_pictures
from trs_explorer.web.state import State

SIDES = (("DVERGE", "mnist-dverge", CLASS_COLOURS[5], "circle"), ("TRS", "mnist-trs", CLASS_COLOURS[2], "diamond"))
RUNS = tuple(run for _, run, *_ in SIDES)
ATTACKS = ("fgsm", "pgd", "mora")  # weak to strong; only the first is shown before the guess
RADII = (0.1, 0.15, 0.2, 0.3)
LEVEL = 2  # of a slice's nested grids: 97 x 97 points
SPAN = 4.0  # half the side of a slice, in L2: wide enough for boundaries along the gradient
IMAGES = (8, 15, 18, 4)


def _slice(name: str, run: str) -> html.Figure:
    square = html.Div(html.Canvas(role="img", **{"aria-label": f"{name}: not drawn yet"}), className="square")
    return html.Figure([square, html.Figcaption([html.B(name), " ", html.Span()])], **{"data-slice": run})


def _curve(name: str, run: str, colour: str, mark: str) -> html.Tr:
    return html.Tr([html.Th(name, scope="row")], **{"data-run": run, "data-name": name, "data-colour": colour, "data-mark": mark})


CARD = Card(
    name="baseline",
    title="The baseline",
    lead=(
        "DVERGE is the strongest rival in the paper. Under FGSM, one step along the gradient, the two are about alike (dotted, "
        "measured while you read)."
    ),
    stage=[
        html.Canvas(role="img", className="curves", **{"aria-label": "nothing has been measured yet"}),
        html.P(className="of", role="status"),
        html.Div([_slice(name, run) for name, run, *_ in SIDES], className="slices", **{"data-after": True}),
    ],
    controls=html.Div(
        [
            slider("eps", "the path's eps", low=0.05, high=0.3, step=0.05),
            html.Span(["image ", *(choice(str(k), image=k) for k in IMAGES),
                       Field(type="number", min=0, max=9999, step=1, value=8, **{"data-field": "image", "aria-label": "image"})],
                      className="row"),
        ],
        className="row wide", **{"data-after": True},
    ),
    question="Now PGD: 20 steps instead of one, each along the gradient where it stands. What becomes of the two curves?",
    choices=(
        "both stay where they are: FGSM has shown what there is",
        "both fall, and stay about alike",
        "TRS falls further: it was not trained on attacks",
        "DVERGE falls much further than TRS",
    ),
    right=3,
    answer=(
        "FGSM looks at the gradient once, and DVERGE has learned to stand just there. PGD turns where the gradient turns; MORA "
        "follows the members that can still be moved.",
        "The slices: right is along the gradient at the image, up a random direction, one scale for both. DVERGE often looks the "
        "safer one. But the attack (white line) turns away from that gradient, out of the picture. Trust curves, not pictures.",
        html.Details([html.Summary("the numbers"), html.Table(
            [html.Thead(html.Tr([html.Th("right, %", scope="col")])),
             html.Tbody([_curve(*side) for side in SIDES])])]),
    ),
    paper=f"Table 1: FGSM .1 / .2 DVERGE {paper_figures('fgsm', 'dverge')}, TRS {paper_figures('fgsm', 'trs')}; PGD .1 / .15 "
          f"DVERGE {paper_figures('pgd', 'dverge')}, TRS {paper_figures('pgd', 'trs')} (other networks). Its reading: DVERGE "
          "protects the gradient direction, TRS is smooth in all.",
    measured="Live, here, on the runs that ship: right of all images, 95 % intervals. DVERGE holds better under PGD than the "
             "paper's; MORA shows that a part of that is masked gradients (trs evaluate mnist-dverge --attacks pgd,mora).",
    teacher=Teacher(
        0.7,
        "Two ensembles, one weak attack, no difference. Let them vote on the strong attack. Reveal, and only then look at the "
        "slices: ask which of the two looks safer, and compare with the curves.",
        "Why does the attack's line in DVERGE's slice hardly reach the edge of its ball, and yet the image is fooled?",
        "That an attack along the gradient is the worst there is. The gradient is the best direction for a tiny step only; and a "
        "slice shows two directions of 784.",
    ),
    fields={"eps": 0.2, "image": IMAGES[0], "n": 128, "steps": 20, "seed": 0},
)  # fmt: skip


def add_routes(server: Flask, library: Library, jobs: Jobs) -> None:
    """Add /lesson/baseline/curves?run, n, steps, seed (accuracy over eps) and .../slice?run, image, eps, steps, seed."""
    slices = SliceCache()

    @server.get("/lesson/baseline/curves")
    def curves_of() -> Response:
        return json_response(lambda: curves_response(library, jobs, request.args))

    @server.get("/lesson/baseline/slice")
    def slice_of() -> Response:
        return json_response(lambda: slice_response(library, slices, request.args))


def curves_response(library: Library, jobs: Jobs, fields: Mapping[str, object]) -> Json:
    """Respond with a run's curves so far, by attack the shares at RADII; start them if necessary. Raises UsageError, RunError."""
    parsed = parse_card_request(library, fields, RUNS, norm="linf", eps="")
    loaded, state = parsed.loaded, parsed.state
    response = job_response(
        jobs, ("curves", *matrix_key(loaded, state)), f"curves of {loaded.name} in the lesson of {parsed.client}",
        lambda: measure_curves(loaded, state), as_json, again=bool(fields.get("again")),
    )  # fmt: skip
    attacks = f"FGSM: one step; PGD and MORA: {state.steps} steps"
    return {**response, "radii": RADII, "of": conditions(parsed, attacks), "notice": "\n".join(parsed.warnings)}


def measure_curves(loaded: Loaded, state: State) -> Iterator[list[Rate]]:
    """Measure the clean accuracy, then those under all attacks at all radii, the weakest attack first."""
    x, y = first_images(loaded.data, state.n)
    attacks = [evaluation_attack(replace(state, attack=attack, eps=eps)) for attack in ATTACKS for eps in RADII]
    return robust_accuracies(loaded.ensemble, x, y, attacks, seed=state.seed)


def as_json(rates: list[Rate]) -> Json:
    """Return the clean share, and by attack the share at every radius, as far as measured."""
    clean, *others = rates
    rows = {attack: others[place * len(RADII) : (place + 1) * len(RADII)] for place, attack in enumerate(ATTACKS)}
    return {"clean": accuracy_share(clean), **{attack: [accuracy_share(rate) for rate in row] for attack, row in rows.items()}}


def slice_response(library: Library, slices: SliceCache, fields: Mapping[str, object]) -> Json:
    """Respond with a slice of a run's ensemble along its own gradient and a random direction, and PGD's path in it.

    The path ends at its image of highest loss, whether or not that fools. "reached": the L2 distance of that image from the
    start along the gradient, along the random direction, and from the plane.
    Raises: UsageError or RunError.
    """
    parsed = parse_card_request(library, fields, RUNS, plane="random", norm="linf", attack="pgd", span=SPAN)
    loaded = parsed.loaded
    parsed = replace(parsed, state=replace(parsed.state, surrogate=len(loaded.ensemble)))
    state = parsed.state
    with PROCESS_LOCK.hold():
        view = slices.view(parsed)
    plane = view.plane
    logits = assemble([slices.samples(view, level) for level in range(LEVEL + 1)])
    with PROCESS_LOCK.hold():
        picture = slice_pictures(logits, loaded.ensemble.vote)[-1]
        _, attack = configured_attack(state)
        y = torch.tensor([view.y])
        path = attack_path_on(loaded.ensemble, state.surrogate, view.x[None], y, attack, seed=state.seed, for_transfer=True)
        predicted = int(predictions(loaded.ensemble, path.x_adv)[-1, 0])
    along, across = plane.pair(path.x_adv[0])
    return {
        "picture": picture.to_json(),
        "names": list(plane.names),
        "span": SPAN,
        "y": view.y,
        "ball": ball_polygon(plane, view.x, state.eps, state.norm).tolist(),
        "trail": plane.coordinates(path.images).tolist(),
        "seen": predicted,
        "reached": [along, across, float(plane.distance(path.x_adv)[0])],
        "notice": "\n".join(parsed.warnings),
    }
