"""Ensembles of others on the pages: names of classes, runs that may not run, images of any size, many members."""

import base64
import csv
import io
import re
import struct
from collections.abc import Callable
from pathlib import Path

import dash
import numpy as np
import pytest
import torch
from custom_runs import imported_run
from dash_client import call, parts, post, resolve, rows, save, set_control, state_of, texts
from flask import Flask
from PIL import Image

from trs_explorer import plugins
from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.library import Library
from trs_explorer.explore.slices import LEVELS
from trs_explorer.web import exports, slice_view, uploads
from trs_explorer.web.access import MAX_QUERY
from trs_explorer.web.app import create_app
from trs_explorer.web.compare.app import create_compare
from trs_explorer.web.slice_view import nested_grids
from trs_explorer.web.state import NONE_HIDDEN

HOSTILE = ("<img src=x onerror=alert(1)> %{x}", "naïve 漢字漢字漢字 " + "and so on " * 15 + "end")


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., dash.Dash]:
    """own(name, ...): the explorer on a folder with an imported run; see `imported_run`."""

    def made(name: str = "own", **settings: object) -> dash.Dash:
        imported_run(tmp_path, name, **settings)  # type: ignore[arg-type]
        return create_app(Library([tmp_path / "runs"]))

    return made


def compare_of(place: Path) -> dash.Dash:
    return create_compare(Flask("compare"), Library([place]), Jobs())


def drawn(app: dash.Dash, state: dict) -> tuple[dict, dict]:
    """The slice and the attacks of a state."""
    slice_data = call(app, "slice-data.data", slice_state=state)
    return slice_data, call(app, "attack-data.data", attack_state=state)["attack-data.data"]


# --- names of classes ------------------------------------------------------------------------------------------------


def test_classes_are_called_by_their_names_everywhere(own):
    """Image 0 is of class 1 (green), and eps .1 is twice the difference of its halves: every model falls."""
    app = own()
    answer = resolve(app, run="own", image=0, eps=0.1)
    state = answer["state.data"]
    assert [one["label"] for one in answer["label.options"]] == ["all", "red", "green"]
    slice_data, attacks = drawn(app, state)
    assert attacks["headlines"] == ["green → red, fooled"] * 3
    assert attacks["words"]["fooled-words"].startswith("Test image 0 (class green): ")
    assert "True class: green (the label)" in attacks["words"]["slice-words"]
    key = [trace["name"] for trace in slice_data["slice-data.data"]["spec"]["data"] if trace["showlegend"]]
    assert set(key) == {"red", "green"}
    view_key = slice_data["slice-data.data"]["key"]
    readout = call(app, "readout-html.data", pointer={"key": view_key, "point": [0, 0]}, state=state)["readout.children"]
    head, first, *_ = rows(readout)
    assert first[head.index("class")] == "green"
    assert re.fullmatch(r"red -?\d+\.\d, green -?\d+\.\d", first[head.index("logits")])
    full = call(app, "share-table-html.data", slice_state=state, next={"key": view_key, "level": 4}, changed="next.data")
    assert {row[0] for row in rows(full["share-table.children"])[1:]} == {"red", "green"}
    settled = {**state, "label": 1}
    gallery = call(app, "gallery-html.data", measured={"state": settled, "n": 0, "done": False}, settled=settled)
    titles = [button["props"]["title"] for button in parts(gallery["gallery.children"], "Button")]
    assert {title.partition(", ")[2] for title in titles} == {"class green"}
    assert gallery["gallery-words.children"] == "10 of 10 images of class green: all"
    assert gallery["picked-words.children"] == "image 0: class green"


def file_of(app: dash.Dash, state: dict, kind: str) -> bytes:
    return base64.b64decode(save(app, state, kind)["download.data"]["content"])


def test_files_have_the_names_of_classes(own, monkeypatch):
    monkeypatch.setattr(exports, "FINEST", 0)
    app = own()
    state = state_of(app, run="own", image=0, eps=0.1)
    about, head, *_ = csv.reader(io.StringIO(file_of(app, state, "csv").decode()))
    assert head[3:] == ["logit red", "logit green"]
    assert "true class green" in ",".join(about)
    arrays = np.load(io.BytesIO(file_of(app, state, "npz")))
    assert arrays["class_names"].tolist() == ["red", "green"]
    figure = save(app, state, "svg")["export.data"]["figure"]
    titles = [note["text"] for note in figure["layout"]["annotations"][1:]]
    assert titles[0] == "<b>F1</b>: green → red, fooled"
    assert "imported, test image 0 (class green)" in figure["layout"]["annotations"][0]["text"]
    handout = save(app, state, "handout")["download.data"]["content"]
    assert "(class green)" in handout
    assert "epoch 0" not in handout


