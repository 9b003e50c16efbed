"""What the page saves: the numbers in CSV and NPZ, and what a figure or a handout says that it shows."""

import base64
import csv
import io
import re
from html import unescape

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from dash_client import call, save, state_of

from trs_explorer.explore.slices import LEVELS
from trs_explorer.figures.theme import LOOKS
from trs_explorer.web import exports
from trs_explorer.web.exports import saved_matrix
from trs_explorer.web.matrix import measure_matrix
from trs_explorer.web.page import NARROWEST, WIDEST, WIDTH
from trs_explorer.web.page_request import parse_request
from trs_explorer.web.slice_cache import SliceCache

ONE_WAY = {"run": "bars-cos-only", "image": 0, "eps": 0.2, "attack": "fgsm", "n": 2}
PICKED = {"run": "mnist-trs", "at": "0018", "image": 3, "eps": 0.25, "norm": "l2", "attack": "mim", "steps": 7, "seed": 5}


@pytest.fixture(autouse=True)
def _coarse(monkeypatch):
    """Files of the second grid: the finest has 60 times as many points."""
    monkeypatch.setattr(exports, "FINEST", 1)


def file(answer):
    """The name and bytes of a file that is sent."""
    sent = answer["download.data"]
    content = sent["content"]
    return sent["filename"], base64.b64decode(content) if sent["base64"] else content.encode()


def figure(app, state, kind="svg", **values):
    return save(app, state, kind, **values)["export.data"]


def notes(made):
    return [unescape(note["text"]) for note in made["figure"]["layout"]["annotations"]]


# --- numbers ---------------------------------------------------------------------------------------------------------


def test_columns_a_and_b_of_the_csv_are_the_axes(one_way):
    """F1's logit of class 1 is 4 a + 8 b - 6, F2's is 8 a - b - 3.5: exchanged, they would be other numbers."""
    name, data = file(save(one_way, state_of(one_way, **ONE_WAY), "csv"))
    about, *table = data.decode().splitlines()
    assert name == "slices-bars-cos-only.csv"
    assert about.startswith(f"# weights {'cd' * 32}; axes: ")
    assert about.endswith("; true class 0")
    lines = list(csv.DictReader(table))
    assert len(lines) == LEVELS[1] ** 2 * 2
    for row in lines:
        a, b = float(row["a"]), float(row["b"])
        score = {"F1": 4 * a + 8 * b - 6, "F2": 8 * a - b - 3.5}[row["member"]]
        assert float(row["logit 1"]) == pytest.approx(score, abs=1e-4)
        assert float(row["logit 0"]) == pytest.approx(-score, abs=1e-4)
    assert {float(row["a"]) for row in lines} == {float(row["b"]) for row in lines}


def test_the_axes_in_the_csv_are_named_in_their_order(app, explorer):
    for swap, names in ((0, ("F2", "F3")), (1, ("F3", "F2"))):
        state = state_of(app, run="mnist-trs", image=3, surrogate=1, target=2, swap=swap)
        _, data = file(save(app, state, "csv"))
        axes = data.decode().partition("\n")[0].partition("axes: ")[2].partition("; true class")[0]
        first, second = axes.split(" / ")
        assert (names[0] in first, names[1] in second) == (True, True), axes


def test_the_arrays_hold_the_models_outputs_the_plane_and_the_paths(app, explorer):
    state = state_of(app, run="mnist-trs", image=3, span=2)
    name, data = file(save(app, state, "npz"))
    saved = np.load(io.BytesIO(data))
    request = parse_request(explorer.library, state)
    n = LEVELS[1]
    assert name == "slices-mnist-trs.npz"
    assert saved["logits"].shape == (n, n, 3, 10)
    for row, column in ((1, 6), (40, 3), (24, 48)):
        x = saved["origin"] + saved["a"][column] * saved["u"] + saved["b"][row] * saved["v"]
        expected = request.loaded.ensemble.member_logits(torch.tensor(x, dtype=torch.float32)[None])[:, 0].detach()
        np.testing.assert_allclose(saved["logits"][row, column], expected, atol=1e-4)
    torch.testing.assert_close(torch.tensor(saved["origin"]), request.loaded.data.images(torch.tensor([3]))[0])
    assert str(saved["weights"]) == request.loaded.digest
    for path in ("path_F1", "path_F2", "path_F3", "path_ensemble"):
        np.testing.assert_allclose(saved[path][0], [0, 0], atol=1e-5)
    assert saved["y"] == request.loaded.data.y[3]


def test_a_slice_of_the_plane_is_the_square_itself(app):
    saved = np.load(io.BytesIO(file(save(app, state_of(app, run="bars-cos-only"), "npz"))[1]))
    assert saved["logits"].shape == (LEVELS[1], LEVELS[1], 2, 2)
    assert (saved["a"][0], saved["a"][-1], saved["b"][0], saved["b"][-1]) == (0, 1, 0, 1)


