from statistics import mean

from flask import Flask

from trs_explorer.explore.two_nets import CORNERS
from trs_explorer.web.lesson.ten_seeds import stored
from trs_explorer.web.lesson.theorem import CARD, add_routes
from trs_explorer.web.markup import markup


def of(corner):
    return [row for row in stored() if row["corner"] == corner and row["seed"] < 10]


def test_the_page_is_told_ten_seeds_of_every_corner():
    server = Flask("test")
    add_routes(server, None, None)
    told = server.test_client().get("/lesson/theorem/stored").get_json()
    assert told["corners"] == list(CORNERS)
    assert told["rows"] == [row for row in stored() if row["seed"] < 10]
    assert len(told["rows"]) == 60


def test_the_card_says_what_was_measured():
    said = markup(list(CARD.answer))
    # "all bounds are vacuous: the conditions of both theorems fail at this eps"
    assert "vacuous" in said
    assert all(row["lower"] is None and row["upper"] is None for row in stored())
    # "B's radius is the largest, and all of B transfers"
    radius = {corner: mean(row["promised"] for row in of(corner)) for corner in CORNERS}
    assert max(radius, key=radius.get) == "smoothness"
    assert min(row["transferred"] / row["shown"] for row in of("smoothness")) > 0.99
    # "C has its right angles at the points only; B is smooth, but its gradients are the same"
    assert max(row["cosine"] for row in of("cos")) < 0.05
    assert min(row["highest"] - row["lowest"] for row in of("cos")) > 1.9
    assert min(row["lowest"] for row in of("smoothness")) > 0.99
    # "short lines near 0, far to the left: E and F"
    for corner in ("cos + smoothness", "all three"):
        assert max(row["highest"] - row["lowest"] for row in of(corner)) < 0.2
        assert max(row["beta"] for row in of(corner)) < min(row["beta"] for other in ("none", "cos") for row in of(other))
