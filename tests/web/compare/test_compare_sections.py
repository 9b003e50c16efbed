"""What the Compare page draws and measures: each side's own run, both on one plane, every number that of the library."""

import re
import shutil
import threading
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import dash
import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from dash_client import call, parts, rows, state_of, texts
from flask import Flask
from web_explorer import Explorer

from trs_explorer.evaluation.transfer import transfer_matrix
from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.library import Library
from trs_explorer.explore.slices import LEVELS
from trs_explorer.shipped import folder
from trs_explorer.web.attack_paths import configured_attack
from trs_explorer.web.compare import measurements, slices
from trs_explorer.web.compare.app import create_compare
from trs_explorer.web.compare.measurements import radii
from trs_explorer.web.compare.pair import parse_pair
from trs_explorer.web.compare.slices import common_plane, side_attacks
from trs_explorer.web.slice_cache import SliceCache

PAIR = {"a": "mnist-trs", "b": "mnist-standard"}
QUICK = {**PAIR, "image": 3, "steps": 4, "eps": 0.1, "n": 16, "attack": "pgd"}
MODELS = ["F1", "F2", "F3", "ensemble"]
State = dict[str, Any]


@pytest.fixture
def _coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "LEVEL", 1)


def drawn(app: dash.Dash, **fields: object) -> State:
    """What the slices show of an address: by side, and what is said of them."""
    state = state_of(app, **fields)
    coarse = call(app, "slices-a.data", slice_fields=state)
    keys = {side: coarse[f"slices-{side}.data"]["key"] for side in "ab"}
    shown = call(app, "slices-a.data", changed="fine.data", slice_fields=state, fine=keys)
    assert [coarse[f"slices-{side}.data"]["level"] for side in "ab"] == [0, 0]
    assert {side: shown[f"slices-{side}.data"]["key"] for side in "ab"} == keys
    attacks = call(app, "attack-data.data", attack_fields=state)
    return shown | attacks | {side: shown[f"slices-{side}.data"] for side in "ab"} | {"attacks": attacks["attack-data.data"]}


def measured(app: dash.Dash, state: State, **values: object) -> State:
    """What the measured sections show once all is measured."""
    answer = call(app, "poll.disabled", settled=state, **values)
    chart = {name: value for name, value in answer.items() if name.startswith("live-")}
    while not answer["poll.disabled"]:
        threading.Event().wait(0.02)  # or the measurement hardly gets a turn
        before = chart.get("live-drawn.data")
        answer = call(app, "poll.disabled", changed="poll.n_intervals", settled=state, live_drawn=before, **values)
        chart |= {name: value for name, value in answer.items() if name.startswith("live-")}
    return answer | chart


def cells(table: object) -> dict[tuple[str, str], str]:
    """{(name of the row, name of the column): the cell's last text, such as "1/2"}."""
    head, *body = rows(table)
    return {(row[0], column): cell.split()[-1] for row in body for column, cell in zip(head[1:], row[1:], strict=True)}


def traces(shown: State, side: str, panel: int) -> dict[str, State]:
    return {trace["name"]: trace for trace in shown["attacks"][side]["traces"][panel]}


# --- slices ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_coarse")
def test_both_sides_are_one_plane_and_one_square(compare: dash.Dash) -> None:
    shown = drawn(compare, **QUICK, span=3)
    assert [(shown[side]["low"], shown[side]["high"], shown[side]["models"]) for side in "ab"] == [(-3, 3, MODELS)] * 2
    assert [shown["name-a.children"], shown["name-b.children"]] == ["A: mnist-trs, epoch 36", "B: mnist-standard, epoch 135"]
    ranges = {tuple(axis["range"]) for side in "ab" for name, axis in shown[side]["spec"]["layout"].items() if "axis" in name}
    assert ranges == {(-3, 3)}
    for name in ("[0, 1] in every pixel", "outside [0, 1]"):
        drawn_lines = [(t["x"], t["y"]) for side in "ab" for t in shown[side]["spec"]["data"] if t["name"] == name]
        assert len(drawn_lines) == 8
        assert all(line == drawn_lines[0] for line in drawn_lines)
    balls = [traces(shown, side, panel)["ε-ball of the attack"] for side in "ab" for panel in range(4)]
    assert all((ball["x"], ball["y"]) == (balls[0]["x"], balls[0]["y"]) for ball in balls)
    go.Figure(shown["a"]["spec"])  # plotly checks every property
    axes = "→ gradient of the loss of mnist-trs's ensemble; ↑ gradient of the loss of mnist-standard's"
    assert axes in shown["plane-words.children"]


