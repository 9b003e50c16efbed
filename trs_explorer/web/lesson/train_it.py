"""Card "train it yourself": two networks in the plane, trained on this machine while the class watches."""

from collections.abc import Mapping
from dataclasses import fields
from statistics import mean

import numpy as np
from dash import html
from flask import Flask, Response, request

from trs_explorer.data.plane import HALF_SIDE
from trs_explorer.explore.compute_lock import PROCESS_LOCK
from trs_explorer.explore.jobs import Jobs, Snapshot
from trs_explorer.explore.library import Library
from trs_explorer.explore.two_nets import (
    ATTACK_STEPS,
    CORNERS,
    EPS,
    OPTIONS,
    Progress,
    Result,
    Settings,
    train,
    training_points,
    untrained,
)
from trs_explorer.files import Json
from trs_explorer.options import UsageError
from trs_explorer.web.lesson.card import Card, Teacher, after, choice, number, out, slider
from trs_explorer.web.lesson.ten_seeds import OTHERS, SEEDS, figures, stored
from trs_explorer.web.markup import Field
from trs_explorer.web.pages import json_response
from trs_explorer.web.slice_view import base64_floats

SHOWN_ATTACKS = 26


def add_routes(server: Flask, library: Library, jobs: Jobs) -> None:
    """Add /lesson/train-it/train, which starts a training unless it runs or is done, and .../state, which reports its progress.

    A client's new training replaces its previous one. Both routes respond alike; "wrong" is the message of an invalid request.
    """
    del library

    def state_of(*, start: bool) -> Json:
        settings = parse_settings(request.args)
        key = ("train-it", settings)
        if start:
            slot = f"training of {request.args.get('client', '')[:64]}"
            snapshot = jobs.start(key, slot, lambda: train(settings))
        else:
            snapshot = jobs.get(key) or Snapshot(state="none")
        return training_json(settings, snapshot)

    @server.get("/lesson/train-it/train")
    def begin() -> Response:
        return json_response(lambda: state_of(start=True))

    @server.get("/lesson/train-it/state")
    def state() -> Response:
        return json_response(lambda: state_of(start=False))


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


def training_json(settings: Settings, snapshot: Snapshot) -> Json:
    """Return a training as the page draws it: margins and points as base64 of little-endian float32."""
    progress = snapshot.value
    if not isinstance(progress, Progress):
        with PROCESS_LOCK.hold():
            progress = untrained(settings.seed)
    points, labels = training_points(settings.seed)
    return {
        "settings": {field.name: getattr(settings, field.name) for field in fields(settings)},
        "state": snapshot.state,
        "error": snapshot.error,
        "seconds": snapshot.seconds,
        "step": progress.step,
        "steps": progress.steps,
        "terms": progress.terms,
        "cosine": progress.cosine,
        "margins": base64_floats(progress.margins),
        "points": base64_floats(np.column_stack([points.numpy(), labels.numpy()])),
        "half": HALF_SIDE,
        "result": _result(progress.result) if progress.result else None,
    }


def _result(result: Result) -> Json:
    """Return the figures, and a few attacks that fool F: x, y before; x, y after; whether G, correct before, is fooled too."""
    shown = np.flatnonzero(result.right.all(0) & result.fooled[0])[:SHOWN_ATTACKS]
    attacks = np.column_stack([result.x[shown], result.x_adv[shown], result.fooled[1, shown]])
    return {**figures(result), "attacks": attacks.tolist()}


def _transfer_text(corner: str, seeds: range = SEEDS) -> str:
    """Describe the transfer of a setting on the stored seeds."""
    rows = [row for row in stored() if row["corner"] == corner and row["seed"] in seeds]
    shares = [row["fooled"] / row["eligible"] for row in rows]
    cosine = mean(row["cosine"] for row in rows)
    return f"{corner} {mean(shares):.2f} ({min(shares):.2f} to {max(shares):.2f}) at |cos| {cosine:.3f}"


