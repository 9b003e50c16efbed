"""Card "train it yourself": two networks in the plane, trained on this machine while the class watches."""

from collections.abc import Iterator, Mapping
from statistics import mean

import numpy as np
from dash import html

from trs_explorer.data.plane import HALF_SIDE
from trs_explorer.evaluation.intervals import wilson
from trs_explorer.explore.compute_lock import PROCESS_LOCK
from trs_explorer.explore.jobs import Snapshot
from trs_explorer.explore.two_nets import (
    ATTACK_STEPS,
    CORNERS,
    EPS,
    OPTIONS,
    REACH,
    Progress,
    Result,
    Settings,
    train,
    training_points,
    untrained,
)
from trs_explorer.figures.lesson import Share
from trs_explorer.figures.two_nets import plane_figure
from trs_explorer.files import Json
from trs_explorer.options import UsageError
from trs_explorer.web.lesson.card import Card, Teacher, act, after, choice, figure, number, out, part, slider, whole_number
from trs_explorer.web.lesson.ten_seeds import OTHERS, SEEDS, figures, range_text, stored, transfer_shares
from trs_explorer.web.lesson.trained import TRAINED, corner_of
from trs_explorer.web.lesson.view import CardRequest, View

SHOWN_ATTACKS = 26
WAIT_MS = 100  # between two pictures of a training
NAMES = ("lambda_a", "neighbours", "smooth")
WHAT = (
    f"neighbours: random places up to {REACH:g} from each point along either axis, about as far as an attack goes; all three: "
    "|cos| "
    "at the points and at neighbours, and smoothness"
)


def weights(corner: str) -> dict[str, float]:
    """Return the three loss weights of a named setting."""
    return dict(zip(NAMES, CORNERS[corner], strict=True))


def view(card: CardRequest) -> View:
    """Return the card's view: the pair with these settings, untrained, in training, or trained. Raises: UsageError."""
    settings, snapshot = parse_settings(card.fields), None
    if card.fields.get("train") == "all":
        settings, snapshot = _train_all(card, settings)
    elif card.fields.get("train") == "this":
        snapshot = follow_training(card, settings)
    else:
        snapshot = card.jobs.get(training_key(settings)) or Snapshot(state="none")
    progress = snapshot.value
    if not isinstance(progress, Progress):
        with PROCESS_LOCK.hold():
            progress = untrained(settings.seed)
    result, running = progress.result, snapshot.state == "running"
    if result:
        TRAINED.add(card.session, settings, figures(result))
    points, labels = training_points(settings.seed)
    plane = plane_figure(
        progress.margins,
        np.column_stack([points.numpy(), labels.numpy()]),
        half=HALF_SIDE,
        attacks=shown_attacks(result) if result and card.revealed else (),
        about=f" at step {progress.step} of {progress.steps}",
        look=card.look,
    )
    notice = {"failed": f"the training failed: {snapshot.error}", "cancelled": "the training was stopped: press Train again"}
    return View(
        figures={"plane": plane},
        texts=texts(settings, snapshot, progress) | (transfer_texts(result, settings) if card.revealed else {}),
        markup={"bar": bar(progress), **({"table": table(card.session)} if card.revealed else {})},
        notice=notice.get(snapshot.state, ""),
        done=not running,
        wait=WAIT_MS,
    )


def training_key(settings: Settings) -> tuple:
    """Return the key of a training among the jobs: both cards that train find it."""
    return "train-it", settings


def follow_training(card: CardRequest, settings: Settings) -> Snapshot:
    """Return the progress of a training, and start it if necessary. A client's new training replaces its previous one."""
    return card.jobs.follow(training_key(settings), card.slot, lambda: train(settings), again=card.again)


def _train_all(card: CardRequest, settings: Settings) -> tuple[Settings, Snapshot]:
    """Train all six settings with this seed, one after the other; return the one that is trained now, or the last."""
    chosen, snapshot = settings, Snapshot(state="none")
    for corner in CORNERS:
        chosen = Settings(*CORNERS[corner], settings.seed)
        job = card.jobs.get(training_key(chosen))
        snapshot = job if job and job.state == "done" else follow_training(card, chosen)
        if snapshot.state != "done":
            break
        TRAINED.add(card.session, chosen, figures(snapshot.value.result))
    return chosen, snapshot


