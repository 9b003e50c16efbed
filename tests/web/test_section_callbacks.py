"""The callbacks of the other sections: the matrix, the gallery, angles, training and uploaded pictures."""

import base64
import csv
import io
import json
import re
import shutil
import threading

import pytest
import torch
from dash_client import buttons, call, parts, resolve, rows, save, set_control, state_of, texts
from PIL import Image

from trs_explorer.evaluation.transfer import transfer_matrix
from trs_explorer.explore.library import Library
from trs_explorer.explore.pictures import MAX_FILE
from trs_explorer.shipped import folder
from trs_explorer.web.app import create_app
from trs_explorer.web.attack_paths import configured_attack
from trs_explorer.web.page_request import NO_UPLOADS, parse_request

ONE_WAY = {"run": "bars-cos-only", "image": 0, "eps": 0.2, "attack": "fgsm", "n": 2}


def measured(app, state, client="one"):
    """What the transfer section shows once the matrix is measured."""
    answer = call(app, "matrix.children", settled=state, client=client)
    while not answer["poll.disabled"]:
        threading.Event().wait(0.02)  # or the measurement hardly gets a turn
        answer = call(app, "matrix.children", changed="poll.n_intervals", settled=state, client=client)
    assert answer["measured.data"]["done"]
    return answer | call(app, "strip.children", measured=answer["measured.data"], client=client)


def gallery(app, state, client="one"):
    """What the gallery shows once the page has drawn the state's slice."""
    return call(app, "gallery.children", measured={"state": state}, settled=state, client=client)


def cells(table):
    """{(name of the row, name of the column): the cell's last text, such as "1/2"}."""
    head, *body = rows(table)
    return {(row[0], column): cell.split()[-1] for row in body for column, cell in zip(head[1:], row[1:], strict=True)}


# --- transfer --------------------------------------------------------------------------------------------------------


def test_the_matrix_is_the_one_that_the_command_measures(app, explorer):
    state = state_of(app, run="mnist-trs", n=64, eps=0.4, steps=5, surrogate=1, target=2)
    answer = measured(app, state)
    request = parse_request(explorer.library, state)
    loaded = request.loaded
    x, y = loaded.data.images(slice(0, 64)), loaded.data.y[:64]
    expected = transfer_matrix(
        loaded.ensemble, x, y, attack=configured_attack(request.state)[1], ensemble_column=True, seed=0, batch_size=64
    )
    names = ["F1", "F2", "F3", "ensemble"]
    assert cells(answer["matrix.children"]) == {
        (names[i], names[j]): f"{expected.fooled[i][j]}/{expected.eligible[i][j]}" for i in range(3) for j in range(4)
    }
    pairs = [(int(fields["surrogate"]), int(fields["target"])) for fields in buttons(answer["matrix.children"])]
    assert pairs == [(i, j) for i in range(3) for j in range(4)]
    pressed = [part["props"]["data-cell"] for part in parts(answer["matrix.children"], "Button")
               if part["props"]["aria-pressed"] == "true"]  # fmt: skip
    assert pressed == ["1,2"]
    words = texts(answer["transfer-words.children"])
    assert "epoch 36: PGD-5, ε 0.4 (max norm), seed 0, first 64 test images" in words
    low, high = expected.pooled_interval()  # an image counts once, in however many pairs it is
    assert f"({100 * low:.1f}-{100 * high:.1f})" in words
    assert answer["transfer-summary.children"] in words
    assert answer["transfer-summary.children"].startswith("Transfer over all pairs of members: ")
    hits = [k for k, letter in enumerate(expected.outcomes[1][2]) if letter == "1"]
    shown = gallery(app, {**state, "filter": "transfers"})
    assert [fields["image"] for fields in buttons(shown["gallery.children"])] == hits
    assert shown["gallery-words.children"].startswith(f"{len(hits)} of 64 images")
    examples = [int(texts(part).split(":")[0]) for part in parts(answer["strip.children"], "Figcaption")]
    assert examples == hits[:6]
    assert [fields["image"] for fields in buttons(answer["strip.children"])] == examples


