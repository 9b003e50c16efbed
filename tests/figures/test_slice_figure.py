"""What the figure of slices says, read from its data: whose attack, on whose panel, along which axis."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from trs_explorer.explore.planes import ball_polygon, domain
from trs_explorer.figures.boundaries import decision_boundaries, hatching
from trs_explorer.figures.pixels import class_picture
from trs_explorer.figures.slice_data import Attacks, Slice, SpanningImage
from trs_explorer.figures.slice_figure import (
    KEY_PX,
    MAX_KEY,
    SMALLEST_TITLE,
    TITLE_SIZE,
    key_room,
    slice_figure,
    slice_spec,
)
from trs_explorer.figures.theme import class_colours

N = 49
ALONG = np.linspace(-2, 2, N)
A, B = np.meshgrid(ALONG, ALONG)  # row: b, column: a
SQUARE = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])


def two_classes(score):
    """Outputs of a model that predicts class 1 where score > 0."""
    return np.stack([-score, score], -1)


@pytest.fixture
def view():
    """F1's boundary is a = .5, F2's b = 1, and the ensemble's a + b = 1.5, exactly."""
    outputs = np.stack([two_classes(A - 0.5), two_classes(B - 1), two_classes(A + B - 1.5)], 2)
    return Slice(["F1", "F2", "ensemble"], outputs, -2.0, 2.0, ("first <b>", "second, seed 7"), SQUARE)


@pytest.fixture
def attacks():
    """The attack on F1 fools F1 and the ensemble; that on F2 only F1; that on the ensemble nothing."""
    paths = [np.array([[0, 0], [0.9, 0.1]]), np.array([[0, 0], [0.2, 0.7]]), np.array([[0, 0], [-0.3, -0.4]])]
    fools = np.array([[True, False, True], [True, False, False], [False, False, False]])
    return Attacks("PGD-10", (0.0, 0.0), SQUARE * 0.8, paths, fools, ["0 → 1, fooled", "0, not fooled", "0, robust"])


def named(spec, place, name):
    axis = f"x{place + 1}" if place else "x"
    (found,) = [t for t in spec["data"] if t.get("xaxis") == axis and t["name"] == name]
    return found


def points(trace):
    return np.array([p for p in zip(trace["x"], trace["y"], strict=True) if p[0] is not None])


# --- geometry --------------------------------------------------------------------------------------------------------


def test_the_boundary_of_a_linear_model_is_its_straight_line(view):
    spec = slice_spec(view)
    for place, distance in ((0, lambda p: p[:, 0] - 0.5), (1, lambda p: p[:, 1] - 1), (2, lambda p: p.sum(-1) - 1.5)):
        line = points(named(spec, place, "boundaries"))
        assert np.abs(distance(line)).max() < 1e-5
    first = points(named(spec, 0, "boundaries"))
    assert (first[:, 1].min(), first[:, 1].max()) == (-2, 2)  # from edge to edge


