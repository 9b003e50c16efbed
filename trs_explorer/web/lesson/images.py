"""Real images."""

from dash import html

from trs_explorer.web.lesson.card import Card, Teacher

CARD = Card(
    name="images", title="Real images", lead="to be written", stage=html.Canvas(role="img", **{"aria-label": "to be written"}),
    controls=[], question="to be written?", choices=("yes", "no"), right=0, answer=("to be written",), paper="to be written",
    measured="to be written", teacher=Teacher(0.7, "", "", ""),
)  # fmt: skip
