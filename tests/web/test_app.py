"""The callbacks, asked as a browser would ask them, through the server's test client."""

import base64
import io
import json
import shutil
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from trs_explorer.evaluation.transfer import transfer_matrix
from trs_explorer.explore.library import Library
from trs_explorer.explore.slices import LEVELS
from trs_explorer.shipped import folder
from trs_explorer.web.app import create_app, understand
from trs_explorer.web.scene import attack_of


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs")
    for name in ("mnist-trs", "bars-cos-only"):
        shutil.copytree(folder("checkpoints") / name, path / name)
    return path


@pytest.fixture(scope="module")
def library(runs):
    return Library([runs])


@pytest.fixture(scope="module")
def app(library):
    return create_app(library)


def ask(app, source, value, **state):
    """What the callback with this input answers: {component: {property: value}}, all that it changes."""
    key, callback = next(
        (key, c) for key, c in app.callback_map.items()
        if c["inputs"][0] == {"id": source, "property": "data"} or (source == "upload" and c["inputs"][0]["id"] == source)
    )  # fmt: skip
    outputs = [dict(zip(("id", "property"), one.rsplit(".", 1), strict=True)) for one in key.strip(".").split("...")]
    inputs = [{**one, "value": value if i == 0 else None} for i, one in enumerate(callback["inputs"])]
    has = [{**one, "value": state.get(one["id"])} for one in callback["state"]]
    body = {"output": key, "outputs": outputs, "inputs": inputs, "state": has, "changedPropIds": [f"{source}.data"]}
    answer = app.server.test_client().post("/_dash-update-component", json=body)
    assert answer.status_code in (200, 204), answer.data
    return json.loads(answer.data)["response"] if answer.data else {}


def until_done(app, wish):
    while True:
        answer = ask(app, "ask-transfer", wish)
        if answer["beat"]["disabled"]:
            return answer


def text_of(component):
    """All text in a component's JSON."""
    if isinstance(component, dict):
        return text_of(component.get("props", {}).get("children"))
    if isinstance(component, list):
        return " ".join(map(text_of, component))
    return "" if component is None else str(component)


def test_the_samples_served_are_the_models_logits(app, library):
    scene = ask(app, "ask-scene", {"run": "mnist-trs", "image": "3", "span": 2})["scene"]["data"]
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
    np.testing.assert_allclose(logits[1, 6], loaded.ensemble.member_logits(image[None])[:, 0].detach(), atol=1e-4)
    assert client.get("/slice/0000/0").status_code == 404
    assert client.get(f"/slice/{scene['key']}/9").status_code == 404
    again = client.get(f"/export/{scene['key']}.npz?level=0")
    assert np.array_equal(np.load(io.BytesIO(again.data))["logits"], logits)
    rows = client.get(f"/export/{scene['key']}.csv?level=0").data.decode().splitlines()
    assert len(rows) == 2 + 625 * 3
    assert rows[2 + (25 + 6) * 3].split(",")[2] == "F1"


def test_the_matrix_is_the_one_that_the_command_measures(app, library):
    wish = {"run": "mnist-trs", "n": 64, "eps": 0.25, "steps": 5, "surrogate": 1, "target": 2, "client": "one"}
    answer = until_done(app, wish)
    asked = understand(library, wish)
    loaded = asked.loaded
    x, y = loaded.data.images(slice(0, 64)), loaded.data.y[:64]
    expected = transfer_matrix(
        loaded.ensemble, x, y, attack=attack_of(asked.state)[1], ensemble_column=True, seed=0, batch_size=64
    )
    body = answer["matrix"]["children"]["props"]["children"][2]["props"]["children"]
    for i, row in enumerate(body):
        for j, cell in enumerate(row["props"]["children"][1:]):
            assert f"{expected.fooled[i][j]}/{expected.eligible[i][j]}" in text_of(cell)
    assert "64" in text_of(answer["transfer-words"]["children"])
    hits = [k for k, letter in enumerate(expected.outcomes[1][2]) if letter == "1"]
    shown = ask(app, "ask-gallery", {**wish, "filter": "transfers"})
    assert [json.loads(b["props"]["data-set"])["image"] for b in shown["gallery"]["children"]] == hits
    assert shown["gallery-words"]["children"].startswith(f"{len(hits)} of 64 images")


def test_examples_of_a_cell_fool_its_target(app, library):
    wish = {"run": "mnist-trs", "n": 128, "surrogate": 0, "target": 3, "client": "two"}
    captions = [text_of(figure) for figure in until_done(app, wish)["strip"]["children"]]
    assert captions
    for caption in captions:
        true, seen = caption.split(": ")[1].split(" → ")
        assert true != seen


def test_filters_that_look_at_answers(app, library):
    loaded = library.load("mnist-trs")
    outputs = loaded.ensemble.member_logits(loaded.data.images(slice(0, 1000))).argmax(-1)
    expected = (outputs != outputs[0]).any(0).nonzero()[:, 0].tolist()
    shown = ask(app, "ask-gallery", {"run": "mnist-trs", "filter": "disagree"})
    assert [json.loads(b["props"]["data-set"])["image"] for b in shown["gallery"]["children"]] == expected[:60]
    sevens = ask(app, "ask-gallery", {"run": "mnist-trs", "filter": "all", "label": "7"})
    assert all("class 7" in b["props"]["aria-label"] for b in sevens["gallery"]["children"])


