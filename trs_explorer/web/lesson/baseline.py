"""Card "baseline": DVERGE and TRS under weak and strong attacks, and a slice through each along its own gradient."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import plotly.graph_objects as go
import torch
from dash import html

from trs_explorer.evaluation.accuracy import Rate
from trs_explorer.evaluation.intervals import wilson
from trs_explorer.evaluation.table1.columns import LIMIT
from trs_explorer.evaluation.table1.stored import stored_evaluations
from trs_explorer.explore.attack_paths import attack_path_on
from trs_explorer.explore.compute_lock import PROCESS_LOCK
from trs_explorer.explore.gallery import predictions
from trs_explorer.explore.planes import ball_polygon
from trs_explorer.explore.slices import assemble, with_vote
from trs_explorer.figures.lesson import Series, Share, accuracy_curves, small_slice
from trs_explorer.figures.slice_data import Attacks, Slice
from trs_explorer.figures.theme import CLASS_COLOURS
from trs_explorer.web.attack_paths import configured_attack
from trs_explorer.web.lesson.card import Card, Teacher, choice, figure, out, part, scrolling, slider, whole_number
from trs_explorer.web.lesson.measurements import accuracy_share, conditions, follow, paper_figures, requests_of_runs, share
from trs_explorer.web.lesson.view import CardRequest, View
from trs_explorer.web.matrix import matrix_key
from trs_explorer.web.page_request import PageRequest
from trs_explorer.web.robust_accuracy import evaluation_attack, first_images, robust_accuracies
from trs_explorer.web.slice_cache import SliceCache

SERIES = {"mnist-dverge": Series("DVERGE", CLASS_COLOURS[5], "circle"), "mnist-trs": Series("TRS", CLASS_COLOURS[2], "diamond")}
RUNS = tuple(SERIES)
ATTACKS = {"fgsm": "FGSM", "pgd": "PGD", "mora": "MORA"}  # weak to strong; only the first is shown before the guess
WORST = "strong", "all (stored)"  # too slow to run here: what Table 1 of the run says
RADII = (0.1, 0.15, 0.2, 0.3)
LEVEL = 2  # of a slice's nested grids: 97 x 97 points
SPAN = 4.0  # half the side of a slice, in L2: wide enough for boundaries along the gradient
IMAGES = (8, 15, 18, 4)
SLICES = SliceCache()


CARD = Card(
    name="baseline",
    title="The baseline",
    lead=(
        "DVERGE is the strongest rival in the paper. Under FGSM, one step along the gradient of the loss, the two are about "
        "alike "
        "(dotted, measured while you read)."
    ),
    stage=[
        figure("curves"),
        html.P(out("of"), className="of", role="status"),
        html.Div(
            [html.Figure([figure(run), html.Figcaption([html.B(series.name), " ", out(run)])]) for run, series in SERIES.items()],
            className="slices",
            **{"data-after": True},
        ),
    ],
    controls=html.Div(
        [
            slider("eps", "the path's eps", low=0.05, high=0.3, step=0.05),
            html.Span(
                [
                    whole_number("image", "image ", high=9999),
                    *(choice(str(k), image=k) for k in IMAGES),
                ],
                className="row",
            ),
        ],
        className="row wide",
        **{"data-after": True},
    ),
    question="Now PGD: 20 steps instead of one, each along the gradient at the image that it has reached. What becomes of the "
    "two curves?",
    choices=(
        "both stay where they are: FGSM has shown what there is",
        "both fall, and stay about alike",
        "TRS falls further: it was not trained on attacks",
        "DVERGE falls much further than TRS",
    ),
    right=3,
    answer=(
        "FGSM looks at the gradient once, and DVERGE was trained on attacks of that kind. PGD computes the gradient anew at "
        "every "
        "step; MORA follows the members that can still be changed.",
        "The slices: to the right along the loss's gradient at the image, upwards a random direction, one scale for both. DVERGE "
        "often looks the safer one. But the attack leaves that gradient, and the plane. Trust curves, not pictures.",
        "★ is the image, the line the attack's way, ✕ an end that fools, ○ one that does not, the closed line the ball of ε. "
        "Distances are L2. Hatched: outside [0, 1].",
        html.Details([html.Summary("the numbers"), scrolling("the numbers of the curves", part("table"))]),
    ),
    paper=f"Table 1: FGSM at ε 0.1 / 0.2: DVERGE {paper_figures('fgsm', 'dverge')}, TRS {paper_figures('fgsm', 'trs')}; "
    f"PGD at ε 0.1 / 0.15: DVERGE {paper_figures('pgd', 'dverge')}, TRS {paper_figures('pgd', 'trs')} (other networks). Its "
    "reading: DVERGE protects the gradient direction, TRS is smooth in all.",
    measured="Live, here, on the runs that ship: accuracy on all images, 95 % intervals. DVERGE holds better under PGD than the "
    "paper's; MORA shows that a part of that is masked gradients (trs evaluate mnist-dverge --attacks pgd,mora). All: ten "
    "attacks in turn, AutoAttack's among them, on 1,000 images; that takes minutes, so trs compare has stored it.",
    teacher=Teacher(
        10,
        "Two ensembles, one weak attack, no difference. Let them vote on the strong attack. Reveal, and only then look at the "
        "slices: ask which of the two looks safer, and compare with the curves.",
        "Why does the attack's line in DVERGE's slice hardly reach the edge of its ball, and yet the image is fooled?",
        "That an attack along the gradient is the worst there is. The gradient is the best direction for a tiny step only; and a "
        "slice shows two directions of 784.",
    ),
    fields={"eps": 0.2, "image": IMAGES[0], "n": 128, "steps": 20, "seed": 0},
)


@dataclass(frozen=True)
class DrawnSlice:
    """A slice of a run's ensemble along its own gradient and a random direction, with PGD's path in it.

    figure: the slice.
    text: what the attack does.
    """

    figure: go.Figure
    text: str


def view(card: CardRequest) -> View:
    """Return the card's view: the curves as far as they are measured and, after the guess, the slices."""
    parsed, missing = requests_of_runs(card, RUNS, norm="linf", eps="")
    if not parsed:
        return View(figures={"curves": missing})
    first = next(iter(parsed.values()))
    key = ("curves", *(part for request in parsed.values() for part in matrix_key(request.loaded, request.state)))
    snapshot = follow(card, key, lambda: measure_curves(list(parsed.values())))
    done = snapshot.state == "done"
    shown = ATTACKS if card.revealed else ("fgsm",)
    curves = as_curves(snapshot.value or {}, shown, stored_worst(parsed) if card.revealed else {})
    of = conditions(first, f"FGSM: one step; PGD and MORA: {first.state.steps} steps")
    of += " All (stored): strong, first 1,000 test images." if card.revealed else ""
    figures: dict[str, object] = {"curves": accuracy_curves(curves, look=card.look) if curves else "Measuring ..."}
    texts = {"of": " ".join(filter(None, (missing, of, "" if done else "Measuring ...")))}
    notices = [*first.warnings]
    if card.revealed:
        for run, request in requests_of_runs(card, RUNS, plane="random", norm="linf", attack="pgd", span=SPAN)[0].items():
            slice_ = attacked_slice(request, look=card.look)
            figures[run], texts[run] = slice_.figure, slice_.text
            notices += [warning for warning in request.warnings if warning not in notices]
    return View(figures, texts, {"table": table(curves)}, "\n".join(notices), done)