NAMES = ("lambda_a", "neighbours", "smooth")
DEFAULT = CORNERS["cos"]
LEGEND = [
    html.Span("━ F"),
    html.Span("╍ G", className="second"),
    html.Span("● class 0"),
    html.Span("■ class 1"),
    html.Span("▨ F and G disagree"),
]
LEGEND_AFTER = [html.Span("× fools F and G"), html.Span("○ fools F only")]
TABLE = html.Table([
    html.Caption("Trained here"),
    html.Thead(html.Tr([html.Th(text, scope="col") for text in ("trained with", "seed", "|cos|", "β", "transfer")])),
    html.Tbody(id="trained-here"),
])  # fmt: skip

CARD = Card(
    name="train-it",
    title="Train it yourself",
    lead="Two networks, F and G, learn the same 300 points. Besides the classes they are trained to have gradients at right "
    "angles at every one of these points. Press Train: it takes seconds, on this machine.",
    stage=[
        html.Div(
            [
                html.Canvas(role="img", className="plane", **{"aria-label": "The plane with 300 points of two classes."}),
                html.Div(
                    [
                        html.Progress(id="training-bar", value="0", max="1", **{"aria-label": "training"}),
                        html.P([out("step"), html.Br(), out("now")], className="now"),
                        html.P(out("terms"), className="terms"),
                        after(html.Div(TABLE, className="trained", tabIndex=0, role="region", **{"aria-label": "trained here"})),
                    ],
                    className="beside",
                ),
            ],
            className="two",
        ),
        html.Div([html.Span(LEGEND), html.Span(LEGEND_AFTER, **{"data-after": True})], className="legend"),
    ],
    controls=[
        html.Div(
            [choice(name, **dict(zip(NAMES, weights, strict=True))) for name, weights in CORNERS.items()], className="corners"
        ),
        slider("lambda_a", "λa: |cos| at the points", low=0, high=1, step=0.01),
        slider("neighbours", "|cos| at neighbours", low=0, high=1, step=0.01),
        slider("smooth", "smoothness β", low=0, high=0.5, step=0.01),
        html.Label(["seed ", Field(type="number", min=0, max=OPTIONS[-1].high, step=1, **{"data-field": "seed"})]),
        html.Button("Train", id="train", className="reveal", **{"data-act": "train"}),
        html.Button("Train all six", id="train-all", **{"data-act": "train-all"}),
    ],
    question="Two networks are trained until their gradients are at right angles at every training point. How many of the "
    "attacks that fool one fool the other too?",
    choices=("Hardly any", "About one in five", "More than half", "All of them"),
    right=2,
    answer=(
        html.Div(number("share", out("counts")), className="numbers"),
        html.P(out("rest"), className="rest"),
        "Orthogonal where you looked is not orthogonal where the attack goes. Now press all three, and Train: smoothness carries "
        "the right angle along the attack's way.",
    ),
    paper="Section 3 trains similarity and smoothness together, because orthogonality alone is not enough (Figure 1). Its "
    "smoothness term is the gradient's length at the worst nearby point, Equation 1.",
    measured=[
        "Mean transfer of ten seeds: ",
        "; ".join(map(_transfer_text, CORNERS)),
        ". Ten other seeds, looked at once: ",
        "; ".join(_transfer_text(corner, OTHERS) for corner in ("cos", "all three")),
        f". L2 PGD, {ATTACK_STEPS} steps, ε {EPS:g}, 400 fresh points, both directions; n: both right before, and the attacked "
        "one fooled. In the plane the length of Equation 1 is a poor guide, so β itself is trained, of the margin. The weight "
        "matters: with λa 1 in place of 0.03, cos alone transferred 0.42 (0.21 to 0.62, seeds 0 to 9).",
    ],
    teacher=Teacher(
        0.8,
        "Nothing here is recorded: these are two networks, and they learn now. Watch the two lines while they train: what is "
        "between them is where F and G disagree. Train with λa alone first, reveal, then all three.",
        "Why do the right angles at the points not help? Which of the six would you ship, and what does it cost?",
        "Many say hardly any, because the loss says |cos| is 0. It is, at 300 points. Others expect smoothness alone to help: "
        "then both networks become the same, and everything transfers.",
    ),
    fields={**dict(zip(NAMES, DEFAULT, strict=True)), "seed": 0},
)
