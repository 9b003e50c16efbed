"""Card "one attack": two straight boundaries, what "transfers" means, and its exact law. Computed in the browser."""

from dash import html

from trs_explorer.web.lesson.card import Card, Teacher, number, out, slider

CARD = Card(
    name="one-attack",
    title="Two boundaries, one attack",
    lead="F and G are right about the point x, each as far as its straight boundary; on the hatched side it is wrong. The "
    "attacker sees only F, the surrogate: one step of length ε along ∇F, the gradient of F's loss, which is the shortest way to "
    "where F is wrong. The attack transfers if G, the target, is wrong there too.",
    stage=html.Canvas(role="img", **{"aria-label": "Two straight boundaries and a point x."}),
    controls=[
        slider("angle", "angle between the gradients", low=0, high=180, step=1, unit="°"),
        html.Span(["cos = ", html.B(out("cos"))]),
        slider("distance", "x to G's boundary", low=0.05, high=1, step=0.05),
        slider("eps", "step ε", low=0.5, high=1.5, step=0.05),
    ],
    question="The two gradients are at right angles. Does the attack on F fool G?",
    choices=(
        "Yes: x is close to both boundaries",
        "Yes, once the step is long enough",
        "No, however long the step",
        "It depends on how close x is to G's boundary",
    ),
    right=2,
    answer=(
        html.P(html.B(out("verdict"))),
        html.Div(number("law", "ε · cos, the step's way towards G's boundary, against x's distance"), className="numbers"),
        "For straight boundaries the law is exact: G is fooled if and only if ε · cos is more than the distance of x from its "
        "boundary.",
        "At right angles cos is 0: the step runs along G's boundary. So orthogonal gradients seem to be all one needs. Are "
        "they, when the boundaries bend?",
    ),
    paper="Definition 6: an untargeted attack A on the surrogate F transfers to G at x if F(x) = G(x) = y, F(A(x)) ≠ y and "
    "G(A(x)) ≠ y: both right before, both wrong after.",
    measured="Nothing is sampled here: one point, exact geometry. The law is ours, for boundaries that are straight: the "
    "gradient of "
    "the margin is then the same everywhere (its β is 0). The paper's β is that of the loss, and not 0: the loss bends along its "
    "gradient, but its gradient's direction stays.",
    teacher=Teacher(
        1.2,
        "The attacker looks at F and nothing else. Whether G is fooled too is an accident of geometry, and here we can see "
        "all of "
        "it: the dotted line is the part of the step that leads towards G. Turn the angle from 0° to 90° and watch that part "
        "shrink.",
        "At which angle is G just not fooled? (Where cos is the distance divided by ε; with the distance 0.3 and ε = 1, at 73°.)",
        "They think of the distance first: x is near to both boundaries, so both are fooled. Or they take right angles for "
        "'half as "
        "much' rather than for nothing at all. Many forget that an attack can also push x away from G's boundary, beyond 90°.",
    ),
    fields={"angle": 90, "distance": 0.3, "eps": 1},
)