def parse_settings(query: Mapping[str, str]) -> Settings:
    """Parse the settings of an address; all are required. Raises a UsageError that names the field."""
    values = {}
    for option in OPTIONS:
        raw = query.get(option.name, "")
        try:
            value = float(raw)
            value = int(value) if option.type is int and value.is_integer() else value
        except (ValueError, OverflowError):
            kind = "a whole number" if option.type is int else "a number"
            raise UsageError(f"{option.name} takes {kind} {option.range_text}, got {raw[:40]!r}") from None
        values[option.name] = option.check(value)
    return Settings(**values)


def shown_attacks(result: Result) -> list[list[float]]:
    """Return a few attacks that fool F: x, y before; x, y after; whether G, correct before, is fooled too."""
    shown = np.flatnonzero(result.right.all(0) & result.fooled[0])[:SHOWN_ATTACKS]
    return np.column_stack([result.x[shown], result.x_adv[shown], result.fooled[1, shown]]).tolist()


def texts(settings: Settings, snapshot: Snapshot, progress: Progress) -> dict[str, str]:
    """Say which pair is shown, how far its training is, and its loss."""
    doing = f"step {progress.step} of {progress.steps}"
    if snapshot.state == "none":
        doing = "not trained yet"
    elif progress.step == progress.steps:
        doing = f"trained in {snapshot.seconds:.1f}\u00a0s" if progress.result else "attacking both"
    terms = " + ".join(f"{name} {term:.4f}" for name, term in progress.terms.items())
    return {
        "step": f"{corner_of(settings)}, seed {settings.seed}: {doing}",
        "now": "" if progress.cosine != progress.cosine else f"|cos| at the points {progress.cosine:.3f}",
        "terms": f"loss {sum(progress.terms.values()):.4f} = {terms}" if terms else "",
    }


def transfer_texts(result: Result | None, settings: Settings) -> dict[str, str]:
    """Say how many attacks transfer, in both directions, and what the pair is like."""
    if result is None:
        corner, none = corner_of(settings), "this pair is not trained yet: press Train"
        if corner not in CORNERS:
            return {"forth": "–", "forthOf": none, "back": "", "backOf": "", "rest": ""}
        shares = transfer_shares(corner)
        said = {
            "forth": f"{mean(shares):.0f}\u00a0%",
            "forthOf": f"transfer, mean of {len(shares)} stored trainings ({range_text(shares)})",
        }
        return {**said, "back": "–", "backOf": none, "rest": ""}
    measured = figures(result)
    said: dict[str, str] = {}
    for name, arrow, drawn, (fooled, eligible) in zip(
        ("forth", "back"), ("F → G", "G → F"), (f"; {SHOWN_ATTACKS} of them drawn", ""), measured["directions"], strict=True
    ):
        said[name], said[f"{name}Of"] = "–", f"{arrow}: no attack fools {arrow[0]}"
        if eligible:
            share = Share(fooled, eligible, *wilson(fooled, eligible))
            said[name] = f"{100 * share.value:.0f}\u00a0%"
            interval = f"{100 * share.low:.0f} to {100 * share.high:.0f}\u00a0%"
            said[f"{name}Of"] = f"{arrow}: {fooled} of {eligible} attacks that fool {arrow[0]} (95 %: {interval}){drawn}"
    accuracy = ", ".join(f"{name} {100 * value:.1f}\u00a0%" for name, value in zip("FG", measured["accuracy"], strict=True))
    said["rest"] = (
        f"Seed {settings.seed}: mean |cos| {measured['cosine']:.3f} at the points, {measured['around']:.2f} at neighbours · β "
        f"{beta_text(measured)} "
        f"· clean accuracy {accuracy}"
    )
    return said


def beta_text(measured: Json) -> str:
    """Format the β of a pair's figures, as both cards show it."""
    return f"{measured['beta']:.1f}" if measured["beta"] < 10 else f"{measured['beta']:.0f}"


def bar(progress: Progress) -> html.Progress:
    """Build the bar of a training."""
    return html.Progress(value=str(progress.step), max=str(progress.steps), **{"aria-label": "training"})


def table(session: str) -> html.Table | html.P:
    """Build the table of what was trained in this tab, or a sentence if that is nothing."""
    if not TRAINED.of(session):
        return html.P("Nothing has been trained here yet.")
    head = ("trained with", "seed", "|cos|", "β", "F → G", "G → F")
    rows: Iterator[html.Tr] = (
        html.Tr([html.Th(corner_of(settings), scope="row"), *map(html.Td, (
            settings.seed, f"{measured['cosine']:.3f}", beta_text(measured), *map(_percent, measured["directions"])))])
        for settings, measured in TRAINED.of(session)
    )  # fmt: skip
    header = html.Thead(html.Tr([html.Th(text, scope="col") for text in head]))
    return html.Table([html.Caption("Trained here; β as on card 4; transfer by direction"), header, html.Tbody(list(rows))])