Rates = Mapping[str, Mapping[str, Sequence[Rate]]]  # by run, by attack ("": clean, one rate): the rates at RADII so far


def measure_curves(requests: Sequence[PageRequest]) -> Iterator[Rates]:
    """Measure all runs under one attack after the other, the weakest first: before the guess, it is all that is shown."""
    rates: dict[str, dict[str, list[Rate]]] = {request.loaded.name: {} for request in requests}
    for attack in ATTACKS:
        for request in requests:
            state, loaded = request.state, request.loaded
            x, y = first_images(loaded.data, state.n)
            attacks = [evaluation_attack(replace(state, attack=attack, eps=eps)) for eps in RADII]
            for clean, *attacked in robust_accuracies(loaded.ensemble, x, y, attacks, seed=state.seed):
                rates[loaded.name] |= {"": [clean], attack: attacked}
                yield {run: dict(by_attack) for run, by_attack in rates.items()}


def stored_worst(requests: Mapping[str, PageRequest]) -> dict[str, list[tuple[float, Share]]]:
    """Return by run the accuracy under the worst of all attacks that its Table 1 has, by radius; of these weights alone."""
    found = {}
    for run, request in requests.items():
        loaded = request.loaded
        stored = stored_evaluations(loaded.run, loaded.digest, LIMIT)
        rates = {column: rate for one in stored[:1] for column, rate in one.rates.items() if column.attack == WORST[0]}
        points = [
            (column.eps, share(rate["correct"], rate["n"], wilson(rate["correct"], rate["n"]))) for column, rate in rates.items()
        ]
        found[run] = sorted((eps, point) for eps, point in points if eps is not None and point)
    return found


