"""Card "real images": four ensembles on MNIST; how similar their gradients are, how much transfers, and how robust they are."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from dash import html

from trs_explorer.evaluation.transfer import complete_images
from trs_explorer.explore.compute_lock import PROCESS_LOCK
from trs_explorer.explore.library import Loaded
from trs_explorer.figures.lesson import Series, Share, accuracy_bars, similarity_and_transfer
from trs_explorer.figures.theme import CLASS_COLOURS
from trs_explorer.gradients import input_gradients, log_odds, pair_mean, pairwise_cosine
from trs_explorer.options import UsageError, unknown
from trs_explorer.web import matrix
from trs_explorer.web.lesson.card import Card, Teacher, after, choice, figure, out, part, slider, toggle
from trs_explorer.web.lesson.measurements import accuracy_share, conditions, follow, paper_figures, requests_of_runs, share
from trs_explorer.web.lesson.view import CardRequest, View
from trs_explorer.web.page_request import PageRequest
from trs_explorer.web.robust_accuracy import BATCH, first_images

# By run: which of TRS's two terms it was trained with, and how it is drawn.
ENSEMBLES = {
    "mnist-standard": ("neither term", Series("standard", CLASS_COLOURS[5], "circle")),
    "mnist-cos-only": ("similarity only", Series("cos-only", CLASS_COLOURS[1], "triangle-up")),
    "mnist-smooth-only": ("smoothness only", Series("smooth-only", CLASS_COLOURS[4], "square")),
    "mnist-trs": ("both", Series("TRS", CLASS_COLOURS[2], "diamond")),
}
RUNS = tuple(ENSEMBLES)
GUESSED = "mnist-cos-only"  # attacked after the guess only
MEMBER_ATTACKS = {"mdi2": "MDI²-FGSM", "pgd": "PGD"}  # attacks on single members


def _attack_button(text: str, *runs: str) -> html.Button:
    return toggle(text, "attacked", *runs)


OTHERS = tuple(run for run in RUNS if run != GUESSED)
CARD = Card(
    name="images",
    title="Real images",
    lead=(
        "Four ensembles of three small networks, trained on handwritten digits, and how similar the gradients of their members "
        "are. Attack the members: of the images that fool one, how many fool another? Higher up: more attacks transfer. A dotted "
        "line: how similar is known, how many transfer is not."
    ),
    stage=[
        html.Div([figure("transfer"), after(figure("robust"))], className="pair"),
        part("table"),
        html.P(out("of"), className="of", role="status"),
    ],
    controls=[
        html.Span(
            ["attack ", *(_attack_button(ENSEMBLES[run][1].name, run) for run in OTHERS), _attack_button("all three", *OTHERS)],
            className="row",
        ),
        slider("eps", "eps", low=0.05, high=0.3, step=0.05),
        html.Span(["members by ", *(choice(words, pairs=name) for name, words in MEMBER_ATTACKS.items())], className="row"),
        html.Span(["images ", *(choice(str(n), n=n) for n in (128, 256, 1000))], className="row"),
    ],
    question="The gradients of cos-only's members are orthogonal: mean |cos| is 0.003. MDI²-FGSM, an attack that is made to "
    "transfer, attacks one member. Of the images that fool it, how many fool another member too?",
    choices=("Hardly any: the gradients are orthogonal", "About a quarter", "About two thirds", "All of them"),
    right=2,
    answer=(
        html.P(html.B(out("headline"))),
        "Orthogonal at the image is not orthogonal where the attack goes. PGD transfers less: it is not made to transfer. So the "
        "attacker decides how much transfers, not the angle alone.",
        "Each term alone lowers transfer, under PGD similarity more, under MDI²-FGSM smoothness more; both together, by far the "
        "most. The bars: PGD on each ensemble as a whole. There smoothness helps, and similarity alone "
        "does not: an attack on the whole ensemble uses all members at once, and low transfer between them does not stop it.",
    ),
    paper=f"Table 1, PGD at ε 0.1 / 0.15: cos-only {paper_figures('pgd', 'cos-only')} % right, TRS "
    f"{paper_figures('pgd', 'trs')} (other networks). It says that similarity alone cannot guarantee low transfer.",
    measured="Live, here, on the runs that ship, under the conditions below the picture; 95 % intervals; transfer by Definition "
    "6, an image counted once in all pairs. |cos| is that of the log-odds' gradients: they have the direction of the "
    "cross-entropy's, which vanish in float32 where a member is confident.",
    teacher=Teacher(
        10,
        "Attack the other three and read the picture: where do attacks transfer, and how similar are the gradients? Then the "
        "class guesses cos-only's height. Reveal. Then take PGD for the members, and see how far the points fall.",
        "Why does an attack that is made to transfer get across where PGD does not? What did each of the two terms buy?",
        "Most take orthogonal gradients for low transfer, and low transfer for safety. The attack on the whole ensemble, "
        "in the bars, needs no transfer at all: it looks at all members.",
    ),
    fields={"eps": 0.3, "pairs": "mdi2", "n": 256, "steps": 20, "seed": 0, "attacked": "mnist-standard"},
)


@dataclass(frozen=True)
class Measured:
    """What has been measured of one ensemble.

    cosine: mean |cos|.
    transfer: between members; None also if no attack fools a member.
    robust: the ensemble's accuracy under PGD.
    done: whether all is measured.
    """

    cosine: float | None = None
    transfer: Share | None = None
    robust: Share | None = None
    done: bool = False


def view(card: CardRequest) -> View:
    """Return the card's view: measure the cosines, then one run after the other. Raises: UsageError or RunError."""
    pairs = card.fields.get("pairs") or "mdi2"
    if pairs not in MEMBER_ATTACKS:
        raise UsageError(unknown("pairs", pairs[:40], tuple(MEMBER_ATTACKS)))
    parsed, missing = requests_of_runs(card, RUNS, attack="pgd", norm="linf")
    if not parsed:
        return View(figures={"transfer": missing})
    chosen = card.fields.get("attacked", "").split(",")
    wanted = [run for run in parsed if card.revealed or (run in chosen and run != GUESSED)]
    measured, done = measure(card, parsed, wanted, pairs)
    first = next(iter(parsed.values()))
    name = MEMBER_ATTACKS[pairs]
    attacks = f"{name} on members, PGD on the whole, {first.state.steps} steps, ε {first.state.eps:g}"
    of = " ".join(filter(None, (missing, conditions(first, attacks), "" if done else "Measuring ...")))
    return View(
        figures=figures(measured, name, revealed=card.revealed, look=card.look),
        texts={"of": of, "headline": headline(measured.get(GUESSED), name)},
        markup={"table": table(measured, revealed=card.revealed)},
        notice="\n".join(first.warnings),
        done=done,
    )