def test_boundaries_of_three_classes_meet_in_one_point():
    """Logits a, b and 0: the three regions meet at the origin, along a = b > 0, a = 0 > b and b = 0 > a."""
    lines = decision_boundaries(np.stack([A, B, 0 * A], -1), ALONG)
    found = np.concatenate(lines)
    step = ALONG[1] - ALONG[0]
    far = found[np.hypot(*found.T) > 2 * step]
    on = [np.abs(far[:, 0] - far[:, 1]) + 9 * (far[:, 0] < 0), np.abs(far[:, 0]) + 9 * (far[:, 1] > 0),
          np.abs(far[:, 1]) + 9 * (far[:, 0] > 0)]  # fmt: skip
    assert np.min(on, 0).max() < 1e-9
    assert [int((np.argmin(on, 0) == k).sum() > N // 3) for k in range(3)] == [1, 1, 1]


def test_where_an_output_is_not_a_number_there_is_no_boundary():
    outputs = two_classes(A - 0.5)
    outputs[B > 1] = np.nan
    assert max(line[:, 1].max() for line in decision_boundaries(outputs, ALONG)) <= 1
    assert decision_boundaries(np.full((N, N, 2), np.nan), ALONG) == []


def test_gaps_keep_lines_apart(view):
    """A boundary of two lines: none of the drawn segments leads from one to the other."""
    outputs = np.stack([two_classes(np.abs(A) - 1)], 2)
    trace = named(slice_spec(Slice(["F1"], outputs, -2.0, 2.0, ("a", "b"))), 0, "boundaries")
    pairs = zip(trace["x"], trace["x"][1:], strict=False)
    assert all(x is None or next_x is None or abs(x - next_x) < 0.1 for x, next_x in pairs)
    assert {round(x, 5) for x in trace["x"] if x is not None} == {-1, 1}


def test_the_ball_has_the_radius(view, attacks):
    plane = domain((1, 1, 2))
    ball = ball_polygon(plane, plane.origin + 0.5, 0.25, "l2")
    spec = slice_spec(view, Attacks("A", (0.5, 0.5), ball, attacks.paths, attacks.fools, attacks.headlines))
    drawn = points(named(spec, 1, "ε-ball of the attack"))
    np.testing.assert_allclose(np.hypot(*(drawn - 0.5).T), 0.25, atol=1e-6)
    np.testing.assert_array_equal(drawn[0], drawn[-1])


def test_the_hatching_is_everywhere_outside_and_nowhere_inside():
    box = np.array([[-1, -1], [1.5, -0.5], [0.5, 1]])
    lines = hatching(box, -2, 2)
    inside = 0
    for line in lines:
        for share in np.linspace(0.02, 0.98, 25):
            a, b = line[0] + share * (line[1] - line[0])
            edges = np.roll(box, -1, 0) - box
            inside += bool((edges[:, 0] * (b - box[:, 1]) - edges[:, 1] * (a - box[:, 0]) > 1e-9).all())
    assert inside == 0
    length = sum(np.hypot(*(line[1] - line[0])) for line in lines)
    whole = sum(np.hypot(*(line[1] - line[0])) for line in hatching(np.zeros((0, 2)), -2, 2))
    edges = np.roll(box, -1, 0)
    area = abs((box[:, 0] * edges[:, 1] - box[:, 1] * edges[:, 0]).sum()) / 2
    assert length / whole == pytest.approx(1 - area / 16, abs=0.01)


# --- what is said ----------------------------------------------------------------------------------------------------


def test_a_cross_stands_where_the_attack_fools_the_panels_model(view, attacks):
    """Exchanging attacked and judged model, or cross and ring, changes this."""
    spec = slice_spec(view, attacks, surrogate=0)

    def ends(place, model):
        axis = f"x{place + 1}" if place else "x"
        found = {}
        for words in ("fools", "does not fool"):
            for trace in spec["data"]:
                if trace.get("xaxis") == axis and trace["name"] == f"{words} {model}":
                    symbol = trace["marker"]["symbol"]
                    pairs = zip(trace["meta"]["attacked"], points(trace).tolist(), strict=True)
                    found |= {attacked: (symbol, point) for attacked, point in pairs}
        return found

    assert ends(0, "F1") == {"F1": ("x", [0.9, 0.1])}
    assert ends(1, "F2") == {"F1": ("circle-open", [0.9, 0.1]), "F2": ("circle-open", [0.2, 0.7])}
    assert ends(2, "ensemble") == {"F1": ("x", [0.9, 0.1]), "ensemble": ("circle-open", [-0.3, -0.4])}
    spec = slice_spec(view, attacks, surrogate=1)
    assert ends(0, "F1") == {"F2": ("x", [0.2, 0.7]), "F1": ("x", [0.9, 0.1])}
    assert ends(1, "F2") == {"F2": ("circle-open", [0.2, 0.7])}


def test_paths_are_those_of_the_panels_model_and_of_the_surrogate(view, attacks):
    spec = slice_spec(view, attacks, surrogate=0)
    own, other = named(spec, 1, "path of PGD-10 on F2"), named(spec, 1, "path of PGD-10 on F1")
    assert (own["line"]["dash"], other["line"]["dash"]) == ("solid", "dash")
    np.testing.assert_array_equal(points(own), attacks.paths[1])
    np.testing.assert_array_equal(points(other), attacks.paths[0])
    assert not [t for t in spec["data"] if t.get("xaxis") == "x" and "on F2" in t["name"]]


def test_titles_and_axes_say_what_they_are(view, attacks):
    notes = [note["text"] for note in slice_spec(view, attacks, hidden=[1])["layout"]["annotations"]]
    assert notes[1:] == ["<b>F1</b>: 0 → 1, fooled", "<b>ensemble</b>: 0, robust"]
    assert notes[0] == "→ first &lt;b&gt;   ↑ second, seed 7"
    assert slice_spec(view)["layout"]["annotations"][1]["text"] == "<b>F1</b>"
    with_caption = slice_spec(view, caption="mnist-trs, {eps} .3")["layout"]["annotations"][0]["text"]
    assert with_caption.endswith("<br>mnist-trs, &#123;eps} .3")


def test_pixels_have_a_to_the_right_and_b_upwards():
    """Class 1 in the upper right corner only."""
    uri = class_picture(two_classes(np.minimum(A, B) - 1))
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")).astype(int)
    colours = [np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) for colour in class_colours(2)]
    edge = len(pixels) - 1
    corners = {(row, column): pixels[row, column] for row in (0, edge) for column in (0, edge)}
    hues = {place: int(np.argmin([np.abs(rgb - colour).sum() for colour in colours])) for place, rgb in corners.items()}
    assert hues == {(0, 0): 0, (0, edge): 1, (edge, 0): 0, (edge, edge): 0}


def test_pixels_cover_the_square_of_every_panel(view):
    spec = slice_spec(view)
    assert [(i["xref"], i["yref"]) for i in spec["layout"]["images"]] == [("x", "y"), ("x2", "y2"), ("x3", "y3")]
    assert all((i["x"], i["y"], i["sizex"], i["sizey"]) == (-2, 2, 4, 4) for i in spec["layout"]["images"])
    assert len({i["source"] for i in spec["layout"]["images"]}) == 3


def test_pixels_of_undefined_outputs_are_grey_and_many_classes_fit():
    outputs = np.random.default_rng(0).normal(size=(25, 25, 300))
    outputs[:3] = np.nan
    uri = class_picture(outputs)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"))
    assert pixels[-1, 0].tolist() == [128, 128, 128]
    assert len(np.unique(pixels[0].reshape(-1, 3), axis=0)) > 5


def test_the_key_lists_the_classes_that_occur_where_one_looks(view):
    three = np.concatenate([view.outputs, np.full((N, N, 3, 1), -9.0)], -1)
    three[:3, :3, 1, 2] = 50  # a corner of F2
    shown = Slice(view.models, three, -2.0, 2.0, view.axes, view.box)
    key = lambda **settings: [t["name"] for t in slice_spec(shown, **settings)["data"] if t["showlegend"]]  # noqa: E731
    assert key() == ["0", "1", "2"]
    assert key(hidden=[1]) == ["0", "1"]
    colours = [t["marker"]["color"] for t in slice_spec(shown)["data"] if t["showlegend"]]
    assert colours == class_colours(3)


def test_numbers_stand_in_their_regions(view):
    trace = named(slice_spec(view), 0, "class numbers")
    where = dict(zip(trace["text"], points(trace), strict=True))
    assert where["0"][0] < 0.5 < where["1"][0]


def test_no_number_lies_under_a_picture_of_the_plane(view):
    before = points(named(slice_spec(view), 0, "class numbers"))
    image = SpanningImage("image 1", tuple(before[0] - 0.3), "data:a")
    spec = slice_spec(replace(view, images=[image]))
    picture = next(one for one in spec["layout"]["images"] if one["name"] == "image 1")
    centre, side, numbers = np.array([picture["x"], picture["y"]]), picture["sizex"], named(spec, 0, "class numbers")
    assert np.abs(before[0] - centre).max() < side  # where one would be without the picture
    assert sorted(numbers["text"]) == ["0", "1"]
    assert (np.abs(points(numbers) - centre).max(-1) > side / 2).all()


@pytest.mark.parametrize(
    ("layer", "low", "high"),
    [("margin", (214, 104, 0), (0, 92, 160)), ("confidence", (255, 255, 255), (40, 44, 60)),
     ("disagreement", (255, 255, 255), (40, 44, 60))],
)  # fmt: skip
def test_colours_that_show_no_classes_have_a_scale_and_neither_key_nor_numbers(view, layer, low, high):
    spec = slice_spec(view, layer=layer, y=1)
    (scale,) = [trace for trace in slice_figure(view, layer=layer, y=1).data if trace.name == "scale"]
    colours = [tuple(map(int, re.findall(r"\d+", colour))) for _, colour in scale.marker.colorscale]
    assert (colours[0], colours[-1]) == (low, high)
    assert len(scale.marker.colorbar.ticktext) == 2
    names = {trace["name"] for trace in spec["data"]}
    assert not names & {"class numbers", "0", "1"}
    assert names > {"boundaries"}
    if layer == "margin":  # F1 has class 1 right of a = .5, by far at the edges
        data = base64.b64decode(spec["layout"]["images"][0]["source"].partition(",")[2])
        picture = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
        middle = len(picture) // 2
        assert picture[middle, 0, 0] > picture[middle, 0, 2]  # orange, then blue
        assert picture[middle, -1, 0] < picture[middle, -1, 2]


def test_arrows_are_drawn_on_every_panel_of_their_layer(view):
    spec = slice_spec(view, layer="arrows", y=0)
    x, y = (np.array([v for v in named(spec, 0, "gradient arrows")[k] if v is not None]) for k in "xy")
    assert np.abs(np.diff(y.reshape(-1, 5)[:, :2], axis=1)).max() < 1e-6  # F1's score grows along a alone
    assert (np.diff(x.reshape(-1, 5)[:, :2], axis=1) > 0).all()
    assert named(spec, 2, "gradient arrows")
    assert not [t for t in slice_spec(view)["data"] if t["name"] == "gradient arrows"]


def test_training_points_and_the_images_of_the_plane_are_where_they_are(view):
    examples = np.array([[0.1, 0.2, 0], [1.5, -1, 1], [0.3, 0.4, 0]])
    spanning = [SpanningImage("image 8", (0, 0), "data:a"), SpanningImage("image 1", (1.5, 0))]
    spec = slice_spec(Slice(view.models, view.outputs, -2.0, 2.0, view.axes, None, examples, spanning))
    np.testing.assert_array_equal(points(named(spec, 2, "training points of class 0")), [[0.1, 0.2], [0.3, 0.4]])
    images = named(spec, 0, "images in the plane")
    assert (images["text"], images["x"], images["y"]) == (["", "image 1"], [0, 1.5], [0, 0])
    thumbnails = [i for i in spec["layout"]["images"] if i["source"] == "data:a"]  # one a panel, after all panels' pixels
    assert spec["layout"]["images"][-3:] == thumbnails
    assert [(i["xref"], i["yref"]) for i in thumbnails] == [("x", "y"), ("x2", "y2"), ("x3", "y3")]
    assert not [t for t in spec["data"] if "[0, 1]" in t["name"]]  # there is no such question in the plane


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(-5, 5, [-2.5, 0, 2.5]), (-1.41, 12.7, [0, 5, 10]), (0, 1, [0.25, 0.5, 0.75]), (-0.002, 0.002, [-0.001, 0, 0.001])],
)
def test_ticks_are_round_numbers_inside_the_square(view, low, high, ticks):
    axis = slice_spec(Slice(view.models, view.outputs, low, high, view.axes))["layout"]["xaxis"]
    assert axis["tickvals"] == ticks