@pytest.mark.usefixtures("_coarse")
def test_each_side_shows_its_own_runs_classes(compare: dash.Dash, explorer: Explorer) -> None:
    """A's slices under A and B's under B: the classes that each ensemble predicts on the common plane, by their shares."""
    pair = parse_pair(explorer.library, QUICK)
    plane, shown = common_plane(pair), drawn(compare, **QUICK)
    found = {}
    for side, request in pair.sides.items():
        along = torch.linspace(shown[side]["low"], shown[side]["high"], LEVELS[1])
        points = torch.cartesian_prod(along, along)
        images = plane.origin.flatten() + points @ torch.stack([plane.u.flatten(), plane.v.flatten()])
        with torch.no_grad():
            predicted = request.loaded.ensemble(images.view(-1, *plane.origin.shape)).argmax(-1)
        expected = {str(c): f"{100 * (predicted == c).double().mean():.1f} %" for c in predicted.unique().tolist()}
        _, *body = rows(shown[f"shares-{side}.children"])
        found[side] = {row[0]: row[4] for row in body if row[4] != "0.0 %"}
        assert found[side] == {c: share for c, share in expected.items() if share != "0.0 %"}
    assert found["a"] != found["b"]
    assert shown["a"]["layers"]["class"] != shown["b"]["layers"]["class"]


@pytest.mark.usefixtures("_coarse")
def test_each_panel_has_the_attack_on_its_own_model_alone(compare: dash.Dash, explorer: Explorer) -> None:
    fields = {**QUICK, "image": 8, "eps": 0.2}
    shown, sides = drawn(compare, **fields), side_attacks(parse_pair(explorer.library, fields), SliceCache())
    for side in "ab":
        attacks = sides[side].attacks
        for panel, model in enumerate(MODELS):
            found = traces(shown, side, panel)
            assert [name for name in found if name.startswith("path")] == [f"path of PGD-4 on {model}"]
            path = found[f"path of PGD-4 on {model}"]
            np.testing.assert_allclose(np.array([path["x"], path["y"]]).T[:-1].astype(float), attacks.paths[panel], atol=1e-5)
            ends = [name for name in found if "fool" in name]
            assert ends == [f"{'fools' if attacks.fools(panel, panel) else 'does not fool'} {model}"]
        assert shown["attacks"][side]["headlines"] == [attacks.headline(panel) for panel in range(4)]
        assert shown["attacks"][side]["key"] == shown[side]["key"]
    headlines = [shown["attacks"][side]["headlines"] for side in "ab"]
    assert headlines[0] != headlines[1]


@pytest.mark.usefixtures("_coarse")
def test_swap_exchanges_everything_that_is_drawn(compare: dash.Dash) -> None:
    one, two = (drawn(compare, **{**QUICK, "a": a, "b": b, "along": along})
                for a, b, along in (("mnist-trs", "mnist-standard", "a"), ("mnist-standard", "mnist-trs", "b")))  # fmt: skip
    assert one["a"]["layers"] != one["b"]["layers"]
    for side, other in ("ab", "ba"):
        assert one[side] == two[other]
        assert one["attacks"][side] == two["attacks"][other]
        assert one[f"name-{side}.children"][3:] == two[f"name-{other}.children"][3:]
        assert one[f"transfer-{side}-title.children"][14:] == two[f"transfer-{other}-title.children"][14:]
        assert one[f"shares-{side}.children"] == two[f"shares-{other}.children"]