def test_hostile_names_are_texts_in_titles_tables_and_files(own):
    app = own(names=HOSTILE)
    state = state_of(app, run="own", image=0, eps=0.1)
    _, attacks = drawn(app, state)
    (headline,) = set(attacks["headlines"])
    assert len(headline) < 40
    (whole,) = set(attacks["whole"])
    assert whole == f"{HOSTILE[1]} → {HOSTILE[0]}, fooled"
    figure = save(app, state, "svg")["export.data"]["figure"]
    assert "<img" not in figure["layout"]["annotations"][1]["text"]
    settled = {**state, "label": 0}
    sent = post(app, "gallery-html.data", measured={"state": settled, "n": 0, "done": False}, settled=settled).text
    assert "<img src=x" not in sent
    assert "&lt;img src=x" in sent


def test_compare_calls_classes_by_their_names(own, tmp_path):
    own("one"), own("two", members=3)
    app = compare_of(tmp_path / "runs")
    fields = state_of(app, a="one", b="two", image=0, eps=0.1)
    attacked = call(app, "attack-data.data", attack_fields=fields)
    assert attacked["attack-data.data"]["a"]["headlines"] == ["green → red, fooled"] * 3
    assert "Image 0, class green." in attacked["plane-words.children"]
    names = call(app, "slices-a.data", slice_fields=fields)
    assert names["name-a.children"] == "A: one, imported"


# --- runs that may not run -------------------------------------------------------------------------------------------


def test_a_run_that_may_not_run_is_listed_and_says_why_and_others_come_first(own, tmp_path, monkeypatch):
    own("allowed"), own("Other")
    monkeypatch.setattr(plugins, "_allowed", {one for one in plugins._allowed if "allowed_code" in one})
    app, compare = create_app(Library([tmp_path / "runs"]), readonly=True), compare_of(tmp_path / "runs")
    answer = resolve(app, run="Other")
    assert [one["value"] for one in answer["run.options"]] == ["Other", "allowed"]
    for message in (answer["state.data"]["error"], resolve(compare, a="Other")["state.data"]["error"]):
        assert "nets.py:make is code of others, which runs only with --allow-code" in message
        assert str(tmp_path) not in message
    assert answer["at-label.style"] == {"display": "none"}  # it has no training whatever it is
    assert state_of(app)["run"] == state_of(compare)["a"] == "allowed"


def test_no_page_of_a_read_only_server_names_the_folder_of_code(own, tmp_path):
    own()
    app = create_app(Library([tmp_path / "runs"]), readonly=True)
    state = state_of(app, run="own")
    assert call(app, "run-words.children", settled=state)["run-words.children"].startswith("2 x nets.py:make: imported")
    for output, fields in (("slice-data.data", {"slice_state": state}), ("attack-data.data", {"attack_state": state}),
                           ("history-chart.children", {"settled": state})):  # fmt: skip
        assert str(tmp_path) not in post(app, output, **fields).text


def test_members_that_fail_say_in_which_line_of_which_file(own, tmp_path):
    """Not for single images, but for the grid, which is known of the same weights in other code."""
    call(own("other"), "slice-data.data", slice_state=state_of(own("same"), run="other"))
    app = own(fails="assert len(x) < 200, 'too many'")
    state = state_of(app, run="own")
    shown = call(app, "slice-data.data", slice_state=state)
    assert re.fullmatch(r"nets\.py, line \d+, in forward: AssertionError: too many", shown["slice-error.children"])


# --- no training -----------------------------------------------------------------------------------------------------


def test_an_imported_run_has_one_sentence_in_the_place_of_a_training(own):
    app = own()
    answer = resolve(app, run="own")
    assert answer["at-label.style"] == answer["scrub-label.style"] == {"display": "none"}
    shown = call(app, "history-chart.children", settled=answer["state.data"])
    assert shown.get("history-chart.children") is None
    assert shown["run-words.children"].endswith("imported, so trained elsewhere. There is no training to show.")
    assert "trained elsewhere" in save(app, answer["state.data"], "history")["notice.children"]
    caption = call(app, "transfer-words.children", settled=answer["state.data"], client="tab")
    assert "epoch" not in texts(caption["transfer-words.children"])


# --- sizes -----------------------------------------------------------------------------------------------------------


