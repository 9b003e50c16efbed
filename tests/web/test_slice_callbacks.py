"""The callbacks of the slices, read from the figure's data: what is drawn where, who fools whom, and what the crosshair says."""

import base64
import io
import threading
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from dash_client import call, parts, post, rows, state_of, texts
from PIL import Image

from trs_explorer.explore.array_cache import ArrayCache
from trs_explorer.explore.slices import LEVELS, sample
from trs_explorer.figures.layers import LAYERS
from trs_explorer.figures.pixels import PALEST, SHADES
from trs_explorer.figures.theme import class_colours
from trs_explorer.web import slice_cache
from trs_explorer.web.page_request import parse_request
from trs_explorer.web.slice_view import make_slice_view

ONE_WAY = {"run": "bars-cos-only", "image": 0, "eps": 0.2, "attack": "fgsm"}


def draw(app, state, level=0):
    """What the page has of a slice when the grid of a level is on the screen."""
    shown = call(app, "slice-data.data", slice_state=state)["slice-data.data"]
    for _ in range(level):
        shown = follow(app, state, shown)["slice-data.data"]
    return shown


def follow(app, state, shown, step=None):
    """The answer to what the page asks for when it has that slice. step: ask for this one instead."""
    following = {"key": shown["key"], "level": shown["next"] if step is None else step}
    return call(app, "slice-data.data", changed="next.data", slice_state=state, next=following)


def attacks(app, state):
    return call(app, "attack-data.data", attack_state=state)


def pixels(source):
    """The colours of a picture, [row from the top, column, 3]."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).convert("RGB")).astype(int)


def classes_of(source, n, classes):
    """The class whose colour, in any of its shades, a picture has at each of n x n points, [row from the bottom, column]."""
    picture = pixels(source)[::-1]
    factor = (len(picture) - 1) // (n - 1)
    at_points = picture[::factor, ::factor]
    colours = np.array([[int(c[k : k + 2], 16) for k in (1, 3, 5)] for c in class_colours(classes)])
    share = PALEST * (1 - np.arange(SHADES) / (SHADES - 1))
    shades = np.round(colours[:, None] + share[:, None] * (255 - colours[:, None]))  # [class, shade, 3]
    distance = np.abs(at_points[:, :, None, None] - shades).sum(-1)
    assert distance.min((-2, -1)).max() == 0  # every point has one of these colours exactly
    return distance.min(-1).argmin(-1)


def outputs_at(loaded, view, points):
    """The outputs of every model and the ensemble at points of the plane, [point, model, class]."""
    x = view.plane.images(torch.as_tensor(np.asarray(points), dtype=torch.float32))
    with torch.no_grad():
        return torch.stack([*(member(x) for member in loaded.ensemble.members), loaded.ensemble(x)], 1).numpy()


def panel(figure, model, name):
    """A trace of a model's panel by its name."""
    axis = f"x{model + 1}" if model else "x"
    (found,) = [trace for trace in figure["data"] if trace.get("xaxis") == axis and trace["name"] == name]
    return found


# --- what is drawn ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 1])
def test_the_pixels_have_the_class_that_each_model_predicts_at_the_grids_points(app, explorer, level):
    state = state_of(app, run="mnist-trs", image=3, span=8)
    shown = draw(app, state, level)
    request = parse_request(explorer.library, state)
    view, n = make_slice_view(request.loaded, request.state), LEVELS[level]
    torch.testing.assert_close(view.plane.origin, request.loaded.data.images(torch.tensor([3]))[0])
    along = np.linspace(-8, 8, n)
    points = np.stack(np.meshgrid(along, along), -1).reshape(-1, 2)  # (a, b): rows are b
    expected = outputs_at(request.loaded, view, points)
    top = np.sort(expected, -1)
    clear = (top[..., -1] - top[..., -2] > 1e-3).reshape(n, n, -1)  # batches of other sizes round otherwise
    predicted = expected.argmax(-1).reshape(n, n, -1)
    assert shown["models"] == ["F1", "F2", "F3", "ensemble"]
    for model, source in enumerate(shown["layers"]["class"]):
        drawn = classes_of(source, n, 10)
        np.testing.assert_array_equal(drawn[clear[:, :, model]], predicted[:, :, model][clear[:, :, model]])
        assert shown["spec"]["layout"]["images"][model]["source"] == source
    assert len(np.unique(predicted)) > 2


