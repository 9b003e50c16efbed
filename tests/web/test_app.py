"""The callbacks, asked as a browser would ask them, through the server's test client."""

import base64
import io
import json
import re
import shutil
import threading
from html import unescape

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from dash import html
from PIL import Image

from trs_explorer.evaluation.transfer import transfer_matrix
from trs_explorer.explore.library import Library
from trs_explorer.explore.slices import LEVELS, sample
from trs_explorer.shipped import folder
from trs_explorer.web import slice_cache
from trs_explorer.web.app import create_app
from trs_explorer.web.attack_paths import configured_attack
from trs_explorer.web.markup import markup
from trs_explorer.web.page_request import parse_request


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs")
    for name in ("mnist-trs", "bars-cos-only"):
        shutil.copytree(folder("checkpoints") / name, path / name)
    return path


SCRIPTS = sorted((folder("assets") / "web").glob("*.js"))


@pytest.fixture(scope="module")
def library(runs):
    return Library([runs])


@pytest.fixture(scope="module")
def app(library):
    return create_app(library)


def ask(app, source, value, *, changed="", **state):
    """What the callback with this input answers: {component: {property: value}}, all that it changes.

    changed: the input that has changed, if it is another.
    """
    key, callback = next((k, c) for k, c in app.callback_map.items() if c["inputs"][0] == {"id": source, "property": "data"})
    outputs = [dict(zip(("id", "property"), one.rsplit(".", 1), strict=True)) for one in key.strip(".").split("...")]
    inputs = [{**one, "value": value if i == 0 else None} for i, one in enumerate(callback["inputs"])]
    has = [{**one, "value": state.get(one["id"])} for one in callback["state"]]
    body = {
        "output": key,
        "outputs": outputs if key.startswith("..") else outputs[0],
        "inputs": inputs,
        "state": has,
        "changedPropIds": [changed or f"{source}.data"],
    }
    answer = app.server.test_client().post("/_dash-update-component", json=body)
    assert answer.status_code in (200, 204), answer.data
    return json.loads(answer.data)["response"] if answer.data else {}


def scene_of(app, path="/scene", **fields):
    """What the page is told about a scene, or about the attacks in it."""
    answer = app.server.test_client().get(path, query_string=fields)
    assert answer.status_code == 200, answer.data
    return answer.get_json()


def until_done(app, fields):
    while True:
        answer = ask(app, "ask-transfer", fields)
        if answer["transfer-found"]["data"]["done"]:
            return answer["transfer-found"]["data"]
        threading.Event().wait(0.02)  # or the measurement hardly gets a turn


def set_by(html):
    """What the buttons in it put into the state, in order."""
    return [json.loads(unescape(found)) for found in re.findall(r'data-set="([^"]*)"', html)]


def text_of(html):
    return re.sub(r"<[^>]*>", " ", unescape(html))


def test_the_samples_served_are_the_models_logits(app, library):
    scene = scene_of(app, run="mnist-trs", image=3, span=2)
    client = app.server.test_client()
    loaded = library.load("mnist-trs")
    origin, u, v = (
        torch.frombuffer(bytearray(base64.b64decode(scene[name])), dtype=torch.float32).view(1, 28, 28)
        for name in ("origin", "u", "v")
    )
    torch.testing.assert_close(origin, loaded.data.images(torch.tensor([3]))[0])
    for level, count in ((0, 625), (1, 49 * 49 - 625)):
        answer = client.get(f"/slice/{scene['key']}/{level}")
        logits = np.frombuffer(answer.data, "<f4").reshape(-1, 3, 10)
        assert len(logits) == count
    # level 0's 7th point of the second row: a = -2 + 6/24 * 4, b = -2 + 1/24 * 4
    logits = np.frombuffer(client.get(f"/slice/{scene['key']}/0").data, "<f4").reshape(25, 25, 3, 10)
    image = origin + (-2 + 6 / 24 * 4) * u + (-2 + 1 / 24 * 4) * v
    assert np.frombuffer(base64.b64decode(scene["first"]), "<f4").tobytes() == logits.tobytes()
    np.testing.assert_allclose(logits[1, 6], loaded.ensemble.member_logits(image[None])[:, 0].detach(), atol=1e-4)
    assert client.get("/slice/0000/0").status_code == 404
    assert client.get(f"/slice/{scene['key']}/9").status_code == 404
    again = client.get("/export/slice.npz?run=mnist-trs&image=3&span=2&level=0")
    assert np.array_equal(np.load(io.BytesIO(again.data))["logits"], logits)
    rows = client.get("/export/slice.csv?run=mnist-trs&image=3&span=2&level=0").data.decode().splitlines()
    assert len(rows) == 2 + 625 * 3
    assert rows[2 + (25 + 6) * 3].split(",")[2] == "F1"


