"""Card "theorem": the pairs of card 3 compared with the paper's bounds."""

from collections.abc import Sequence
from statistics import mean

from dash import html

from trs_explorer.explore.jobs import Snapshot
from trs_explorer.explore.two_nets import CORNERS, EPS, OPTIONS, Progress, Settings
from trs_explorer.figures.theme import SERIES_COLOURS
from trs_explorer.figures.two_nets import Pair, cosine_ranges
from trs_explorer.files import Json
from trs_explorer.options import UsageError, unknown
from trs_explorer.web.lesson.card import Card, Teacher, act, after, figure, out, part, scrolling, whole_number
from trs_explorer.web.lesson.ten_seeds import SEEDS, figures, stored, transfer_of
from trs_explorer.web.lesson.train_it import beta_text, follow_training
from trs_explorer.web.lesson.trained import TRAINED, corner_of
from trs_explorer.web.lesson.view import CardRequest, View

NUMBERS = ("I", "II", "III", "IV", "V", "VI")  # of the trainings; F, G and B are others' names
HEAD = ("no.", "trained with", "|cos| at the points", "S̲ to S̄", "β", "lower bound", "upper bound", "Thm 2 applies up to ε =",
        "there PGD fools one", "transfer")  # fmt: skip


def rows_of(corner: str) -> list[Json]:
    """Return the stored figures of a setting, one row a seed."""
    return [row for row in stored() if row["corner"] == corner and row["seed"] in SEEDS]


def view(card: CardRequest) -> View:
    """Return the card's view: ten seeds of every setting, and what was trained in this tab. Raises: UsageError."""
    corner, snapshot, training = card.fields.get("train", ""), Snapshot(state="done"), ""
    if corner:
        settings = parse_training(corner, card.fields.get("seed", ""))
        snapshot = follow_training(card, settings)
        training = {"running": f"training {corner}, seed {settings.seed}", "done": "done"}.get(snapshot.state, snapshot.error)
        if isinstance(snapshot.value, Progress) and snapshot.value.result:
            TRAINED.add(card.session, settings, figures(snapshot.value.result))
    trained_here = [(corner_of(settings), settings.seed, measured) for settings, measured in TRAINED.of(card.session)]
    groups = {corner: rows_of(corner) for corner in CORNERS}
    labels = [
        f"{number}: {percent(transfer_of(rows).value)}" if card.revealed else number
        for number, rows in zip(NUMBERS, groups.values(), strict=True)
    ]
    pairs = [_pair(row, group) for group, rows in enumerate(groups.values()) for row in rows]
    trained = [_pair(measured, list(CORNERS).index(corner) if corner in CORNERS else -1) for corner, _, measured in trained_here]
    chart = cosine_ranges(pairs, labels, trained_here=trained, over_beta=card.revealed, look=card.look)
    after = {"table": table(groups, trained_here)} if card.revealed else {}
    texts = {"training": training, **({"within": within_text(groups)} if card.revealed else {})}
    return View({"cosines": chart}, texts, after, done=snapshot.state != "running")


def parse_training(corner: str, seed: str) -> Settings:
    """Parse what a button trains. Raises: UsageError."""
    if corner not in CORNERS:
        raise UsageError(unknown("train", corner[:40], tuple(CORNERS)))
    option = OPTIONS[-1]
    if not seed.isdecimal():
        raise UsageError(f"seed takes a whole number {option.range_text}, got {seed[:40]!r}")
    return Settings(*CORNERS[corner], option.check(int(seed)))


def _pair(measured: Json, group: int) -> Pair:
    return Pair(measured["beta"], measured["lowest"], measured["highest"], group)


def table(groups: dict[str, list[Json]], trained_here: Sequence[tuple[str, int, Json]]) -> html.Table:
    """Build the bounds: one row a setting, then one for each pair that was trained here."""
    numbers = dict(zip(CORNERS, NUMBERS, strict=True))
    lines = [(numbers[corner], corner, rows) for corner, rows in groups.items()]
    lines += [(numbers.get(corner, "·"), f"{corner}, seed {seed}", [measured]) for corner, seed, measured in trained_here]
    body = [
        html.Tr([html.Td(number), html.Th(name, scope="row"), *map(html.Td, _cells(rows))], **{"data-line": name})
        for number, name, rows in lines
    ]
    caption = f"Means of ten seeds, then what was trained here. ε {EPS:g}; transfer and β as on card 3"
    return html.Table([
        html.Caption(caption), html.Thead(html.Tr([html.Th(text, scope="col") for text in HEAD])), html.Tbody(body, id="bounds"),
    ])  # fmt: skip


def _cells(rows: Sequence[Json]) -> list[str]:
    tried, transfer = sum(row["shown"] for row in rows), transfer_of(rows)
    fooled = sum(row["within"][0] for row in rows)
    averages = {name: mean(row[name] for row in rows) for name in ("cosine", "lowest", "highest", "beta", "promised")}
    return [
        f"{averages['cosine']:.3f}", f"{short(averages['lowest'])} to {short(averages['highest'])}", beta_text(averages),
        _bounds([row["lower"] for row in rows if row["lower"] is not None and row["lower"] > 0], len(rows)),
        _bounds([row["upper"] for row in rows if row["upper"] is not None and row["upper"] < 1], len(rows)),
        f"{averages['promised']:.3f}", f"{fooled} of {tried}",
        f"{percent(transfer.value)}: {transfer.hits} of {transfer.of}" if transfer else "no attack fools",
    ]  # fmt: skip