def test_panels_share_one_plane_and_one_scale(view, attacks):
    figure = slice_figure(view, attacks, columns=2)  # plotly checks every property
    axes = {name: axis for name, axis in figure.to_plotly_json()["layout"].items() if name.startswith(("xaxis", "yaxis"))}
    assert len(axes) == 6
    assert all(axis["range"] == [-2, 2] and axis["constrain"] == "domain" for axis in axes.values())
    assert all(axis.get("matches") == (name[0] if name[5:] else None) for name, axis in axes.items())
    assert {name: axis["scaleanchor"] for name, axis in axes.items() if "scaleanchor" in axis} == {"yaxis": "x"}
    assert axes["xaxis"]["domain"][1] < axes["xaxis2"]["domain"][0]
    assert axes["yaxis3"]["domain"][1] < axes["yaxis"]["domain"][0]


def test_a_figure_has_few_traces(view, attacks):
    """Redrawing 16 short path traces took 74 ms: paths, outlines and marks are long ones with gaps."""
    assert len(slice_spec(view, attacks)["data"]) <= 16 * len(view.models) + 2


def test_a_figure_needs_a_model(view):
    with pytest.raises(ValueError, match="at least one model"):
        slice_spec(view, hidden=[0, 1, 2])


# --- names of classes ------------------------------------------------------------------------------------------------