def test_rows_are_attacked_and_columns_are_fooled(one_way):
    """Exchanged, F2's attack would fool F1: in the table, its labels, and the CSV."""
    state = state_of(one_way, **ONE_WAY)
    table = measured(one_way, state)["matrix.children"]
    found = {pair: text.split("/")[0] for pair, text in cells(table).items()}
    expected = {("F1", "F1"): 1, ("F1", "F2"): 1, ("F1", "ensemble"): 1, ("F2", "F1"): 0, ("F2", "F2"): 1, ("F2", "ensemble"): 0}
    assert found == {pair: str(fooled) for pair, fooled in expected.items()}
    caption = texts(next(parts(table, "Caption")))
    assert caption.startswith("FGSM, ε 0.2, 2 points: ")
    assert caption.endswith("Attack made on ↓, fools\N{NO-BREAK SPACE}→")
    labels = [part["props"]["aria-label"] for part in parts(table, "Button")]
    assert [label.partition(":")[0] for label in labels] == [f"attack on {i}, target {j}" for i, j in expected]
    sent = save(one_way, state, "matrix")["download.data"]
    assert sent["filename"] == "transfer-bars-cos-only.csv"
    about, *table = base64.b64decode(sent["content"]).decode().splitlines()
    assert about == f"# bars-cos-only, weights {'cd' * 32}; FGSM, eps 0.2, linf, seed 0, 2 points"
    saved = {(row["surrogate"], row["target"]): row for row in csv.DictReader(table)}
    assert {pair: int(row["fooled"]) for pair, row in saved.items()} == expected
    for row in saved.values():
        rate = int(row["fooled"]) / int(row["eligible"])
        assert float(row["rate"]) == pytest.approx(rate)
        assert float(row["low"]) <= rate <= float(row["high"])


def test_the_robust_accuracy_is_the_ensembles(one_way):
    """FGSM on the ensemble moves (.4, .4) to (.6, .6), where it is wrong; (.9, .9) remains correct."""
    words = measured(one_way, state_of(one_way, **ONE_WAY))["transfer-words.children"]
    assert "Ensemble robust accuracy: 1/2, 50.0 %" in texts(words)


def test_a_new_setting_starts_from_an_empty_matrix_and_a_failure_leaves_none(app):
    state = state_of(app, run="mnist-trs", n=1000, steps=50, seed=9)
    answer = call(app, "matrix.children", settled=state, client="three")
    assert answer["poll.disabled"] is False
    assert not list(parts(call(app, "strip.children", measured=answer["measured.data"], client="three")["strip.children"], "Img"))
    assert set(cells(answer["matrix.children"]).values()) == {"-"}
    assert texts(next(parts(answer["matrix.children"], "Caption"))).startswith("PGD-50, ε 0.3, 0 of 1000 images so far: ")
    failed = call(app, "matrix.children", settled={**state, "run": "nowhere"}, client="three")
    assert (failed["matrix.children"], failed["poll.disabled"], failed["measured.data"]) == ([], True, {})
    assert call(app, "strip.children", measured={}, client="three")["strip.children"] == []
    assert "nowhere" in failed["transfer-summary.children"]
    call(app, "matrix.children", settled=state_of(app, run="bars-cos-only", n=1), client="three")  # ends the long one


@pytest.mark.slow
def test_examples_of_a_cell_fool_its_target(app):
    state = state_of(app, run="mnist-trs", n=128, surrogate=0, target=3)
    captions = [texts(part) for part in parts(measured(app, state, "two")["strip.children"], "Figcaption")]
    assert captions
    for caption in captions:
        true, seen = caption.split(": ")[1].split(" → ")
        assert true != seen


# --- images ----------------------------------------------------------------------------------------------------------


def test_filters_that_look_at_predictions(app, explorer):
    loaded = explorer.library.load("mnist-trs")
    outputs = loaded.ensemble.member_logits(loaded.data.images(slice(0, 1000))).argmax(-1)
    expected = (outputs != outputs[0]).any(0).nonzero()[:, 0].tolist()
    shown = gallery(app, state_of(app, run="mnist-trs", filter="disagree"))
    assert [fields["image"] for fields in buttons(shown["gallery.children"])] == expected[:60]
    shown = gallery(app, state_of(app, run="mnist-trs", filter="all", label=7, image=17))
    labels = [part["props"]["aria-label"] for part in parts(shown["gallery.children"], "Button")]
    assert len(labels) == 60
    assert all(label.endswith("class 7") for label in labels)
    assert shown["picked-words.children"] == "image 17: class 7"