def test_the_matrix_is_the_one_that_the_command_measures(app, library):
    fields = {"run": "mnist-trs", "n": 64, "eps": 0.4, "steps": 5, "surrogate": 1, "target": 2, "client": "one"}
    answer = until_done(app, fields)
    asked = parse_request(library, fields)
    loaded = asked.loaded
    x, y = loaded.data.images(slice(0, 64)), loaded.data.y[:64]
    expected = transfer_matrix(
        loaded.ensemble, x, y, attack=configured_attack(asked.state)[1], ensemble_column=True, seed=0, batch_size=64
    )
    counts = [f"{f}/{e}" for fooled, eligible in zip(expected.fooled, expected.eligible, strict=True)
              for f, e in zip(fooled, eligible, strict=True)]  # fmt: skip
    assert re.findall(r"[0-9]+/[0-9]+", text_of(answer["matrix"])) == counts
    assert [(s["surrogate"], s["target"]) for s in set_by(answer["matrix"])] == [(i, j) for i in range(3) for j in range(4)]
    assert "first 64 test images" in answer["transfer-words"]
    low, high = expected.pooled_interval()  # an image counts once, in however many pairs it is
    assert f"({100 * low:.1f}-{100 * high:.1f})" in answer["transfer-words"]
    hits = [k for k, letter in enumerate(expected.outcomes[1][2]) if letter == "1"]
    shown = ask(app, "ask-gallery", {**fields, "filter": "transfers"})["offered"]["data"]
    assert [one["image"] for one in set_by(shown["gallery"])] == hits
    assert shown["gallery-words"].startswith(f"{len(hits)} of 64 images")


def test_a_new_setting_starts_from_an_empty_matrix_and_a_failure_leaves_none(app):
    first = ask(app, "ask-transfer", {"run": "mnist-trs", "n": 1000, "steps": 50, "seed": 9, "client": "three"})
    told = first["transfer-found"]["data"]
    assert not told["done"]
    assert (told["strip"], told["csv"]) == ("", "")
    assert re.findall(r"[0-9]+/[0-9]+", text_of(told["matrix"])) == ["0/0"] * 12
    failed = ask(app, "ask-transfer", {"run": "nowhere"})["transfer-found"]["data"]
    assert (failed["matrix"], failed["strip"], failed["csv"]) == ("", "", "")
    ask(app, "ask-transfer", {"run": "bars-cos-only", "n": 1, "client": "three"})  # ends the long one


@pytest.mark.slow
def test_examples_of_a_cell_fool_its_target(app, library):
    fields = {"run": "mnist-trs", "n": 128, "surrogate": 0, "target": 3, "client": "two"}
    captions = re.findall(r"<figcaption>([^<]*)<", until_done(app, fields)["strip"])
    assert captions
    for caption in captions:
        true, seen = caption.split(": ")[1].split(" → ")
        assert true != seen