def test_an_unknown_run_or_checkpoint_is_said(app):
    answer = ask(app, "ask-scene", {"run": "../../etc"})
    assert "etc" in answer["notice"]["children"]
    assert "scene" not in answer
    answer = ask(app, "ask-scene", {"run": "mnist-trs", "at": "0999", "weights": "dead", "eps": "x"})
    assert answer["notice"]["children"].count("\n") == 2
    assert answer["scene"]["data"]["corrected"] == ["at", "weights", "eps"]


def test_a_damaged_checkpoint_is_said_and_the_other_still_works(runs, tmp_path):
    shutil.copytree(runs / "mnist-trs", tmp_path / "torn")
    weights = tmp_path / "torn" / "epoch-0036.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    app = create_app(Library([tmp_path]))
    assert "damaged" in ask(app, "ask-scene", {"run": "torn"})["notice"]["children"]
    assert ask(app, "ask-scene", {"run": "torn", "at": "0018"})["scene"]["data"]["key"]


def test_the_page_and_its_callbacks_fit_together(app):
    layout = app.server.test_client().get("/_dash-layout").data.decode()
    for callback in app.callback_map.values():
        for one in (*callback["inputs"], *callback["state"]):
            assert f'"id":"{one["id"]}"' in layout.replace(" ", ""), one
    assert "mnist-trs" in layout


def test_a_newer_slice_of_the_same_page_takes_the_place_of_the_older(app):
    one, other = (ask(app, "ask-scene", {"run": "mnist-trs", "image": k})["scene"]["data"]["key"] for k in (20, 21))
    found = {}

    def fetch(key, level, client):
        answer = app.server.test_client().get(f"/slice/{key}/{level}", headers={"X-Client": client})
        found[key, client] = answer.status_code

    first = threading.Thread(target=fetch, args=(one, 3, "page"))
    other_page = threading.Thread(target=fetch, args=(one, 2, "other page"))
    first.start()
    other_page.start()
    time.sleep(0.05)
    fetch(other, 0, "page")
    first.join()
    other_page.join()
    assert found[other, "page"] == 200
    assert found[one, "page"] == 409
    assert found[one, "other page"] == 200


def picture(mode="L", size=(40, 30)):
    file = io.BytesIO()
    Image.new(mode, size, "white").save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def test_a_picture_of_ones_own(app, runs):
    answer = ask(app, "upload", picture(), **{"ask-scene": {"run": "mnist-trs"}})
    own = answer["dropped"]["data"]["own"]
    assert "28 x 28" in answer["notice"]["children"]
    scene = ask(app, "ask-scene", {"run": "mnist-trs", "own": own})
    assert scene["scene"]["data"]["fixed"]["own"] == own
    assert "own picture" in scene["picked-words"]["children"]
    said = ask(app, "upload", "data:image/png;base64,AAAA", **{"ask-scene": {"run": "mnist-trs"}})
    assert "dropped" not in said
    assert said["notice"]["children"]
    closed = create_app(Library([runs]), readonly=True)
    assert "read-only" in ask(closed, "upload", picture(), **{"ask-scene": {"run": "mnist-trs"}})["notice"]["children"]
    assert ask(closed, "ask-scene", {"run": "mnist-trs", "own": own})["scene"]["data"]["fixed"]["own"] == ""


def test_training_is_followed(runs, tmp_path):
    shutil.copytree(runs / "bars-cos-only", tmp_path / "live")
    library = Library([tmp_path])
    app = create_app(library)
    before = ask(app, "ask-history", {"run": "live"})
    assert [o["props"]["value"] for o in before["at"]["children"]] == ["", "0400", "0800"]
    with (tmp_path / "live" / "events.jsonl").open("a") as log:
        log.write('{"v":1,"kind":"step","t":1,"step":900,"epoch":900,"terms":{"total":7.5}}\n{"torn')
    shutil.copy(tmp_path / "live" / "epoch-0800.safetensors", tmp_path / "live" / "epoch-0900.safetensors")
    after = ask(app, "ask-history", {"run": "live"})
    assert after["at"]["children"][-1]["props"]["value"] == "0900"
    assert "900" in after["run-words"]["children"]
    assert after["history-figure"]["figure"]["data"][0]["x"][-1] == 900
    assert after["live"]["disabled"] is True  # no trainer lives


@pytest.mark.parametrize("level", [0, 1])
def test_a_slice_of_the_plane_is_the_square_itself(app, level):
    key = ask(app, "ask-scene", {"run": "bars-cos-only"})["scene"]["data"]["key"]
    data = np.load(io.BytesIO(app.server.test_client().get(f"/export/{key}.npz?level={level}").data))
    assert data["logits"].shape == (LEVELS[level], LEVELS[level], 2, 2)
    assert (data["a"][0], data["a"][-1]) == (0, 1)