def sizes(component: object) -> list[tuple[int, int]]:
    """Width and height of every picture in a component."""
    sources = [one["props"]["src"] for one in parts(component, "Img")]
    return [struct.unpack(">II", base64.b64decode(src.partition(",")[2])[16:24]) for src in sources]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "small"), [((3, 224, 224), (92, 92)), ((1, 8, 8), (8, 8)), ((3, 48, 64), (64, 48)), ((3, 100, 200), (92, 46))]
)
def test_thumbnails_are_small_and_keep_their_proportions(own, shape, small):
    app = own(shape=shape)
    state = state_of(app, run="own")
    gallery = call(app, "gallery-html.data", measured={"state": state, "n": 0, "done": False}, settled=state)
    assert set(sizes(gallery["gallery.children"])) == {small}
    view_key = call(app, "slice-data.data", slice_state=state)["slice-data.data"]["key"]
    readout = call(app, "readout-html.data", pointer={"key": view_key, "point": [0, 0]}, state=state)["readout.children"]
    assert max(max(size) for size in sizes(readout)) <= 168


def upload(app: dash.Dash, state: dict, size: tuple[int, int]) -> str:
    file = io.BytesIO()
    Image.new("RGB", size, (10, 200, 30)).save(file, "PNG")
    contents = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    return call(app, "upload.contents", changed="upload.contents", upload=contents, state=state)["own.data"]


def test_a_large_own_picture_is_kept_by_the_server_and_a_link_to_it_says_when_it_is_gone(own):
    app = own(shape=(3, 224, 224))
    state = state_of(app, run="own")
    name = upload(app, state, (300, 300))
    answer = set_control(app, state, "own", name)
    assert answer["state.data"]["own"] == name
    assert len(answer["address.search"]) < MAX_QUERY
    pixels = uploads.pixels(name, 3 * 224 * 224)
    assert pixels is not None
    assert np.frombuffer(pixels, np.uint8).reshape(3, -1).tolist() == [[c] * 224**2 for c in (10, 200, 30)]
    uploads._kept.clear()
    assert resolve(app, run="own", own=name)["notice.children"] == "own: the picture in the link is not here any more"


def test_a_small_own_picture_is_in_the_address(own):
    app = own(shape=(3, 8, 8))
    name = upload(app, state_of(app, run="own"), (20, 20))
    assert base64.urlsafe_b64decode(name) == bytes([10] * 64 + [200] * 64 + [30] * 64)


def test_many_classes_are_named_where_they_matter(own, monkeypatch):
    monkeypatch.setattr(exports, "FINEST", 0)
    app = own(names=[f"class number {k}" for k in range(200)])
    answer = resolve(app, run="own", image=0, eps=0.1)
    assert len(answer["label.options"]) == 201
    slice_data, attacks = drawn(app, answer["state.data"])
    assert attacks["headlines"][0] == "class n… 1 → class n… 0, fooled"
    key = [trace["name"] for trace in slice_data["slice-data.data"]["spec"]["data"] if trace["showlegend"]]
    assert key == ["class number 0", "class number 1"]
    pointer = {"key": slice_data["slice-data.data"]["key"], "point": [0, 0]}
    readout = call(app, "readout-html.data", pointer=pointer, state=answer["state.data"])["readout.children"]
    assert rows(readout)[1][-1].endswith("and 195 smaller ones")
    assert len(rows(readout)[1][-1].split(", ")) == 6
    about, head, *lines = csv.reader(io.StringIO(file_of(app, answer["state.data"], "csv").decode()))
    assert head[3:] == ["logit class number 0", "logit class number 1"]
    assert "200 classes" in ",".join(about)
    assert len(lines[0]) == 5


# --- many members, and one -------------------------------------------------------------------------------------------


def test_of_many_models_eight_have_a_panel_until_all_are_wanted(own):
    app = own(members=16)
    answer = resolve(app, run="own")
    assert answer["shown.value"] == [*map(str, range(7)), "16"]
    every = set_control(app, answer["state.data"], "shown", [*map(str, range(17))])
    assert every["state.data"]["hide"] == NONE_HIDDEN
    assert resolve(app, run="own", hide=NONE_HIDDEN)["shown.value"] == [*map(str, range(17))]
    assert set_control(app, every["state.data"], "shown", ["0", "16"])["state.data"]["hide"] == ",".join(map(str, range(1, 16)))