def test_filters_that_look_at_answers(app, library):
    loaded = library.load("mnist-trs")
    outputs = loaded.ensemble.member_logits(loaded.data.images(slice(0, 1000))).argmax(-1)
    expected = (outputs != outputs[0]).any(0).nonzero()[:, 0].tolist()
    shown = ask(app, "ask-gallery", {"run": "mnist-trs", "filter": "disagree"})["offered"]["data"]["gallery"]
    assert [one["image"] for one in set_by(shown)] == expected[:60]
    sevens = ask(app, "ask-gallery", {"run": "mnist-trs", "filter": "all", "label": "7"})["offered"]["data"]["gallery"]
    names = re.findall(r'aria-label="([^"]*)"', sevens)
    assert len(names) == 60
    assert all(name.endswith("class 7") for name in names)


def test_an_unknown_run_or_checkpoint_is_said(app):
    told = scene_of(app, run="../../etc")
    assert list(told) == ["wrong"]
    assert "etc" in told["wrong"]
    told = scene_of(app, run="mnist-trs", at="0999", weights="dead", eps="x")
    assert told["notice"].count("\n") == 2
    assert told["corrected"] == ["at", "weights", "eps"]
    assert scene_of(app)["fixed"]["run"] == "mnist-trs"  # where a link names none


def test_a_damaged_checkpoint_is_said_and_the_other_still_works(runs, tmp_path):
    shutil.copytree(runs / "mnist-trs", tmp_path / "torn")
    weights = tmp_path / "torn" / "epoch-0036.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    app = create_app(Library([tmp_path]))
    assert "damaged" in scene_of(app, run="torn")["wrong"]
    assert scene_of(app, run="torn", at="0018")["key"]


def test_the_page_and_its_callbacks_fit_together(app):
    layout = app.server.test_client().get("/_dash-layout").data.decode().replace(" ", "")
    for key, callback in app.callback_map.items():
        for one in (*callback["inputs"], *callback["state"]):
            assert f'"id":"{one["id"]}"' in layout, one
        for output in key.strip(".").split("..."):
            assert f'"id":"{output.rsplit(".", 1)[0]}"' in layout, output
    page = app.server.test_client().get("/").data.decode()
    rooms = set(re.findall(r' id="([^"]+)"', page))
    assert len(rooms) > 40
    for script in SCRIPTS:
        for room in re.findall(r'getElementById\("([a-z-]+)"\)', script.read_text()):
            assert room in rooms, (script.name, room)
    meta = json.loads(re.search(r'<script type="application/json" id="meta">(.*?)</script>', page)[1])
    assert meta["runs"]["mnist-trs"] == "mnist"


def test_a_runs_name_cannot_break_out_of_the_page(runs, tmp_path):
    name = "<script>alert(1)</script>"[:12] + "&'\""
    shutil.copytree(runs / "bars-cos-only", tmp_path / name)
    page = create_app(Library([tmp_path])).server.test_client().get("/").data.decode()
    assert name not in page
    assert json.loads(re.search(r'id="meta">(.*?)</script>', page)[1])["runs"] == {name: "bars"}


def test_a_newer_slice_of_the_same_page_takes_the_place_of_the_older(app, monkeypatch):
    begun = threading.Semaphore(0)
    monkeypatch.setattr(slice_cache, "sample", lambda *args, **kwargs: (begun.release(), sample(*args, **kwargs))[1])
    one, other = (scene_of(app, run="mnist-trs", image=k)["key"] for k in (20, 21))
    found = {}

    def fetch(key, level, client):
        answer = app.server.test_client().get(f"/slice/{key}/{level}", headers={"X-Client": client})
        found[key, client] = answer.status_code

    first = threading.Thread(target=fetch, args=(one, 3, "page"))
    other_page = threading.Thread(target=fetch, args=(one, 2, "other page"))
    first.start()
    other_page.start()
    assert begun.acquire(timeout=30)  # for level 0 of each scene
    assert begun.acquire(timeout=30)
    assert begun.acquire(timeout=30)
    assert begun.acquire(timeout=30)
    fetch(other, 0, "page")
    first.join()
    other_page.join()
    assert found[other, "page"] == 200
    assert found[one, "page"] == 204
    assert found[one, "other page"] == 200


