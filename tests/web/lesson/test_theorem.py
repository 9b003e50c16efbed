import re
from statistics import mean

import pytest
from lesson_views import asking

from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.two_nets import CORNERS, train
from trs_explorer.options import UsageError
from trs_explorer.web.lesson import theorem, train_it
from trs_explorer.web.lesson.ten_seeds import stored
from trs_explorer.web.lesson.theorem import CARD
from trs_explorer.web.markup import markup


def of(corner):
    return [row for row in stored() if row["corner"] == corner and row["seed"] < 10]


def cells(view):
    """The rows of the table, as texts."""
    rows = markup(view.markup["table"]).partition("<tbody")[2].split("<tr")[1:]
    return [[re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[dh][^>]*>.*?</t[dh]>", row)] for row in rows]


@pytest.fixture
def ask():
    jobs = Jobs()
    yield asking(theorem.view, None, jobs, seed=0, session="theorem")
    jobs.stop()


def test_every_setting_has_its_line_and_the_numbers_come_with_the_reveal(ask):
    before, after = ask(reveal=0), ask(reveal=1)
    assert before.markup == {}
    assert "transfer" not in before.figures["cosines"].layout.meta["label"]
    rows = cells(after)
    for number, corner in enumerate(CORNERS):
        seeds = of(corner)
        line = after.figures["cosines"].data[number]
        assert [x for x in line.x if x is not None][::2] == [row["beta"] for row in seeds]
        assert [y for y in line.y if y is not None] == [row[end] for row in seeds for end in ("lowest", "highest")]
        fooled, eligible = sum(row["fooled"] for row in seeds), sum(row["eligible"] for row in seeds)
        numeral, name, cosine, _, beta, lower, upper, radius, within, transfer = rows[number]
        assert (numeral, name, cosine) == (theorem.NUMBERS[number], corner, f"{mean(row['cosine'] for row in seeds):.3f}")
        assert float(beta) == pytest.approx(mean(row["beta"] for row in seeds), abs=0.51)
        assert (lower, upper) == ("vacuous", "vacuous")
        assert radius == f"{mean(row['promised'] for row in seeds):.3f}"
        assert within == f"{sum(row['within'][0] for row in seeds)} of 8000"
        assert transfer.endswith(f": {fooled} of {eligible}")
        assert line.name == f"{numeral}: {transfer.partition(':')[0]}"


@pytest.mark.slow
def test_transfer_and_beta_are_those_of_card_3(ask, monkeypatch):
    """One training, shown on both cards: the same counts, and the same beta."""
    monkeypatch.setattr(train_it, "train", lambda settings: train(settings, steps=20))
    own = cells(ask(train="cos", reveal=1, seed=3))[-1]
    jobs = Jobs()
    third = asking(train_it.view, None, jobs, lambda_a=0.03, neighbours=0, smooth=0, seed=3, session="other")(
        train="this", reveal=1
    )
    jobs.stop()
    (row,) = cells(third)
    counts = [[int(number) for number in re.findall(r"(\d+) of (\d+)", third.texts[name])[0]] for name in ("forthOf", "backOf")]
    assert own[:2] == ["III", "cos, seed 3"]
    assert own[9].endswith(f": {sum(fooled for fooled, _ in counts)} of {sum(eligible for _, eligible in counts)}")
    assert own[4] == row[3]
    assert f"β {own[4]} " in third.texts["rest"]


def test_the_numbers_of_the_trainings_are_explained_above_the_picture_in_its_colours(ask):
    key, picture = markup(CARD.stage).split("data-figure", 1)
    assert "data-markup" in picture
    lines = ask(reveal=0).figures["cosines"].data
    for numeral, corner, line in zip(theorem.NUMBERS, CORNERS, lines, strict=True):
        assert line.name == numeral
        assert f'style="background:{line.line.color}"></i> <b>{numeral}</b> {corner}</span>' in key
    assert not set(theorem.NUMBERS) & {"F", "G", "B"}  # the networks, and the gradient's length


def test_what_cannot_be_trained_is_told(ask):
    with pytest.raises(UsageError, match="Choose from none, smoothness"):
        ask(train="everything")
    with pytest.raises(UsageError, match="seed takes a whole number"):
        ask(train="cos", seed="1.5")


def test_the_card_says_what_was_measured():
    said = markup(list(CARD.answer))
    # "all bounds are vacuous: the conditions of both theorems fail at this eps"
    assert "vacuous" in said
    assert all(row["lower"] is None and row["upper"] is None for row in stored())
    # "II's radius is the largest, and all of II transfers"
    radius = {corner: mean(row["promised"] for row in of(corner)) for corner in CORNERS}
    assert max(radius, key=radius.get) == "smoothness"
    assert min(row["transferred"] / row["shown"] for row in of("smoothness")) > 0.99
    # "III (cos) has its right angles at the points only; II (smoothness) is smooth, but its gradients are the same"
    assert max(row["cosine"] for row in of("cos")) < 0.05
    assert min(row["highest"] - row["lowest"] for row in of("cos")) > 1.9
    assert min(row["lowest"] for row in of("smoothness")) > 0.99
    # "short lines near 0, far to the left: V and VI"
    for corner in ("cos + smoothness", "all three"):
        assert max(row["highest"] - row["lowest"] for row in of(corner)) < 0.2
        assert max(row["beta"] for row in of(corner)) < min(row["beta"] for other in ("none", "cos") for row in of(other))