NAMES = ("circle <b>", "a very long name of a class, which no panel has room for")


def test_regions_and_key_have_the_names_of_classes_shortened_and_escaped(view):
    spec = slice_spec(replace(view, class_names=NAMES))
    assert set(named(spec, 0, "class numbers")["text"]) == {"circle &lt;b&gt;", "a very lo…"}
    key = [trace["name"] for trace in spec["data"] if trace["showlegend"]]
    assert key == ["circle &lt;b&gt;", "a very long name of a c…"]
    slice_figure(replace(view, class_names=NAMES))  # plotly takes all of it


def test_names_do_not_lie_on_one_another_nor_over_the_edge():
    """Ten upright stripes: ten numbers fit side by side, but not ten names."""
    stripes = np.stack([-((A + 1.8 - 0.4 * k) ** 2) for k in range(10)], -1)[:, :, None]
    names = [f"name of {k}" for k in range(10)]
    view = Slice(["F1"], stripes, -2.0, 2.0, ("a", "b"))
    numbers, texts = (named(slice_spec(replace(view, class_names=n)), 0, "class numbers") for n in ((), names))
    assert len(numbers["text"]) == 10
    assert 1 < len(texts["text"]) < 8  # nine letters take a third of the width
    width = 0.035 * 9 * 4  # of nine letters in a square of side 4
    shift = {"middle right": width / 2, "middle left": -width / 2, "middle center": 0}
    middles = sorted(x + shift[side] for x, side in zip(texts["x"], texts["textposition"], strict=True))
    assert middles[0] - width / 2 + 1e-6 >= -2
    assert middles[-1] + width / 2 <= 2 + 1e-6