@pytest.mark.usefixtures("_coarse")
def test_points_in_the_plane_have_the_plane_itself_and_no_box(compare: dash.Dash) -> None:
    shown = drawn(compare, a="bars-cos-only", b="bars-cos-only", steps=2)
    assert (shown["a"]["low"], shown["a"]["high"]) == (0, 1)
    assert "the inputs themselves" in shown["plane-words.children"]
    assert not [t for t in shown["a"]["spec"]["data"] if "[0, 1]" in t["name"]]


@pytest.mark.usefixtures("_coarse")
def test_data_in_the_plane_has_points_and_other_data_images(compare: dash.Dash) -> None:
    for fields, word, other in (({"a": "bars-cos-only", "b": "bars-cos-only"}, "point", "image"), (PAIR, "image", "point")):
        fields = {**QUICK, **fields, "n": 1, "steps": 1}
        shown = drawn(compare, **fields)
        assert shown["sides-title.children"] == f"One {word}, one plane, one scale"
        assert shown["example-word.children"] == word
        assert f"{word.capitalize()} 3, class" in shown["plane-words.children"]
        answer = measured(compare, state_of(compare, **fields))
        said = texts(
            [answer["words-a.children"], answer["live-words.children"], stored(compare, **fields)["cosine-words.children"]]
        )
        assert said.count(f"test {word}s") == 2
        assert f"held-out {word}s" in said
        assert other not in said


@pytest.mark.usefixtures("_coarse")
def test_the_whole_name_of_a_run_is_under_the_mouse(compare: dash.Dash) -> None:
    shown = drawn(compare, **QUICK)
    assert [shown["a-label.title"], shown["b-label.title"]] == ["mnist-trs", "mnist-standard"]


# --- what is measured now --------------------------------------------------------------------------------------------


def test_the_matrix_of_a_is_under_a_and_that_of_b_under_b(compare: dash.Dash, explorer: Explorer) -> None:
    fields = {**QUICK, "eps": 0.2, "n": 24}
    state = state_of(compare, **fields)
    answer, pair = measured(compare, state), parse_pair(explorer.library, fields)
    found = {}
    for side, request in pair.sides.items():
        loaded = request.loaded
        x, y = loaded.data.images(slice(0, 24)), loaded.data.y[:24]
        attack = configured_attack(request.state)[1]
        expected = transfer_matrix(loaded.ensemble, x, y, attack=attack, ensemble_column=True, seed=0, batch_size=64)
        found[side] = cells(answer[f"matrix-{side}.children"])
        assert found[side] == {
            (MODELS[i], MODELS[j]): f"{expected.fooled[i][j]}/{expected.eligible[i][j]}" for i in range(3) for j in range(4)
        }
        assert f"Transfer over all pairs of members: {100 * np.divide(*expected.pooled()):.1f} %" in texts(
            answer[f"words-{side}.children"]
        )
        assert list(parts(answer[f"matrix-{side}.children"], "Button")) == []
    assert found["a"] != found["b"]  # or the test would not see an exchange


def test_the_measured_curves_are_each_runs_own_with_their_table(compare: dash.Dash) -> None:
    answer = measured(compare, state_of(compare, **QUICK))
    figure = answer["live-chart.children"]["props"]["figure"]
    curves = {trace["name"]: trace for trace in figure["data"]}
    assert set(curves) == {"A: mnist-trs", "B: mnist-standard"}
    assert [trace["customdata"][-1].split("n ")[1] for trace in curves.values()] == ["16", "16"]
    _, *body = rows(answer["live-table.children"])
    for (name, trace), run in zip(sorted(curves.items()), ("mnist-trs (A)", "mnist-standard (B)"), strict=True):
        table = [(float(row[2]), float(row[3])) for row in body if row[1] == run]
        assert table == [(x, round(y, 1)) for x, y in zip(trace["x"], trace["y"], strict=True)], name
    swapped_curves = measured(compare, state_of(compare, **{**QUICK, "a": PAIR["b"], "b": PAIR["a"]}))
    swapped_figure = swapped_curves["live-chart.children"]["props"]["figure"]
    after = {trace["name"]: trace["y"] for trace in swapped_figure["data"]}
    assert after == {"A: mnist-standard": curves["B: mnist-standard"]["y"], "B: mnist-trs": curves["A: mnist-trs"]["y"]}