def test_the_pictures_of_the_gallery_are_those_of_their_numbers(app, explorer):
    data = explorer.library.load("mnist-trs").data
    shown = gallery(app, state_of(app, run="mnist-trs"))["gallery.children"]
    for button in list(parts(shown, "Button"))[:5]:
        (image,) = parts(button["props"]["children"], "Img")
        raw = base64.b64decode(image["props"]["src"].partition(",")[2])
        pixels = torch.tensor(list(Image.open(io.BytesIO(raw)).tobytes())) / 255
        expected = data.images(torch.tensor([int(button["props"]["data-image"])])).flatten()
        torch.testing.assert_close(pixels, expected, atol=1e-6, rtol=0)


# --- angles ----------------------------------------------------------------------------------------------------------


def test_angles_are_those_between_the_members_gradients(one_way):
    """cos(F1, F2) = (4 * 8 - 8) / (|(4, 8)| |(8, -1)|), everywhere; the loss of class 0 against class 1 grows along both."""
    answer = call(one_way, "angle-words.children", settled=state_of(one_way, **ONE_WAY))
    (row,) = [row for row in rows(answer["angle-table.children"]) if row[0] == "F1, F2"]
    cosine = 24 / (80**0.5 * 65**0.5)
    assert float(row[1]) == pytest.approx(cosine, abs=2e-3)
    assert float(row[2]) == pytest.approx(cosine, abs=2e-3)
    assert float(row[3]) == pytest.approx(0, abs=1e-3)


def test_the_angle_at_the_image_is_in_its_column(app, explorer):
    """Of curved members, the mean in the ball is another number."""
    state = state_of(app, run="mnist-trs", image=3)
    loaded = explorer.library.load("mnist-trs")
    x, y = loaded.data.images(torch.tensor([3])).requires_grad_(), loaded.data.y[3:4]
    losses = [torch.nn.functional.cross_entropy(member(x).double(), y) for member in loaded.ensemble.members]
    first, second, _ = (torch.autograd.grad(loss, x)[0].flatten() for loss in losses)
    expected = float(torch.nn.functional.cosine_similarity(first, second, dim=0).abs())
    (row,) = [row for row in rows(call(app, "angle-table.children", settled=state)["angle-table.children"]) if row[0] == "F1, F2"]
    at_image, mean = float(row[1]), float(row[2])
    assert at_image == pytest.approx(expected, rel=0.02)
    assert abs(mean - expected) > 3 * abs(at_image - expected)


# --- training --------------------------------------------------------------------------------------------------------


def test_training_is_followed(tmp_path):
    shutil.copytree(folder("checkpoints") / "bars-cos-only", tmp_path / "live")
    app = create_app(Library([tmp_path]))
    state = state_of(app, run="live")
    before = call(app, "history-chart.children", settled=state)
    with (tmp_path / "live" / "events.jsonl").open("a") as log:
        log.write('{"v":1,"kind":"step","t":1,"step":900,"epoch":900,"terms":{"total":7.5}}\n{"torn')
    shutil.copy(tmp_path / "live" / "epoch-0800.safetensors", tmp_path / "live" / "epoch-0900.safetensors")
    after = call(app, "history-chart.children", changed="alive.data", settled=state, alive=1,
                 run_words=before["run-words.children"])  # fmt: skip
    assert after["run-words.children"].endswith("step 900, saved epoch 900")
    assert after["run-words.children"] != before["run-words.children"]
    series = {trace["name"]: trace for trace in after["history-chart.children"]["props"]["figure"]["data"]}
    assert (series["total"]["x"][-1], series["total"]["y"][-1]) == (900, 7.5)
    sent = save(app, state, "history")["download.data"]
    table = list(csv.reader(io.StringIO(base64.b64decode(sent["content"]).decode())))
    assert (sent["filename"], table[0], table[-1]) == ("history-live.csv", ["step", "term", "value"], ["900", "total", "7.5"])