def test_of_many_classes_the_key_has_those_with_the_largest_share():
    classes = 400
    outputs = np.full((N, N, 1, classes), -9.0)
    for column in range(N):
        outputs[:, column, 0, 7 * column + (3 if column < 20 else 0)] = 9
    outputs[:, :9, 0] = -9
    outputs[:, :9, 0, 399] = 9  # nine columns; the others have one each
    spec = slice_spec(Slice(["F1"], outputs, -2.0, 2.0, ("a", "b")))
    key = [trace for trace in spec["data"] if trace["showlegend"]]
    assert len(key) == MAX_KEY + 1
    assert "399" in [trace["name"] for trace in key]
    assert key[-1]["name"] == f"and {N - 9 + 1 - MAX_KEY} more"
    assert [t["marker"]["color"] for t in key if t["name"] == "399"] == [class_colours(classes)[399]]


def test_a_key_of_several_rows_gets_room_for_them(view):
    long = tuple(f"class with a name {k}" for k in range(2))
    spec = slice_spec(replace(view, class_names=long))
    assert key_room(spec, 900) == 0
    assert key_room(spec, 300) == KEY_PX  # two rows
    assert key_room(slice_spec(view), 300) == 0


def test_titles_are_smaller_where_they_would_not_fit_and_say_whole_names_under_the_mouse(view, attacks):
    whole = [f"circle <b> → {NAMES[1]}, fooled", "", ""]
    long = replace(attacks, headlines=["circle <b> → a very lo…, fooled"] * 3, whole_headlines=whole)
    titles = [note for note in slice_spec(view, long, columns=4)["layout"]["annotations"] if note["text"].startswith("<b>")]
    assert [title["font"]["size"] for title in titles if "font" in title] == []  # three panels: there is room
    four = replace(view, models=["F1", "F2", "F3", "ensemble"], outputs=view.outputs[:, :, [0, 0, 1, 2]])
    wide = replace(long, headlines=["circle <b> → a very lo…, wrong already"] * 4, whole_headlines=[""] * 4,
                   paths=[attacks.paths[0]] * 4, fools=np.zeros((4, 4), bool))  # fmt: skip
    titles4 = [note for note in slice_spec(four, wide, columns=4)["layout"]["annotations"] if note["text"].startswith("<b>")]
    (size,) = {title["font"]["size"] for title in titles4}
    assert SMALLEST_TITLE <= size < TITLE_SIZE
    assert titles[0]["hovertext"] == f"F1: circle &lt;b&gt; → {NAMES[1]}, fooled"
    assert "hovertext" not in titles[1]
    assert titles[0]["text"] == "<b>F1</b>: circle &lt;b&gt; → a very lo…, fooled"