def measure(
    card: CardRequest, parsed: Mapping[str, PageRequest], wanted: Sequence[str], pairs: str
) -> tuple[dict[str, Measured], bool]:
    """Return what has been measured of each run, and whether all that is wanted is; start what comes next."""
    loaded = {run: request.loaded for run, request in parsed.items()}
    n = next(iter(parsed.values())).state.n
    key = ("cosines", n, *(one.digest for one in loaded.values()))
    cosines = follow(card, key, lambda: measure_cosines(loaded, n))
    measured = {run: Measured((cosines.value or {}).get(run)) for run in parsed}
    if cosines.state != "done":
        return measured, False
    for run in wanted:
        state = parsed[run].state
        make = _matrix(loaded[run], state, pairs)
        snapshot = follow(card, (*matrix.matrix_key(loaded[run], state), pairs), make)
        if isinstance(partial := snapshot.value, matrix.PartialMatrix):
            tried = complete_images(partial.matrix)
            transfer = share(*tried.pooled(), tried.pooled_interval())
            measured[run] = Measured(measured[run].cosine, transfer, accuracy_share(partial.robust), snapshot.state == "done")
        if snapshot.state != "done":
            return measured, False  # one run after the other, so that the first is there soon
    return measured, True


def _matrix(loaded: Loaded, state: object, pairs: str) -> object:
    return lambda: matrix.measure_matrix(loaded, state, member_attack=pairs)


def measure_cosines(loaded: Mapping[str, Loaded], n: int) -> Iterator[dict[str, float]]:
    """Yield, by run, the mean |cos| over pairs of members and the first n images: the directions of the log-odds' gradients."""
    cosines: dict[str, float] = {}
    for run, one in loaded.items():
        x, y = first_images(one.data, n)
        sums = torch.zeros(len(one.ensemble), len(one.ensemble))
        for images, labels in zip(x.split(BATCH), y.split(BATCH), strict=True):
            PROCESS_LOCK.yield_turn()
            with torch.enable_grad():
                _, gradients = input_gradients(one.ensemble, images, labels, of=log_odds)
            sums += pairwise_cosine(gradients).abs().sum(-1)
        cosines[run] = float(pair_mean(sums / len(x)))
        yield dict(cosines)


def figures(measured: Mapping[str, Measured], attack: str, *, revealed: bool, look: str) -> dict[str, object]:
    """Return the figures of what has been measured; a sentence where that is nothing."""
    drawn = {run: series for run, (_, series) in ENSEMBLES.items()}
    points = [(drawn[run], one.cosine, one.transfer) for run, one in measured.items() if one.cosine is not None and one.transfer]
    bars = [(drawn[run], one.robust) for run, one in measured.items() if one.robust]
    unknown = [
        (drawn[run], one.cosine) for run, one in measured.items() if one.cosine is not None and not (one.transfer or one.done)
    ]
    empty = "Measuring the gradients ..."
    transfer = similarity_and_transfer(points, unknown=unknown, attack=attack, look=look) if points or unknown else empty
    shown = {"transfer": transfer}
    if revealed:
        shown["robust"] = accuracy_bars(bars, title="correct under PGD, %", look=look) if bars else "Measuring ..."
    return shown


def headline(cos_only: Measured | None, attack: str) -> str:
    """Return the card's answer in one sentence, as far as it is measured."""
    if cos_only is None or cos_only.cosine is None or cos_only.transfer is None:
        return "No attack fools a member of cos-only." if cos_only and cos_only.done else "Measuring cos-only ..."
    share = f"{100 * cos_only.transfer.value:.0f} %"
    return (
        f"cos-only's gradients are orthogonal (mean |cos| {cos_only.cosine:.3f}), and {share} of the {attack} images that "
        "fool one member still fool another."
    )


def table(measured: Mapping[str, Measured], *, revealed: bool) -> html.Table:
    """Build the numbers beside the charts. The last column is shown after the guess."""
    head = ["ensemble", "mean |cos|", "transfer between members", *(["ensemble correct under PGD"] if revealed else [])]
    rows = []
    for run, one in measured.items():
        terms, series = ENSEMBLES[run]
        none = "no attack fools a member" if one.done else "not attacked yet"
        cells = ["..." if one.cosine is None else f"{one.cosine:.3f}", one.transfer.text if one.transfer else none]
        if revealed:
            cells.append(one.robust.text if one.robust else "...")
        name = html.Th([series.name, " ", html.Small(terms)], scope="row")
        rows.append(html.Tr([name, *map(html.Td, cells)], **{"data-run": run}))
    return html.Table([html.Thead(html.Tr([html.Th(text, scope="col") for text in head])), html.Tbody(rows)], className="shares")