def test_what_the_chart_shows_already_is_not_sent_again(compare: dash.Dash) -> None:
    state = state_of(compare, **QUICK)
    answer = measured(compare, state)
    again = call(compare, "poll.disabled", changed="poll.n_intervals", settled=state, live_drawn=answer["live-drawn.data"])
    assert "live-chart.children" not in again
    dark = call(compare, "poll.disabled", changed="look.data", settled=state, look="dark", live_drawn=answer["live-drawn.data"])
    assert dark["live-chart.children"]["props"]["figure"] != answer["live-chart.children"]["props"]["figure"]


def test_before_anything_is_measured_a_sentence_stands_there_instead_of_the_chart(
    compare: dash.Dash, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Jobs._step
    # Nothing comes of it; but of another test's job, whose result is kept, what is to come.
    monkeypatch.setattr(Jobs, "_step", lambda self, job: 99 not in tuple(job.key) and step(self, job))
    answer = call(compare, "poll.disabled", settled=state_of(compare, **{**QUICK, "seed": 99}))
    assert answer["live-chart.children"] is None
    assert "PGD-4 on the ensembles, ε in max norm, first 16 test images, seed 99" in answer["live-words.children"]


def test_the_caption_names_the_norm(compare: dash.Dash) -> None:
    answer = call(compare, "poll.disabled", settled=state_of(compare, **PAIR, norm="l2", n=1, steps=1))
    assert "ε in L2" in answer["live-words.children"]


def test_what_fails_is_said_once_and_not_tried_for_ever(compare: dash.Dash, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def failing(_: object, state: Any, **__: object) -> Iterator[object]:
        tried.append(state.seed)
        raise ValueError("no such luck")
        yield

    monkeypatch.setattr(measurements.matrix, "measure_matrix", failing)
    answer = measured(compare, state_of(compare, **{**QUICK, "b": "mnist-trs", "seed": 77}))
    assert "no such luck" in texts(answer["words-a.children"])
    assert "Nothing could be measured" in answer["live-words.children"]
    assert tried.count(77) == 1


# --- what is stored --------------------------------------------------------------------------------------------------


def stored(app: dash.Dash, **fields: object) -> State:
    return call(app, "cosine-chart.children", run_fields=state_of(app, **fields))


def test_stored_charts_have_a_point_a_run_and_their_table(compare: dash.Dash) -> None:
    answer = stored(compare, **PAIR)
    figure = answer["cosine-chart.children"]["props"]["figure"]
    assert {trace["name"] for trace in figure["data"]} == {"mnist-trs", "mnist-standard"}
    colours = {trace["name"]: trace["marker"]["symbol"] for trace in figure["data"]}
    assert colours == {"mnist-trs": "circle", "mnist-standard": "square"}
    _, *body = rows(answer["cosine-table.children"])
    points = {trace["name"]: (round(trace["x"][0], 3), round(trace["y"][0], 1)) for trace in figure["data"]}
    assert {re.sub(r" \(.\)", "", row[0]): (float(row[1]), float(row[3])) for row in body} == points
    assert [row[0] for row in body] == ["mnist-trs (A)", "mnist-standard (B)"]
    assert "The paper" not in texts(answer["table1.children"])
    assert "A  trs" in texts(answer["table1.children"])
    accuracies = answer["robust-chart.children"]["props"]["figure"]["data"]
    points = {(round(trace["x"][0], 1), round(trace["y"][0], 1)) for trace in accuracies}
    assert {(float(row[1]), float(row[2])) for row in rows(answer["robust-table.children"])[1:]} == points
    assert "n 1000, with 95 % intervals" in answer["robust-words.children"]
    assert "trs evaluate, n 1000; 95 % intervals" in answer["curves-words.children"]
    curves = answer["curves-chart.children"]["props"]["figure"]["data"]
    assert len(rows(answer["curves-table.children"])) == 1 + sum(len(trace["x"]) for trace in curves)
    dark = call(compare, "cosine-chart.children", changed="look.data", run_fields=state_of(compare, **PAIR), look="dark")
    assert dark["cosine-chart.children"]["props"]["figure"]["layout"]["template"] != figure["layout"]["template"]


def test_runs_without_stored_results_get_sentences_and_no_empty_charts(compare: dash.Dash) -> None:
    """No table of the runs in the plane is stored: an empty chart would look like a rate of 0."""
    answer = stored(compare, a="bars-cos-only", b="bars-cos-only")
    assert answer["curves-chart.children"] is answer["robust-chart.children"] is None
    assert answer["curves-table.children"] == answer["robust-table.children"] == []
    assert (
        answer["curves-words.children"] == "No accuracy under attack is stored for these runs yet. Measure it with: trs compare"
    )
    assert answer["robust-words.children"].startswith("No accuracy under several attacks is stored for these runs yet.")
    assert [trace["name"] for trace in answer["cosine-chart.children"]["props"]["figure"]["data"]] == ["bars-cos-only"]


def test_a_run_without_a_probe_is_named(tmp_path: Path) -> None:
    for name in ("mnist-trs", "mnist-adp", "mnist-gal"):
        shutil.copytree(folder("checkpoints") / name, tmp_path / name)
    log = tmp_path / "mnist-adp" / "events.jsonl"
    log.write_text("".join(line for line in log.read_text().splitlines(keepends=True) if '"matrix"' not in line))
    app = create_compare(Flask("compare"), Library([tmp_path]), Jobs())
    answer = stored(app, a="mnist-trs", b="mnist-gal")
    assert answer["cosine-words.children"].endswith("Without a probe, so not drawn: adp.")
    assert "mnist-adp" not in {trace["name"] for trace in answer["cosine-chart.children"]["props"]["figure"]["data"]}


# --- the handout -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_coarse")
def test_the_handout_is_whole_and_works_alone(compare: dash.Dash, explorer: Explorer) -> None:
    state = state_of(compare, **QUICK)
    measured(compare, state)
    sent = call(compare, "download.data", state=state, handout=1)["download.data"]
    assert sent["filename"] == "mnist-trs-and-mnist-standard-handout.html"
    page = sent["content"]
    words = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', words) == []
    assert page.count("Plotly.newPlot(") == 2 + 1 + 3  # both sides, measured, stored
    assert page.index("* plotly.js") < page.index("Plotly.newPlot(")
    pair = parse_pair(explorer.library, QUICK)
    for request in pair.sides.values():
        assert f"weights {request.loaded.digest}" in words
    for name in ("One image, one plane, one scale", "Transfer in A: mnist-trs", "Transfer in B: mnist-standard",
                 "Transfer over all pairs", "Robust accuracy over ε", "The paper&#x27;s Table 1",
                 "/compare?a=mnist-trs"):  # fmt: skip
        assert name in words, name
    on_page = measured(compare, state)
    for side in "ab":
        title = words.index(f"Transfer in {side.upper()}")
        table = words[words.index("<table", title) : words.index("</table>", title)]
        found = [texts(cell) for cell in cells(on_page[f"matrix-{side}.children"]).values()]
        assert re.findall(r"<small>(\d+/\d+)</small>", table) == [text for text in found if text != "-"]
    for trace in re.findall(r'"paper_bgcolor":"([^"]*)"', page):
        assert trace in ("#ffffff", "white")


def test_a_handout_escapes_the_names_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "LEVEL", 0)
    name = "<i>&'\""
    shutil.copytree(folder("checkpoints") / "bars-cos-only", tmp_path / name)
    app = create_compare(Flask("compare"), Library([tmp_path]), Jobs())
    sent = call(app, "download.data", state=state_of(app, a=name, b=name, n=1, steps=1), handout=1)["download.data"]
    words = re.sub(r"<script.*?</script>", "", sent["content"], flags=re.DOTALL)
    assert name not in words
    assert escape(name) in words


def test_radii_of_the_curve_begin_above_zero(explorer: Explorer) -> None:
    state = parse_pair(explorer.library, QUICK).a.state
    assert radii(state, "mnist") == [0.05, 0.1, 0.15, 0.2, 0.25, 0.3]