def test_a_beat_draws_the_training_again_only_if_something_has_changed(app):
    state = state_of(app, run="bars-cos-only")
    shown = call(app, "history-chart.children", settled=state, look="light")
    held = {"settled": state, "history_shown": shown["history-shown.data"]}
    assert call(app, "history-chart.children", changed="alive.data", look="light", **held) == {}
    dark = call(app, "history-chart.children", changed="alive.data", look="dark", **held)
    font = dark["history-chart.children"]["props"]["figure"]["layout"]["template"]["layout"]["font"]
    assert font["color"] == "#e8eaed"
    moved = call(app, "history-chart.children", look="light", **held | {"settled": {**state, "at": "0400"}})
    rulers = [one["history-chart.children"]["props"]["figure"]["layout"]["shapes"][0]["x0"] for one in (shown, moved)]
    assert rulers[1] < rulers[0]
    lost = call(app, "history-chart.children", changed="alive.data", settled=state, look="light")
    assert lost["history-chart.children"]  # a page that has not got the answer gets it


# --- pictures of one's own -------------------------------------------------------------------------------------------


def picture(mode="L", size=(40, 30), colour="white"):
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def upload(app, contents, **fields):
    return call(app, "upload.contents", upload=contents, state=state_of(app, **{"run": "mnist-trs", **fields}))


def test_a_picture_of_ones_own_is_shown(app):
    answer = upload(app, picture())
    own = answer["own.data"]
    assert "28 x 28" in answer["upload-words.children"]
    shown = set_control(app, state_of(app, run="mnist-trs"), "own", own)
    state = shown["state.data"]
    assert state["own"] == own
    images = gallery(app, state)
    assert re.fullmatch(r"uploaded picture, class \d by the ensemble's prediction", images["picked-words.children"])
    assert "upload-words.children" not in images  # how it was converted stays
    key = call(app, "slice-data.data", slice_state=state)["slice-data.data"]["key"]
    readout = call(app, "readout.children", pointer={"key": key, "point": [0, 0]}, state=state)["readout.children"]
    (image,) = parts(readout, "Img")
    pixels = Image.open(io.BytesIO(base64.b64decode(image["props"]["src"].partition(",")[2]))).tobytes()
    assert max(abs(a - b) for a, b in zip(pixels, base64.urlsafe_b64decode(own), strict=True)) <= 1
    back = gallery(app, state_of(app, run="mnist-trs", image=4))
    assert (back["picked-words.children"], back["upload-words.children"]) == ("image 4: class 4", "")


def test_the_same_picture_can_be_uploaded_again(app):
    """The component is emptied: otherwise the same contents would be no change, and a picked image could not be left."""
    first = upload(app, picture())
    assert first["upload.contents"] is None
    assert upload(app, picture(), image=4) == first
    assert upload(app, "data:image/png;base64,AAAA")["upload.contents"] is None  # nor a failure be tried again


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ("data:image/png;base64,AAAA", "picture"),
        ("data:text/plain;base64," + base64.b64encode(b"hello" * 99).decode(), "picture"),
        ("nonsense", "picture"),
        ("data:image/png;base64,%%%", "try again"),
        ("data:image/png;base64," + base64.b64encode(bytes(MAX_FILE + 1)).decode(), "MiB"),
        (picture(size=(5000, 10)), "4096"),
    ],
)
def test_a_file_that_cannot_be_used_is_said(app, contents, words):
    answer = upload(app, contents)
    assert "own.data" not in answer
    assert words in answer["upload-words.children"], answer["upload-words.children"]


def test_a_set_of_points_takes_no_picture(app):
    answer = upload(app, picture(), run="bars-cos-only")
    assert "own.data" not in answer
    assert "points in the plane" in answer["upload-words.children"]


def test_read_only_takes_no_picture(app, explorer):
    own = upload(app, picture())["own.data"]
    library = Library([explorer.library.run("mnist-trs").path.parent])
    closed = create_app(library, readonly=True)
    answer = upload(closed, picture())
    assert ("own.data" in answer, answer["upload-words.children"]) == (False, NO_UPLOADS)
    opened = resolve(closed, run="mnist-trs", own=own)
    assert (opened["state.data"]["own"], opened["notice.children"]) == ("", NO_UPLOADS)
    set_by_script = set_control(closed, state_of(closed, run="mnist-trs"), "own", own)
    assert set_by_script["state.data"]["own"] == ""
    layout = json.loads(closed.server.test_client().get("/_dash-layout").data)
    assert [part["props"]["disabled"] for part in parts(layout, "Upload")] == [True]
    assert "read-only" in texts(list(parts(layout, "Header")))