def test_boundaries_lie_where_two_classes_tie(app, explorer):
    state = state_of(app, run="bars-cos-only")
    shown = draw(app, state, 2)
    request = parse_request(explorer.library, state)
    view = make_slice_view(request.loaded, request.state)
    for model in range(3):
        line = panel(shown["spec"], model, "boundaries")
        points = np.array([p for p in zip(line["x"], line["y"], strict=True) if p[0] is not None])
        assert len(points) > 20
        first = outputs_at(request.loaded, view, points)[:, model]
        margin = np.abs(first[:, 0] - first[:, 1])
        everywhere = np.abs(np.diff(outputs_at(request.loaded, view, np.random.default_rng(0).random((500, 2)))[:, model]))
        assert np.median(margin) < 0.02 * np.median(everywhere), model


def test_grids_come_from_coarse_to_fine_then_the_other_layers_and_the_table(app):
    state = state_of(app, run="bars-cos-only", layer="margin")
    shown = draw(app, state)
    for level in range(1, len(LEVELS)):
        answer = follow(app, state, shown)
        shown = answer["slice-data.data"]
        assert (shown["level"], answer["slice-status.children"]) == (level, f"{LEVELS[level]} x {LEVELS[level]} points")
        assert set(shown["layers"]) == {"class", "margin"}
        assert "share-table.children" not in answer
    answer = follow(app, state, shown)
    everything = answer["slice-data.data"]
    assert (everything["level"], set(everything["layers"])) == (len(LEVELS) - 1, set(LAYERS))
    assert everything["layers"]["arrows"] == everything["layers"]["class"] == shown["layers"]["class"]
    arrows = [trace for trace in everything["spec"]["data"] if trace["name"] == "gradient arrows"]
    assert [trace["xaxis"] for trace in arrows] == ["x", "x2", "x3"]
    go.Figure(everything["spec"])
    table = rows(answer["share-table.children"])
    assert table[0] == ["class", "F1", "F2", "ensemble"]
    for model, source in enumerate(shown["layers"]["class"]):
        shares = [float(row[1 + model].removesuffix(" %")) for row in table[1:]]
        assert sum(shares) == pytest.approx(100, abs=0.2)
        drawn = classes_of(source, LEVELS[-1], 2)
        assert shares == pytest.approx([100 * (drawn == c).mean() for c in range(2)], abs=0.06)
    assert "slice-data.data" not in follow(app, state, everything)  # there is nothing more


def test_what_changes_no_slice_draws_none_again(app):
    state = state_of(app, run="mnist-trs", image=3)
    shown = draw(app, state)
    done = {"key": shown["key"], "level": len(LEVELS) + 1}
    for field, value in {"eps": 0.1, "attack": "fgsm", "hide": "1", "n": 64, "theme": "dark", "start": "1,1"}.items():
        answer = call(app, "slice-data.data", slice_state={**state, field: value}, next=done)
        assert "slice-data.data" not in answer, field
    for field, value in {"image": 4, "plane": "random", "swap": 1, "span": 2.0, "target": 2}.items():
        answer = call(app, "slice-data.data", slice_state={**state, field: value}, next=done)
        assert answer["slice-data.data"]["key"] != shown["key"], field
        assert answer["slice-data.data"]["level"] == 0


def test_what_the_page_still_waits_for_is_the_answer_to_every_change(app):
    """Dash drops the answer to a request when a newer one starts: the newer one's is then the same, with its layer."""
    state = state_of(app, run="mnist-trs", image=3)
    coarse = draw(app, state)
    waited_for = {"key": coarse["key"], "level": coarse["next"]}
    answer = call(app, "slice-data.data", slice_state={**state, "layer": "confidence"}, next=waited_for)["slice-data.data"]
    assert (answer["level"], set(answer["layers"])) == (1, {"class", "confidence"})


