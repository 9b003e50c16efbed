"""The charts of two networks in the plane, by their data; the picture by its pixels."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from trs_explorer.figures.theme import LOOKS
from trs_explorer.figures.two_nets import CLASSES, HIT, Pair, cosine_ranges, plane_figure

N, HALF = 49, 2.0
ALONG = np.linspace(-HALF, HALF, N)
ACROSS, UP = np.meshgrid(ALONG, ALONG)
POINTS = np.array([[-1.0, 0.5, 0], [1.0, -0.5, 1]])
F, G = ACROSS, ACROSS - UP  # F says class 1 on the right, G below the diagonal
ATTACKS = [[0, 0, 1, 0.5, 1], [0, 0, -1, 0.5, 0], [0, 1, -1, 1, 0]]


def rgb(colour):
    return [int(colour[k : k + 2], 16) for k in (1, 3, 5)]


def pixels(figure):
    """at(x, y): the picture's colour and opacity there."""
    (picture,) = figure.layout.images
    assert (picture.x, picture.y, picture.sizex, picture.sizey) == (-HALF, HALF, 2 * HALF, 2 * HALF)
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.source.partition(",")[2]))))
    size = len(image)
    return lambda x, y: image[int((HALF - y) / (2 * HALF) * size), int((x + HALF) / (2 * HALF) * size)].tolist()


def test_regions_have_their_class_where_both_agree_and_are_hatched_where_not():
    at = pixels(plane_figure(np.stack([F, G]), POINTS, half=HALF))
    assert at(1.5, -1)[:3] == rgb(CLASSES[1])  # right, and below the diagonal
    assert at(-1.5, 1)[:3] == rgb(CLASSES[0])
    disputed = [at(0.5 + 0.01 * k, 1.5) for k in range(60)]  # right, above the diagonal
    assert {colour[3] for colour in disputed} == {0, 110}
    assert all(colour[:3] == rgb(LOOKS["light"].text) for colour in disputed if colour[3])


def test_boundaries_are_where_the_margins_are_0():
    figure = plane_figure(np.stack([F, G]), POINTS, half=HALF)
    lines = [trace for trace in figure.data if trace.type == "contour" and trace.line.width == 3]
    assert [(line.name, line.line.dash) for line in lines] == [("F", "solid"), ("G", "dash")]
    for line, margin in zip(lines, (F, G), strict=True):
        assert (line.contours.start, line.contours.end) == (0, 0)
        assert np.allclose(line.z, margin)
        assert np.allclose(line.x, ALONG)
        assert np.allclose(line.y, ALONG)


def test_a_cross_ends_an_attack_that_fools_both_and_a_ring_one_that_fools_f_only():
    figure = plane_figure(np.stack([F, G]), POINTS, half=HALF, attacks=ATTACKS)
    found = {trace.name: trace for trace in figure.data if trace.name.startswith("fools") and trace.mode == "markers"}
    both, only = found["fools F and G"], found["fools F only"]
    assert (both.marker.symbol, both.marker.color, list(both.x), list(both.y)) == ("x", HIT["light"], [1], [0.5])
    assert (only.marker.symbol, list(only.x), list(only.y)) == ("circle", [-1, -1], [0.5, 1])
    line = next(trace for trace in figure.data if trace.name == "fools F only" and trace.mode == "lines")
    assert np.array_equal(line.x, [0, -1, np.nan, 0, -1, np.nan], equal_nan=True)
    assert figure.layout.meta["label"].endswith("3 attacks that fool F: 1 fool G too.")
    assert "attacks" not in plane_figure(np.stack([F, G]), POINTS, half=HALF).layout.meta["label"]


def test_points_have_their_class():
    classes = {trace.name: trace for trace in plane_figure(np.stack([F, G]), POINTS, half=HALF).data if trace.name[:5] == "class"}
    for label, (x, y) in enumerate([(-1, 0.5), (1, -0.5)]):
        trace = classes[f"class {label}"]
        assert (trace.x[0], trace.y[0], trace.marker.color) == (x, y, CLASSES[label])
    assert classes["class 0"].marker.symbol != classes["class 1"].marker.symbol


PAIRS = [Pair(50, -1, 1, 0), Pair(60, -0.9, 0.9, 0), Pair(8, 0.99, 1, 1)]


def test_a_line_reaches_from_the_lowest_to_the_highest_cosine_at_its_beta():
    figure = cosine_ranges(PAIRS, ["A", "B"], trained_here=[Pair(20, -0.5, 0.25)], over_beta=True)
    first, second, own = figure.data
    assert list(first.x) == [50, 50, None, 60, 60, None]
    assert list(first.y) == [-1, 1, None, -0.9, 0.9, None]
    assert list(second.x)[:2] == [8, 8]
    assert (list(own.x), list(own.y)) == ([20, 20, None], [-0.5, 0.25, None])
    assert first.line.color != second.line.color != own.line.color
    assert figure.layout.xaxis.type == "log"
    label = next(note for note in figure.layout.annotations if note.text == "<b>A</b>")
    assert 10**label.x == pytest.approx((50 * 60) ** 0.5)


def test_before_the_guess_beta_is_not_to_be_seen():
    figure = cosine_ranges(PAIRS, ["A", "B"], trained_here=[Pair(20, -0.5, 0.25)], over_beta=False)
    assert len(figure.data) == 2  # a pair of no group has no place
    assert all(abs(x - group) < 0.5 for group, trace in enumerate(figure.data) for x in trace.x if x is not None)
    assert "beta" not in figure.layout.meta["label"]
    assert figure.layout.xaxis.title.text is None


def test_no_label_lies_on_another():
    pairs = [
        Pair(beta, low, high, k)
        for k, (beta, low, high) in enumerate([(47, -1, 1), (50, -1, 1), (20, 0, 0.1), (21, -0.02, 0.05)])
    ]
    places = [(note.x, note.y) for note in cosine_ranges(pairs, list("ABCD"), over_beta=True).layout.annotations]
    for k, (x, y) in enumerate(places):
        assert all(abs(x - a) > 0.05 or abs(y - b) > 0.1 for a, b in places[:k])


def test_on_a_phone_labels_with_numbers_do_not_lie_on_one_another():
    """The distance from the first to the last is about 200 px there, and a letter of 12 px is about 6.5 px wide."""
    labels = ["I: 86 %", "II: 100 %", "III: 66 %", "IV: 23 %", "V: 0.6 %", "VI: 0 %"]
    betas, highs = (47, 8.4, 82, 130, 21, 27), (1, 1, 1, 1, 0.15, 0.03)
    lows = (-1, 1, -1, -1, 0.09, -0.01)
    pairs = [Pair(*one, k) for k, one in enumerate(zip(betas, lows, highs, strict=True))]
    notes = cosine_ranges(pairs, labels, over_beta=True).layout.annotations
    pixel = 200 / (max(note.x for note in notes) - min(note.x for note in notes))
    for k, one in enumerate(notes):
        for other in notes[:k]:
            apart = 6.5 / 2 * (len(one.text) + len(other.text) - 2 * len("<b></b>"))
            assert pixel * abs(one.x - other.x) > apart or abs(one.y - other.y) > 0.12, (one.text, other.text)