def as_curves(
    rates: Rates, shown: Sequence[str], worst: Mapping[str, Sequence[tuple[float, Share]]]
) -> list[tuple[Series, dict[str, list[tuple[float, Share]]]]]:
    """Return the curves for the chart, by the attacks' names; each begins with the clean accuracy at eps 0.

    worst: by run, what is stored of all attacks together, which is drawn last.
    """
    curves = []
    for run, by_attack in rates.items():
        lines = {}
        for attack in shown:
            points = zip((0.0, *RADII), [*by_attack.get("", []), *by_attack.get(attack, [])], strict=False)
            shares = [(eps, share) for eps, rate in points if (share := accuracy_share(rate))]
            if len(shares) > 1:
                lines[ATTACKS[attack]] = shares
        if worst.get(run):
            lines[WORST[1]] = [*worst[run]]
        if lines:
            curves.append((SERIES[run], lines))
    return curves


def table(curves: Sequence[tuple[Series, Mapping[str, Sequence[tuple[float, Share]]]]]) -> html.Table:
    """Build the numbers of the curves: one row an ensemble and attack."""
    rows = []
    for series, lines in curves:
        for attack, points in lines.items():
            shares = dict(points)
            cells = [html.Td(shares[eps].text if eps in shares else "" if attack == WORST[1] else "...") for eps in RADII]
            rows.append(html.Tr([html.Th(f"{series.name} {attack}", scope="row"), *cells]))
    head = [html.Th("correct, %", scope="col"), *(html.Th(f"ε {eps:g}", scope="col") for eps in RADII)]
    return html.Table([html.Thead(html.Tr(head)), html.Tbody(rows)])


def attacked_slice(request: PageRequest, *, look: str) -> DrawnSlice:
    """Sample and draw a slice, and PGD on the ensemble, which ends at its image of highest loss, whether or not that fools."""
    state = replace(request.state, surrogate=len(request.loaded.ensemble))
    key = (*matrix_key(request.loaded, state), state.image, look)
    return _drawn(_Wanted(key, replace(request, state=state), look))


@dataclass(frozen=True)
class _Wanted:
    """What is to be drawn; the key alone says whether it has been drawn before."""

    key: tuple
    request: PageRequest = field(compare=False)
    look: str = field(compare=False)


@lru_cache(maxsize=32)  # the page asks again and again while the curves grow
def _drawn(wanted: _Wanted) -> DrawnSlice:
    loaded, state = wanted.request.loaded, wanted.request.state
    with PROCESS_LOCK.hold():
        view = SLICES.view(wanted.request)
    logits = assemble([SLICES.samples(view, level) for level in range(LEVEL + 1)])
    with PROCESS_LOCK.hold():
        outputs = with_vote(view.loaded.ensemble, logits)[:, :, -1:]
        _, attack = configured_attack(state)
        y = torch.tensor([view.y])
        path = attack_path_on(loaded.ensemble, state.surrogate, view.x[None], y, attack, seed=state.seed, for_transfer=True)
        predicted = int(predictions(loaded.ensemble, path.x_adv)[-1, 0])
    along, across = view.plane.pair(path.x_adv[0])
    off, fooled = float(view.plane.distance(path.x_adv)[0]), predicted != view.y
    text = (
        f"image {state.image}, a {view.y}: PGD of ε {state.eps:g} goes {along:.1f} along the gradient, {abs(across):.1f} "
        f"across and {off:.1f} off the plane; predicted {predicted}{', fooled' if fooled else ''}."
    )
    plane = Slice(["the ensemble"], outputs, view.low, view.high, view.plane.names, box=view.box)
    points = np.asarray(view.plane.coordinates(path.images).tolist())
    ball = ball_polygon(view.plane, view.x, state.eps, state.norm)
    attacks = Attacks(f"PGD-{state.steps}", view.home, ball, [points], np.array([[fooled]]), [text])
    return DrawnSlice(small_slice(plane, attacks, label=f"{SERIES[loaded.name].name}: {text}", look=wanted.look), text)
