"""Card "zigzag": boundaries arbitrarily close with orthogonal gradients. Computed exactly, in the browser."""

import json

from dash import html

from trs_explorer.evaluation.intervals import wilson
from trs_explorer.web.lesson.card import Card, Teacher, after, choice, number, out, slider

LEGEND = [html.Span("━ F"), html.Span("╍ G", className="second"), html.Span("● class 0"), html.Span("■ class 1")]
LEGEND_AFTER = [html.Span("× fools F and G"), html.Span("○ fools F only")]

POINTS = 120  # as in assets/web/lesson/zigzag.mjs
DIGITS = 6  # of an interval's end


def interval_table() -> str:
    """Return the lower ends of the 95 % intervals of k of n points, [n][k], as JSON; the upper end is 1 minus that of n - k."""
    return json.dumps([[round(wilson(k, n)[0], DIGITS) for k in range(n + 1)] for n in range(POINTS + 1)], separators=(",", ":"))


def _canvas(name: str, label: str, **attributes: str) -> html.Canvas:
    return html.Canvas(className=name, role="img", **{"aria-label": label, **attributes})


CARD = Card(
    name="zigzag",
    title="The zigzag",
    lead="F says class 1 above the solid zigzag, G above the dashed one, its mirror image. Every flank rises or falls at 45°: "
    "the gradients of F and G are at right angles, however small the teeth. The attack on F takes each point to the worst "
    "place for F within ε.",
    stage=[
        _canvas("plane", "Two mirrored zigzag boundaries and points of two classes."),
        html.Div([html.Span(LEGEND), html.Span(LEGEND_AFTER, **{"data-after": True})], className="legend"),
        html.Div(
            [
                _canvas("zoom", "Two flanks that cross, magnified: the gradients of F and G are at right angles."),
                after(_canvas("strip", "Transfer over tooth height.", **{"data-intervals": interval_table()})),
            ],
            className="below",
        ),
    ],
    controls=[
        slider("tooth", "height of a tooth", low=0.01, high=0.5, step=0.01),
        out("ratio"),
        html.Span([choice(f"{tooth:g}", title=f"teeth {tooth:g} high", tooth=tooth) for tooth in (0.01, 0.1, 0.2, 0.3, 0.45)]),
        slider("eps", "radius of the attack, ε", low=0.1, high=0.4, step=0.01),
    ],
    question="The teeth get smaller and smaller, the right angles stay. What share of the attacks that fool F fools G too?",
    choices=(
        "None: right angles are right angles",
        "More and more, in the end all",
        "Always the same: only the angle counts",
        "About half: for G it is chance",
    ),
    right=1,
    answer=(
        html.Div(
            [
                number("share", out("counts")),
                number("cos", out("cosAfter")),
                number("norm", "‖∇‖: length of the gradient, everywhere"),
                number("beta", out("betaHow")),
            ],
            className="numbers",
        ),
        "The boundaries become one line, and |cos| does not show it: a gradient describes one flank, the attack reaches over "
        "many.",
        "What the teeth change is β, the Lipschitz constant of the gradient: the smoothness of the theorems. The gradient's "
        "length, which the training keeps small in its place, is √2 for teeth of every size.",
    ),
    paper="Figure 1 (a): boundaries can be arbitrarily close yet orthogonal almost everywhere, so orthogonality alone is not "
    "enough; Theorem 2 needs small similarity and small β (Definition 5). Equation 1 stands in for β with the gradient's "
    "length.",
    measured=[
        "Transfer at ε = ",
        out("reach"),
        ", with 95 % intervals, by tooth height: ",
        out("few"),
        ". The attack is exact, the lowest margin of F in the L2 ball. 120 points, seed 1, 0.05 to 0.25 from the axis; n: right "
        "for both, and F fooled. Gradients are those of the margins, which for class 1 "
        "point against those of the losses; on a tip, which has two, the larger |cos| counts. Sharp "
        "tips make β infinite; the number is what it is at the least if they are rounded. That ‖∇‖ misses it here says nothing "
        "about networks.",
    ],
    teacher=Teacher(
        1.8,
        "The last card said: right angles, no transfer. Here are right angles everywhere - look at the magnified flanks - and "
        "we make the teeth smaller. After the reveal drag the tooth from 0.45 down: the number of transfers climbs, |cos| stays "
        "0.",
        "From which tooth on does nothing transfer at all, and why? (From √2 ε on: then all of the attack happens on one flank, "
        "nearly as between straight lines.) What would have to be kept small to forbid small teeth? (β, how fast the gradient "
        "turns; not its length.)",
        "Most carry the law of the last card over: right angles, so nothing. It holds as long as the gradient is the same all "
        "along the step. Some say the teeth are a trick, no real model looks like that: card 3 trains two that do the same.",
    ),
    fields={"tooth": 0.3, "eps": 0.3},
)