# --- figures ---------------------------------------------------------------------------------------------------------


def test_a_saved_figure_names_run_checkpoint_image_attack_radius_and_seed(app, explorer):
    made = figure(app, state_of(app, **PICKED))
    *_, caption, marks = notes(made)[0].split("<br>")
    digest = explorer.library.load("mnist-trs", "0018").digest[:12]
    y = int(explorer.library.load("mnist-trs").data.y[3])
    assert caption == (f"mnist-trs, epoch 18, test image 3 (class {y}); MIM-7, ε 0.25 (L2), seed 5; weights {digest}")
    assert all(mark in marks for mark in ("★ start", "dashed: on F1", "✕ fools, ○ does not", "outline", "hatched"))
    assert (made["format"], made["name"]) == ("svg", "slices-mnist-trs")
    assert figure(app, state_of(app, **PICKED), "png")["format"] == "png"


def test_a_saved_figure_of_an_own_picture_does_not_name_a_test_image(app):
    own = base64.urlsafe_b64encode(bytes(784)).decode()
    assert ", uploaded picture (class " in notes(figure(app, state_of(app, run="mnist-trs", own=own)))[0]


def test_a_saved_figure_has_the_panels_pixels_and_marks_of_the_state(app):
    state = state_of(app, run="mnist-trs", image=3, hide="1", layer="confidence")
    made = figure(app, state)["figure"]
    go.Figure(made)
    assert [text.partition("</b>")[0] for text in notes({"figure": made})[1:]] == ["<b>F1", "<b>F3", "<b>ensemble"]
    assert not [trace for trace in made["data"] if "F2" in trace["name"]]
    other = figure(app, {**state, "layer": "class"})["figure"]
    sources = [[image["source"] for image in one["layout"]["images"]] for one in (made, other)]
    assert not set(sources[0]) & set(sources[1])


def test_the_pixels_of_a_panel_are_its_own_models_when_one_before_it_is_hidden(app):
    whole = figure(app, state_of(app, run="mnist-trs", image=8))["figure"]["layout"]["images"]
    without = figure(app, state_of(app, run="mnist-trs", image=8, hide="1"))["figure"]["layout"]["images"]
    assert [image["source"] for image in without] == [whole[k]["source"] for k in (0, 2, 3)]
    assert len({image["source"] for image in whole}) == 4


def test_crosses_of_a_saved_figure_stand_where_the_attack_fools_the_panels_model(one_way):
    made = figure(one_way, state_of(one_way, **ONE_WAY, surrogate=1))["figure"]
    ends = {}
    for trace in made["data"]:
        if "fool" in trace["name"] and trace["x"]:
            for attacked in trace["meta"]["attacked"]:
                ends[attacked, trace["xaxis"]] = trace["marker"]["symbol"]
    assert ends == {
        ("F1", "x"): "x", ("F2", "x"): "circle-open", ("F2", "x2"): "x", ("F2", "x3"): "circle-open", ("ensemble", "x3"): "x",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "width"), [(None, WIDTH), (0, WIDTH), (1, NARROWEST), (299.9, NARROWEST), (1234, 1234), (10**30, WIDEST)]
)
def test_the_width_of_a_saved_picture_is_within_bounds(app, asked, width):
    made = figure(app, state_of(app, run="bars-cos-only"), "png", save_width=asked)
    assert made["scale"] * made["figure"]["layout"]["width"] == pytest.approx(width)


@pytest.mark.parametrize("hide", ["", "1", "0,1"])
def test_panels_of_a_saved_figure_are_squares(app, hide):
    layout = figure(app, state_of(app, run="bars-cos-only", hide=hide))["figure"]["layout"]
    across = layout["width"] - layout["margin"]["l"] - layout["margin"]["r"]
    up = layout["height"] - layout["margin"]["t"] - layout["margin"]["b"]
    width, height = ((layout[axis]["domain"][1] - layout[axis]["domain"][0]) * side
                     for axis, side in (("xaxis", across), ("yaxis", up)))  # fmt: skip
    assert width <= height <= width + 60  # beside it there is at most a title's height of empty paper


def test_the_words_of_a_saved_figure_fit_into_its_width(app):
    made = figure(app, state_of(app, **PICKED))["figure"]["layout"]
    lines = notes({"figure": {"layout": made}})[0].split("<br>")
    assert max(map(len, lines)) * 6.8 < made["width"] - made["margin"]["l"]  # pixels of a character, on average
    assert made["margin"]["b"] >= 20 * (len(lines) + 1)


@pytest.mark.parametrize(("white", "drawn", "look"), [(True, "dark", "print"), (False, "dark", "dark"), (False, None, "light")])
def test_a_figure_is_saved_on_white_or_as_the_page_looks(app, white, drawn, look):
    layout = figure(app, state_of(app, run="bars-cos-only"), save_white=white, look=drawn)["figure"]["layout"]
    assert layout["template"]["layout"]["font"]["color"] == LOOKS[look].text
    assert layout.get("paper_bgcolor", layout["template"]["layout"]["paper_bgcolor"]) == LOOKS[look].paper