def _percent(counts: tuple[int, int]) -> str:
    fooled, eligible = counts
    return f"{100 * fooled / eligible:.0f}\u00a0%" if eligible else "–"


def _transfer_text(corner: str, seeds: range = SEEDS) -> str:
    """Describe the transfer of a setting on the stored seeds."""
    shares = transfer_shares(corner, seeds)
    cosine = mean(row["cosine"] for row in stored() if row["corner"] == corner and row["seed"] in seeds)
    return f"{corner} {mean(shares):.0f} % ({range_text(shares)}) at |cos| {cosine:.3f}"


DEFAULT = CORNERS["cos"]
LEGEND = [
    html.Span("━ F"),
    html.Span("╍ G", className="second"),
    html.Span("● class 0"),
    html.Span("■ class 1"),
    html.Span("▨ F and G disagree"),
]
LEGEND_AFTER = [html.Span("attacks on F: × fool both, ○ F only")]

CARD = Card(
    name="train-it",
    title="Train it yourself",
    lead="Two networks, F and G, learn the same 300 points. Besides the classes they are trained to have gradients at right "
    "angles at every one of these points. Press Train: it takes seconds, on this machine.",
    stage=[
        html.Div(
            [
                figure("plane"),
                html.Div(
                    [
                        part("bar"),
                        html.P([out("step"), html.Br(), out("now")], className="now"),
                        html.P(out("terms"), className="terms"),
                        after(
                            html.Div(
                                part("table"), className="trained", tabIndex=0, role="region", **{"aria-label": "trained here"}
                            )
                        ),
                    ],
                    className="beside",
                ),
            ],
            className="two",
        ),
        html.Div([html.Span(LEGEND), html.Span(LEGEND_AFTER, **{"data-after": True})], className="legend"),
    ],
    controls=[
        html.Div([*(choice(name, **weights(name)) for name in CORNERS), html.Small(WHAT)], className="corners"),
        slider("lambda_a", "λa: |cos| at the points", low=0, high=1, step=0.01),
        slider("neighbours", "|cos| at neighbours", low=0, high=1, step=0.01),
        slider("smooth", "smoothness", low=0, high=0.5, step=0.01),
        whole_number("seed", "seed ", high=OPTIONS[-1].high),
        act("Train", train="this"),
        act("Train all six", train="all"),
    ],
    question="Two networks are trained until their gradients are at right angles at every training point. How many of the "
    "attacks that fool one fool the other too?",
    choices=("Hardly any", "About one in five", "More than half", "All of them"),
    right=2,
    answer=(
        html.Div([number("forth", out("forthOf")), number("back", out("backOf"))], className="numbers"),
        html.P(out("rest"), className="rest"),
        "Orthogonal at the points is not orthogonal where the attack goes. Now press all three, and Train: with small β the "
        "gradients "
        "stay at right angles along the attack.",
    ),
    paper="Section 3 trains similarity and smoothness together, because orthogonality alone is not enough (Figure 1). Its "
    "smoothness term is the gradient's length at the worst nearby point, Equation 1.",
    measured=[
        "Transfer, mean and range of ten seeds: ",
        "; ".join(map(_transfer_text, CORNERS)),
        ". Ten other seeds, evaluated once: ",
        "; ".join(_transfer_text(corner, OTHERS) for corner in ("cos", "all three")),
        f". L2 PGD, {ATTACK_STEPS} steps, ε {EPS:g}, 400 fresh points, both directions; counted over points that both "
        "networks classify "
        "correctly and whose attack fools its own network. β is the largest secant of the loss's gradient found around the "
        "points, "
        "as on card 4. In the plane the gradient's length (Equation 1) is a poor guide, so the training lowers a mean secant "
        "of the "
        "margin's gradient. The weight matters: with λa 1 in place of 0.03, cos alone transferred 42 % (21 to 62 %, seeds 0 "
        "to 9).",
    ],
    teacher=Teacher(
        2,
        "Nothing here is recorded: these are two networks, and they learn now. Watch the two lines while they train: what is "
        "between them is where F and G disagree. Train with λa alone first, reveal, then all three.",
        "Why do the right angles at the points not help? Which of the six would you ship, and what does it cost?",
        "Many say hardly any, because the loss says |cos| is 0. It is, at 300 points. Others expect smoothness alone to help: "
        "then both networks become the same, and everything transfers.",
    ),
    fields={**dict(zip(NAMES, DEFAULT, strict=True)), "seed": 0},
)