def test_the_margin_is_blue_where_the_true_class_leads(app, explorer):
    state = state_of(app, run="mnist-trs", image=3, layer="margin")
    shown = draw(app, state)
    request = parse_request(explorer.library, state)
    view, n = make_slice_view(request.loaded, request.state), LEVELS[0]
    along = np.linspace(view.low, view.high, n)
    outputs = outputs_at(request.loaded, view, np.stack(np.meshgrid(along, along), -1).reshape(-1, 2))
    margin = (outputs[..., view.y] - np.delete(outputs, view.y, -1).max(-1)).reshape(n, n, -1)
    for model, source in enumerate(shown["layers"]["margin"]):
        picture = pixels(source)[::-1]
        at_points = picture[:: (len(picture) - 1) // (n - 1), :: (len(picture) - 1) // (n - 1)]
        blue = at_points[..., 2] > at_points[..., 0]
        clear = np.abs(margin[..., model]) > 0.2
        np.testing.assert_array_equal(blue[clear], (margin[..., model] > 0)[clear])


def test_the_axes_are_named_in_the_planes_order(app, explorer):
    """a, to the right, is the direction of the surrogate's gradient; swapped, it is the target's."""
    for swap, names in ((0, ("F2", "F3")), (1, ("F3", "F2"))):
        state = state_of(app, run="mnist-trs", image=3, surrogate=1, target=2, swap=swap)
        text = draw(app, state)["spec"]["layout"]["annotations"][0]["text"]
        right, _, up = text.partition("↑")
        assert (names[0] in right, names[1] in right) == (True, False), text
        assert names[1] in up, text
        request = parse_request(explorer.library, state)
        view = make_slice_view(request.loaded, request.state)
        x = view.plane.origin[None].clone().requires_grad_()
        cosines = []
        for member in request.loaded.ensemble.members:
            loss = torch.nn.functional.cross_entropy(member(x), torch.tensor([view.y]))
            (gradient,) = torch.autograd.grad(loss, x)
            cosines.append(float(torch.nn.functional.cosine_similarity(gradient.flatten(), view.plane.u.flatten(), dim=0)))
        assert cosines[2 if swap else 1] > 0.99 > 2 * max(cosines[1 if swap else 2], cosines[0])


# --- attacks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("surrogate", "sentence"),
    [
        (0, "Test point 0 (class 0): the attack on F1 also fools F2 and the ensemble."),
        (1, "Test point 0 (class 0): the attack on F2 fools no other model."),
    ],
)
def test_the_sentence_says_whose_attack_fools_whom(one_way, surrogate, sentence):
    """Exchanging attacked and judged model would say that F2's attack fools F1."""
    answer = attacks(one_way, state_of(one_way, **ONE_WAY, surrogate=surrogate))
    assert answer["attack-data.data"]["words"]["fooled-words"] == sentence


@pytest.mark.parametrize("surrogate", [0, 1])
def test_a_cross_stands_where_the_attack_fools_the_panels_model_and_a_ring_elsewhere(one_way, surrogate):
    ends = {0: [0.6, 0.6], 1: [0.6, 0.2]}  # of the attack on F1, and on F2
    fools = {(0, 0), (0, 1), (0, 2), (1, 1), (2, 0), (2, 1), (2, 2)}  # (attacked, judged)
    data = attacks(one_way, state_of(one_way, **ONE_WAY, surrogate=surrogate))["attack-data.data"]
    for judged, name in enumerate(("F1", "F2", "ensemble")):
        drawn = {}
        for trace in data["traces"][judged]:
            if trace["name"] in (f"fools {name}", f"does not fool {name}"):
                places = zip(trace["x"], trace["y"], strict=True)
                for attacked, place in zip(trace["meta"]["attacked"], places, strict=True):
                    drawn[attacked] = (trace["marker"]["symbol"], trace["name"].startswith("fools"), place)
        for attacked in {surrogate, judged} - {2}:
            symbol, said, place = drawn[f"F{attacked + 1}"]
            assert place == pytest.approx(ends[attacked], abs=1e-5)
            assert (symbol, said) == (("x", True) if (attacked, judged) in fools else ("circle-open", False))
    assert data["headlines"][:2] == ["0 → 1, fooled", "0 → 1, fooled"]


def test_the_attack_starts_where_the_state_says(one_way):
    answer = attacks(one_way, state_of(one_way, **ONE_WAY, start="0.1,0.65"))
    (star,) = [trace for trace in answer["attack-data.data"]["traces"][0] if trace["name"] == "start of the attack"]
    assert (star["x"], star["y"]) == ([0.1], [0.65])
    (ball,) = [trace for trace in answer["attack-data.data"]["traces"][0] if trace["name"] == "ε-ball of the attack"]
    assert min(x for x in ball["x"] if x is not None) == pytest.approx(-0.1)
    assert max(y for y in ball["y"] if y is not None) == pytest.approx(0.85)
    outside = attacks(one_way, state_of(one_way, **ONE_WAY, start="1.5,0.5"))
    assert outside["attack-data.data"]["words"]["start-words"]
    assert attacks(one_way, state_of(one_way, **ONE_WAY))["attack-data.data"]["words"]["start-words"] == ""
    assert answer["attack-data.data"]["words"]["fooled-words"].startswith("From (0.10, 0.65) (class 0): ")