def _bounds(bounds: Sequence[float], n: int) -> str:
    return f"{', '.join(map(percent, bounds))} ({len(bounds)} of {n})" if bounds else "vacuous"


def percent(value: float) -> str:
    """Format a share; small ones with one digit more."""
    return f"{100 * value:.{int(0 < value < 0.01)}f}\u00a0%"


def short(cosine: float) -> str:
    """Format a cosine."""
    return (f"{cosine:.0f}" if abs(cosine) > 0.995 else f"{cosine:.2f}").replace("-", "−")


def within_text(groups: dict[str, list[Json]]) -> str:
    """Say up to which radius Theorem 2 applies, and what attacks of that radius do."""
    rows = [row for group in groups.values() for row in group]
    radii = [mean(row["promised"] for row in group) for group in groups.values()]
    one, both = (sum(row["within"][k] for row in rows) for k in range(2))
    tried = sum(row["shown"] for row in rows)
    fooled = f"PGD fools even one network in {one} of {tried} attacks, both in {both}"
    return f"below ε {min(radii):.2f} to {max(radii):.2f}, and there {fooled}"


def theorem_share(corner: str) -> str:
    """Return the theorems' count of a setting: the attacks that fool both, of all attacks."""
    rows = rows_of(corner)
    both, tried = sum(row["transferred"] for row in rows), sum(row["shown"] for row in rows)
    return f"{percent(both / tried)}, {both} of {tried}"


def _key(number: str, corner: str, colour: str) -> html.Span:
    return html.Span([html.I(className="swatch", style={"background": colour}), " ", html.B(number), " ", corner])


CARD = Card(
    name="theorem",
    title="The theorem",
    lead="The six trainings of card 3, I to VI, ten seeds each. How far apart are the gradients of F and G, not at the training "
    "points but all around them, where attacks go? A line reaches from the lowest cosine found there, S̲, to the highest, S̄.",
    stage=[
        html.Div(
            [html.Span("trained with:"), *map(_key, NUMBERS, CORNERS, SERIES_COLOURS), _key("", "trained here", "var(--ink)")],
            className="legend",
        ),
        figure("cosines"),
        after(scrolling("the bounds", part("table"))),
    ],
    controls=[
        html.Span("Train one more here:"),
        *(act([html.B(number), " ", corner], train=corner) for number, corner in zip(NUMBERS, CORNERS, strict=True)),
        whole_number("seed", "seed ", high=OPTIONS[-1].high),
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
        "few attacks fool both. III (cos) has its right angles at the points only; II "
        "(smoothness) is smooth, but its gradients are the same.",
        html.P(
            [
                "It does not say how few. Here all bounds are ",
                html.B("vacuous"),
                ": the conditions of both theorems fail at this ε. Theorem 2 begins to apply ",
                out("within"),
                ". II's radius is the largest, and all of II transfers: where gradients "
                "are short and no point is near a boundary, the theorem promises much, whatever the angle.",
            ]
        ),
        "So it shows a direction; how much transfers must be measured. And none of this certifies: the true S̄, β and B may be "
        "larger than what a sample has found.",
    ),
    paper="Theorem 1: transfer is at least (1 − α) − (η_F + η_G) − … √(2 − 2 S̲). Theorem 2: at most (ξ_F + ξ_G) / (ℓ_min − ε B "
    "(1 + √((1 + S̄) / 2)) − β ε²), if that is above 0. As β falls they close in on each other.",
    measured="Untargeted, for which the bounds are derived anew. S, β (the largest secant of the loss's gradient found; the "
    "same as on card 3), B and the "
    f"rest: from 400 fresh points a seed, where PGD took them, and 8 points of each one's ball. n: {2 * 400 * len(SEEDS)} "
    "attacks of either direction. Theorem 1 fails on one confident point: where G's gradient is almost 0, c_G has no limit. "
    "Transfer "
    "is counted as on card 3, over the points that both classify correctly and whose attack fools its own network; the theorems "
    f"count the same attacks over all of them (III: {theorem_share('cos')}).",
    teacher=Teacher(
        10,
        "We have seen it; this is what the paper proves. Up and down is the cosine, everywhere around the points; after the "
        "reveal left to right is β, how fast the gradients turn. The theorem asks for short lines near 0, far to the left: V "
        "and VI. Then II, smoothness alone: as smooth as can be, and everything transfers, because the two networks are one.",
        "On the last card |cos| of cos (III) was 0.01: why does its line reach from −1 to 1? "
        "What is a bound of more than 100 % worth?",
        "That a theorem's bound is a useful number: all of these are vacuous. That smoothness alone will do: look at II. And "
        "that β is the gradient's length: it is how fast the gradient changes.",
    ),
    fields={"seed": 0},
)