def test_a_saved_matrix_has_the_measured_cells_and_says_what_they_are(one_way):
    state = state_of(one_way, **ONE_WAY)
    answer = call(one_way, "matrix.children", settled=state)
    while not answer["poll.disabled"]:
        answer = call(one_way, "matrix.children", changed="poll.n_intervals", settled=state)
    made = figure(one_way, state, "matrix-svg")
    assert (made["format"], made["name"]) == ("svg", "transfer-bars-cos-only")
    drawn = go.Figure(made["figure"])
    assert [list(row) for row in drawn.data[0].z] == [[50, 100, 100], [0, 50, 0]]
    assert [drawn.layout.yaxis.ticktext, drawn.layout.xaxis.ticktext] == [("F1", "F2"), ("F1", "F2", "ensemble")]
    caption = notes(made)[-1]
    for part in (
        "bars-cos-only, epoch 800",
        "95 % interval, n",
        "FGSM, ε 0.2 (max norm), seed 0",
        "% of the points that fool",
        "first 2 test points",
        "cdcd",
    ):
        assert part in caption
    assert figure(one_way, state, "matrix-png")["format"] == "png"


def test_a_saved_matrix_says_how_much_is_measured(explorer):
    request = parse_request(explorer.library, {"run": "mnist-trs", "attack": "fgsm", "n": 256})
    cache = SliceCache()
    attacks = cache.attacks(request, cache.view(request))
    partial = next(one for one in measure_matrix(request.loaded, request.state) if one.matrix.n)
    assert partial.matrix.n < 256
    layout = saved_matrix(request, attacks, partial, look="print")["layout"]
    assert f"first {partial.matrix.n} test images" in layout["annotations"][-1]["text"]


# --- handout ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def handout(one_way):
    state = state_of(one_way, **ONE_WAY)
    answer = call(one_way, "matrix.children", settled=state)
    while not answer["poll.disabled"]:
        answer = call(one_way, "matrix.children", changed="poll.n_intervals", settled=state)
    name, data = file(save(one_way, state, "handout"))
    assert name == "handout-bars-cos-only.html"
    return data.decode()


LICENCES = {"github.com", "feross.org", "lodash.com", "underscorejs.org", "openjsf.org"}


def test_a_handout_needs_no_network(handout):
    assert re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=[\"']?(?!data:)[^\"'> ]+", handout) == []
    assert not re.findall(r"@import|url\((?!data:|#)[\"']?http", handout)
    ours = re.sub(r"<script.*?</script>", "", handout, flags=re.DOTALL)
    assert "://" not in ours
    calls = re.findall(r"<script[^>]*>(?:(?!</script>).)*?Plotly\.newPlot(.*?)</script>", handout, re.DOTALL)
    figures = [code for code in calls if "bars-cos-only" in code]
    assert len(figures) == 2  # the slices, the matrix
    assert not [code for code in figures if "http" in code.replace("plotlyServerURL", "")]


def test_a_handout_is_whole(handout):
    assert handout.startswith("<!DOCTYPE html>")
    assert handout.endswith("</body></html>")
    assert "newPlot" in handout
    ours = re.sub(r"<script.*?</script>", "", handout, flags=re.DOTALL)
    text = re.sub(r"<[^>]*>", " ", ours.partition("<body>")[2])
    words = " ".join(unescape(text).split())
    for part in (
        "F1 50 9-91 1/2 100 21-100 1/1",
        "F2 0 0-79 0/1 50 9-91 1/2",
        "fools →",
        "bars-cos-only, epoch 800, test point 0 (class 0); FGSM, ε 0.2 (max norm), seed 0",
        "✕ fools the panel's model, ○ does not.",
    ):
        assert part in words, (part, words)
    assert len(re.findall(r'"source":"data:image', handout)) == 3  # a panel for each model
    assert "<button" not in ours


def test_a_handout_before_the_matrix_is_measured_has_the_figure(app):
    data = file(save(app, state_of(app, run="mnist-trs", n=1000, steps=12, seed=77), "handout"))[1].decode()
    assert "<h2>Transfer</h2>" in data
    assert data.endswith("</body></html>")


# --- refusals --------------------------------------------------------------------------------------------------------


def test_a_menu_that_is_drawn_saves_nothing_and_an_error_is_said(app):
    state = state_of(app, run="mnist-trs")
    assert call(app, "download.data", changed='{"save":"csv"}.n_clicks', state=state) == {}
    assert save(app, {"error": "gone", "run": ""}, "csv") == {}
    for kind in ("svg", "csv", "history", "matrix"):
        answer = save(app, {**state, "run": "nowhere"}, kind)
        assert "nowhere" in answer.pop("notice.children")
        assert answer == {}