def picture(mode="L", size=(40, 30)):
    file = io.BytesIO()
    Image.new(mode, size, "white").save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def test_a_picture_of_ones_own(app, runs):
    answer = ask(app, "upload", {"contents": picture()}, **{"ask-run": {"run": "mnist-trs"}})
    own = answer["dropped"]["data"]["own"]
    assert "28 x 28" in answer["dropped"]["data"]["words"]
    told = scene_of(app, run="mnist-trs", own=own)
    assert told["fixed"]["own"] == own
    assert "own picture" in told["picked"]
    said = ask(app, "upload", {"contents": "data:image/png;base64,AAAA"}, **{"ask-run": {"run": "mnist-trs"}})["dropped"]["data"]
    assert "own" not in said
    assert said["words"]
    closed = create_app(Library([runs]), readonly=True)
    refused = ask(closed, "upload", {"contents": picture()}, **{"ask-run": {"run": "mnist-trs"}})
    assert "read-only" in refused["dropped"]["data"]["words"]
    assert scene_of(closed, run="mnist-trs", own=own)["fixed"]["own"] == ""


def test_training_is_followed(runs, tmp_path):
    shutil.copytree(runs / "bars-cos-only", tmp_path / "live")
    library = Library([tmp_path])
    app = create_app(library)
    before = ask(app, "ask-history", {"run": "live"})
    assert re.findall(r'value="([^"]*)"', before["story"]["data"]["at"]) == ["", "0400", "0800"]
    with (tmp_path / "live" / "events.jsonl").open("a") as log:
        log.write('{"v":1,"kind":"step","t":1,"step":900,"epoch":900,"terms":{"total":7.5}}\n{"torn')
    shutil.copy(tmp_path / "live" / "epoch-0800.safetensors", tmp_path / "live" / "epoch-0900.safetensors")
    after = ask(app, "ask-history", {"run": "live"})
    assert re.findall(r'value="([^"]*)"', after["story"]["data"]["at"])[-1] == "0900"
    assert "900" in after["story"]["data"]["run-words"]
    assert after["history-chart"]["children"]["props"]["figure"]["data"][0]["x"][-1] == 900


def test_a_beat_brings_what_was_asked_meanwhile_and_nothing_else(app):
    light = {"run": "bars-cos-only", "dark": False}
    shown = ask(app, "ask-history", light)["story"]["data"]
    assert ask(app, "ask-history", light, changed="live.n_intervals", story=shown) == {}
    dark = ask(app, "ask-history", {**light, "dark": True}, changed="live.n_intervals", story=shown)
    assert dark["history-chart"]["children"]["props"]["figure"]["layout"]["template"]["layout"]["font"]["color"] == "#e8eaed"


@pytest.mark.parametrize("level", [0, 1])
def test_a_slice_of_the_plane_is_the_square_itself(app, level):
    answer = app.server.test_client().get(f"/export/slice.npz?run=bars-cos-only&level={level}")
    data = np.load(io.BytesIO(answer.data))
    assert data["logits"].shape == (LEVELS[level], LEVELS[level], 2, 2)
    assert (data["a"][0], data["a"][-1]) == (0, 1)


def test_the_figure_to_save_is_the_scene_that_is_asked_for(app):
    client = app.server.test_client()
    figure = client.get("/figure?run=mnist-trs&image=3&hide=1&dark=1").get_json()
    go.Figure(figure)
    assert [note["text"][:9] for note in figure["layout"]["annotations"][1:]] == ["<b>F1</b>", "<b>F3</b>", "<b>ensemb"]
    assert client.get("/figure?run=nowhere").status_code == 404


def test_markup_escapes_everything():
    evil = html.Button(
        ["<script>", html.Img(src='x" onerror="alert(1)', alt="")], title='"><i>', className="a", style={"color": "red"}
    )
    text = markup([evil, "a & b", None, 3])
    assert text == (
        '<button class="a" style="color:red" title="&quot;&gt;&lt;i&gt;">&lt;script&gt;'
        '<img alt="" src="x&quot; onerror=&quot;alert(1)"></button>a &amp; b3'
    )