def test_attacks_are_made_anew_only_if_they_would_differ(app):
    state = state_of(app, run="bars-cos-only")
    shown = attacks(app, state)["attack-data.data"]
    for field, value in {"layer": "margin", "hide": "1", "n": 64, "label": 1, "filter": "wrong", "present": 1}.items():
        assert call(app, "attack-data.data", attack_state={**state, field: value}, attack_data=shown) == {}, field
    for field, value in {"eps": 0.1, "attack": "fgsm", "steps": 5, "start": "0.2,0.2", "image": 4, "surrogate": 1}.items():
        assert call(app, "attack-data.data", attack_state={**state, field: value}, attack_data=shown)["attack-data.data"], field


# --- the crosshair ---------------------------------------------------------------------------------------------------


def test_the_readout_is_what_the_models_say_at_the_crosshair(one_way):
    state = state_of(one_way, **ONE_WAY)
    key = draw(one_way, state)["key"]
    answer = call(one_way, "readout.children", pointer={"key": key, "point": [0.6, 0.2]}, state=state)["readout.children"]
    table = rows(answer)
    assert texts(answer).startswith("at (0.60, 0.20)")
    assert [row[:2] for row in table[1:]] == [["F1", "0"], ["F2", "1"], ["ensemble", "0"]]
    # F1's score is 4 * .6 + 8 * .2 - 6 = -2, F2's 8 * .6 - .2 - 3.5 = 1.1; the logits of class 0 and 1 are -score and score
    assert [row[3:] for row in table[1:3]] == [["+4.00", "2.0 -2.0"], ["-2.20", "-1.1 1.1"]]
    assert float(table[2][2]) == pytest.approx(1 / (1 + np.exp(-2.2)), abs=1e-3)
    assert call(one_way, "readout.children", pointer={"key": "gone", "point": [0, 0]}, state=state) == {}


def test_the_readout_of_an_image_shows_it_and_says_where_it_is_none(app):
    state = state_of(app, run="mnist-trs", image=3)
    key = draw(app, state)["key"]
    answer = call(app, "readout.children", pointer={"key": key, "point": [0, 0]}, state=state)["readout.children"]
    (picture,) = parts(answer, "Img")
    assert pixels(picture["props"]["src"]).shape[2] == 3
    assert "not a valid image" not in texts(answer)
    far = call(app, "readout.children", pointer={"key": key, "point": [4.9, 4.9]}, state=state)["readout.children"]
    assert "not a valid image" in texts(far)


def test_attacks_are_those_of_the_weights(explorer):
    """A run that is followed saves more: the same fields are then about other weights."""
    request = parse_request(explorer.library, {"run": "mnist-trs", "image": 1, "attack": "fgsm"})
    other = parse_request(explorer.library, {"run": "mnist-trs", "at": "0018"})
    saved_more = replace(request, loaded=other.loaded)
    cache = slice_cache.SliceCache()
    first, second, again = (cache.attacks(one, cache.view(one)) for one in (request, saved_more, request))
    assert first is again
    assert not np.array_equal(first.paths[0][-1], second.paths[0][-1])


# --- requests that overtake one another ------------------------------------------------------------------------------


def test_only_a_newer_slice_of_the_same_page_cancels_one(explorer, monkeypatch):
    cancelled, here = [], threading.get_ident()

    def recorded(*args, stop, **kwargs):
        if threading.get_ident() == here:  # not what another test's page still draws ahead
            cancelled.append(stop)
        return sample(*args, stop=stop, **kwargs)

    monkeypatch.setattr(slice_cache, "sample", recorded)
    monkeypatch.setattr(slice_cache, "_SAMPLES", ArrayCache())
    cache = slice_cache.SliceCache()
    views = [cache.view(parse_request(explorer.library, {"run": "bars-cos-only", "seed": k})) for k in range(3)]
    views = [replace(view, key=f"{view.key}{k}") for k, view in enumerate(views)]  # data in the plane have one slice
    seen = []
    for view, client in zip(views, ("page", "other page", "page"), strict=True):
        cache.samples(view, 0, client)
        seen.append([stop() for stop in cancelled])
    assert seen == [[False], [False, False], [True, False, False]]