def test_a_matrix_of_many_members_has_its_rates_alone_and_intervals_under_the_mouse(own):
    app = own(members=16)
    table = call(app, "matrix-html.data", settled=state_of(app, run="own"), client="tab")["matrix.children"]
    assert [one["props"]["class"] for one in parts(table, "Table")] == ["large"]
    assert list(parts(table, "Small")) == []
    figure = save(app, state_of(app, run="own"), "matrix-svg", client="tab")["export.data"]["figure"]
    assert figure["layout"]["width"] >= 17 * 46  # "100" in letters of 13 px has 25
    assert figure["layout"]["height"] < 700


def test_compare_draws_some_of_many_models_and_says_which(own, tmp_path):
    own("one", members=16), own("two")
    app = compare_of(tmp_path / "runs")
    fields = state_of(app, a="one", b="two")
    slices = call(app, "slices-a.data", slice_fields=fields)
    assert slices["slices-a.data"]["shown"] == [*range(7), 16]
    assert slices["slices-b.data"]["shown"] == [0, 1, 2]
    words = call(app, "attack-data.data", attack_fields=fields)["plane-words.children"]
    assert words.endswith("A has 16 members: F8 to F16 are not drawn; Explore can show them.")


@pytest.mark.parametrize(
    ("members", "classes", "pixels", "levels"),
    [(3, 10, 784, 4), (2, 1000, 784, 3), (16, 1000, 784, 1), (64, 1000, 784, 1), (3, 10, 3 * 224**2, 3), (16, 10, 784, 4)],
)
def test_slices_of_many_members_and_classes_or_of_large_images_have_fewer_levels(members, classes, pixels, levels):
    """The finest grid has 193 x 193 points: with 1,000 classes of three members they would have 447 MB of logits."""
    assert nested_grids(torch.zeros(1, 1, pixels), members * classes, heavy=False) == LEVELS[:levels]
    heavy = nested_grids(torch.zeros(1, 1, pixels), members * classes, heavy=True)
    assert heavy == (7, 13, 25, 49, 97)[: len(heavy)]
    assert len(heavy) == 5 or members * classes > 3000


def test_the_page_asks_for_no_level_beyond_the_last(own, monkeypatch):
    monkeypatch.setattr(slice_view, "LARGE_IMAGE", 10)
    app = own()
    state = state_of(app, run="own")
    key = call(app, "slice-data.data", slice_state=state)["slice-data.data"]["key"]
    last = call(app, "slice-data.data", slice_state=state, next={"key": key, "level": 3}, changed="next.data")
    assert last["slice-data.data"]["level"] == 2  # all layers of the finest grid, and the table
    assert last["share-table-html.data"]
    over = call(app, "slice-data.data", slice_state=state, next={"key": key, "level": 4}, changed="next.data")
    assert "slice-data.data" not in over


def test_a_single_member_has_no_pairs_and_every_section_says_so(alone):
    """FGSM with eps .2 moves (.4, .4) to (.6, .6), across the line: the member and the ensemble are fooled."""
    answer = resolve(alone, run="bars-cos-only", image=0, attack="fgsm", eps=0.2)
    state = answer["state.data"]
    assert [one["label"] for one in answer["target.options"]] == ["F1", "ensemble"]
    slice_data, attacks = drawn(alone, state)
    assert slice_data["slice-data.data"]["models"] == ["F1", "ensemble"]
    assert attacks["headlines"] == ["0 → 1, fooled"] * 2
    shown = {"poll.disabled": False}
    while not shown["poll.disabled"]:
        shown = call(alone, "matrix-html.data", changed="poll.n_intervals", settled=state, client="tab", poll=1)
    assert [row[0] for row in rows(shown["matrix.children"])] == ["", "F1"]
    assert "A single member has no pair" in texts(shown["transfer-words.children"])
    angles = call(alone, "angle-words.children", settled=state)["angle-words.children"]
    assert angles.startswith("A single member has no angle to another")
    assert save(alone, state, "matrix-svg", client="tab")["export.data"]["figure"]["data"]
    layers = call(alone, "slice-data.data", slice_state={**state, "layer": "disagreement"}, changed="slice-state.data")
    assert layers["slice-error.children"] == ""


@pytest.mark.slow
def test_pictures_of_images_that_span_a_plane_are_small(own):
    app = own(shape=(3, 224, 224))
    state = state_of(app, run="own", plane="images")
    spec = call(app, "slice-data.data", slice_state=state)["slice-data.data"]["spec"]
    pictures = [one["source"] for one in spec["layout"]["images"] if one["name"].startswith("image ")]
    assert {struct.unpack(">II", base64.b64decode(one.partition(",")[2])[16:24]) for one in pictures} == {(96, 96)}