def test_a_slice_that_is_given_up_in_its_middle_has_no_answer(explorer, monkeypatch):
    """Whoever waits for it goes on: it is no error."""
    monkeypatch.setattr(slice_cache, "_SAMPLES", ArrayCache())
    cache = slice_cache.SliceCache()
    one, other = (parse_request(explorer.library, {"run": "mnist-trs", "image": k}) for k in (30, 31))
    newer, own = [], cache.view(one).plane

    def overtaken(ensemble, plane, *args, **kwargs):
        if plane is own and not newer:  # not what another test's page still draws ahead
            newer.append(cache.begin(other, "page"))
        return sample(ensemble, plane, *args, **kwargs)

    monkeypatch.setattr(slice_cache, "sample", overtaken)
    assert cache.begin(one, "page").result(timeout=60) is None
    view, _ = newer[0].result(timeout=60)
    assert view.key == cache.view(other).key


def test_a_newer_slice_of_the_same_page_takes_the_place_of_the_older(app, monkeypatch):
    monkeypatch.setattr(slice_cache.SliceCache, "go_on", lambda *args: None)  # which might be done first
    begun, fetching = threading.Semaphore(0), []

    def counted(*args, **kwargs):
        if threading.current_thread() in fetching:  # not what another test's page still draws ahead
            begun.release()
        return sample(*args, **kwargs)

    monkeypatch.setattr(slice_cache, "sample", counted)
    one, other = (state_of(app, run="mnist-trs", image=k) for k in (20, 21))
    shown = {k: draw(app, state, 1) for k, state in ((20, one), (21, other))}
    found = {}

    def fetch(state, image, level, client):
        following = {"key": shown[image]["key"], "level": level}
        response = post(app, "slice-data.data", changed="next.data", slice_state=state, next=following, client=client)
        found[image, client] = response.status_code

    first = threading.Thread(target=fetch, args=(one, 20, 3, "page"))
    other_page = threading.Thread(target=fetch, args=(one, 20, 2, "other page"))
    fetching += first, other_page
    first.start()
    other_page.start()
    assert begun.acquire(timeout=30)
    assert begun.acquire(timeout=30)
    fetch(other, 21, 1, "page")
    first.join()
    other_page.join()
    assert found[21, "page"] == 200
    assert found[20, "page"] == 204
    assert found[20, "other page"] == 200


def test_what_two_ask_for_at_once_is_computed_once(app, explorer, monkeypatch):
    """The page's own request and the one that was begun ahead of it; or two pages."""
    computed, request = [], parse_request(explorer.library, {"run": "mnist-trs", "image": 33})
    home = make_slice_view(request.loaded, request.state).plane.origin

    def counted(ensemble, plane, points, **options):
        if torch.equal(plane.origin, home):  # not what another test's page still draws ahead
            computed.append(len(points))
        return sample(ensemble, plane, points, **options)

    monkeypatch.setattr(slice_cache, "sample", counted)
    state = state_of(app, run="mnist-trs", image=33)
    threads = [threading.Thread(target=draw, args=(app, state)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert computed.count(LEVELS[0] ** 2) == 1


def test_a_page_is_told_how_far_a_slow_grid_is_and_nothing_of_a_quick_one(explorer, monkeypatch):
    monkeypatch.setattr(slice_cache, "_SAMPLES", ArrayCache())
    cache, told = slice_cache.SliceCache(), []

    def slow(*args, progress, **kwargs):
        if threading.current_thread() is threading.main_thread():  # other pages' threads may be at work still
            for done in (100, 400):
                progress(done, 625)
                told.append((cache.progress("page"), cache.progress("other page")))
        return sample(*args, **kwargs)

    monkeypatch.setattr(slice_cache, "sample", slow)
    view = cache.view(parse_request(explorer.library, {"run": "bars-cos-only"}))
    cache.samples(view, 0, "page")
    assert told == [("", ""), ("", "")]
    monkeypatch.setattr(slice_cache, "TOLD_AFTER_S", -1.0)
    cache.samples(view, 1, "page")
    assert [(one.split(" new")[0], other) for one, other in told[2:]] == [
        ("49 x 49 points: 100 of 625", ""),
        ("49 x 49 points: 400 of 625", ""),
    ]
    assert cache.progress("page") == ""
    assert (
        slice_cache.progress_words(97, 1000, 9408, 30.0) == "97 x 97 points: 1,000 of 9,408 new ones computed, about 4 min left"
    )
