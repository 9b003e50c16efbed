"""Runs with anything in their files, among good ones: every page answers, good runs are whole, bad ones in words."""

import base64
import csv
import io
import json
import math
import os
import re
import shutil
import sys
from collections.abc import Callable
from html import escape
from pathlib import Path

import dash
import plotly.graph_objects as go
import pytest
from dash_client import call, post, resolve, save, state_of, texts
from flask import Flask
from flask.testing import FlaskClient

from trs_explorer.explore import library as library_module
from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.library import Library
from trs_explorer.figures.theme import as_label
from trs_explorer.figures.training_figure import training_spec
from trs_explorer.results import write_result
from trs_explorer.runs import open_run
from trs_explorer.shipped import folder
from trs_explorer.web.app import create_app
from trs_explorer.web.compare.app import create_compare
from trs_explorer.web.history import history_table
from trs_explorer.web.lesson import baseline
from trs_explorer.web.lesson.app import create_lesson
from trs_explorer.web.lesson.deck import CARDS
from trs_explorer.web.markup import markup
from trs_explorer.web.page_request import NO_UPLOADS

GOOD, BAD = "bars-cos-only", "bars-trs"
HUGE = 10**400
PAGES = ("/", "/_dash-layout", "/compare", "/lesson/images", "/lesson/teacher")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in (GOOD, BAD):
        shutil.copytree(folder("checkpoints") / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(library_module.time, "monotonic", lambda: now[0])
    return now


def app_of(place: Path, *, readonly: bool = False) -> dash.Dash:
    return create_app(Library([place]), readonly=readonly)


def client_of(place: Path) -> FlaskClient:
    return app_of(place).server.test_client()


def compare_of(place: Path) -> dash.Dash:
    return create_compare(Flask("compare"), Library([place]), Jobs())


def stored(compare: dash.Dash, name: str = GOOD) -> dict:
    """What Compare shows of the stored results of all runs on the data of one: chart to figure."""
    shown = call(compare, "cosine-chart.children", run_fields=state_of(compare, a=name))
    charts = {chart: shown[f"{chart}-chart.children"] for chart in ("cosine", "robust", "curves")}
    return {chart: graph["props"]["figure"] if graph else None for chart, graph in charts.items()}


def history_of(app: dash.Dash, run: str) -> dict:
    """What the training section shows of a run."""
    return call(app, "history-chart.children", settled=state_of(app, run=run))


def every_page_answers(app: dash.Dash) -> None:
    client = app.server.test_client()
    for path in PAGES:
        assert client.get(path).status_code == 200, path
    state = state_of(app, run=GOOD)
    assert state["run"] == GOOD
    assert call(app, "slice-data.data", slice_state=state)["slice-data.data"]["key"]


def append(run: Path, *events: dict) -> None:
    with (run / "events.jsonl").open("a") as log:
        log.writelines(json.dumps({"v": 1, "t": 1, **event}) + "\n" for event in events)


def first_loss(run: Path) -> float:
    events = map(json.loads, (run / "events.jsonl").read_text().splitlines())
    return next(next(iter(event["terms"].values())) for event in events if event["kind"] == "step")


# --- names -----------------------------------------------------------------------------------------------------------

NAMES = (
    "dash goes here",
    "{%app_entry%}{%config%}{%scripts%}",
    "<b>&amp;\"'",
    "</script><i>",
    "a\nb",
    "a\u202eb\u200f",
    "=1+1",
    "\x1b]0;x\x07",
    "%{x}{{7*7}}",
    os.fsdecode(b"bad\xffname"),
)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not take such names")
def test_whatever_runs_are_called_every_page_answers_and_shows_them_escaped(place: Path) -> None:
    before = client_of(place).get("/").data.decode()
    for name in NAMES:
        shutil.copytree(place / BAD, place / name.replace("/", ""))
    app = app_of(place)
    client = app.server.test_client()
    every_page_answers(app)
    shown = [option["value"] for option in resolve(app)["run.options"]]
    assert len(shown) == 2 + len(NAMES)
    assert all(name.isprintable() for name in shown)
    assert {"dash goes here", "a\\nb", "bad\\xffname", "%{x}{{7*7}}"} <= set(shown)
    for name in shown:
        page = client.get("/", query_string={"run": name}).data.decode()
        for part in ('id="react-entry-point"', 'id="_dash-config"', "<script", "<i>"):
            assert page.count(part) == before.count(part), (name, part)
        opened = resolve(app, run=name)
        assert (opened["state.data"]["run"], opened["notice.children"]) == (name, "")
        sent = save(app, opened["state.data"], "history")["download.data"]
        assert sent["filename"] == f"history-{name}.csv"
        assert "\n" not in sent["filename"]
        figure = save(app, opened["state.data"], "svg")["export.data"]["figure"]
        caption = figure["layout"]["annotations"][0]["text"]
        assert as_label(name)[:60] in caption.replace("<br>", " ")
        assert not re.search(r"<(?!br>)", caption), caption
        handout = save(app, opened["state.data"], "handout")["download.data"]["content"]
        words = re.sub(r"<script.*?</script>", "", handout, flags=re.DOTALL)
        assert escape(name) in words
        assert not re.search(r"<(i|script|b>&)", words), name
    compare = compare_of(place)
    charts = stored(compare, "dash goes here")
    for figure in filter(None, charts.values()):
        for trace in go.Figure(figure).data:
            for text in filter(None, (trace.name, trace.hovertemplate, *(trace.text or ()))):
                assert "<b" not in text.replace("<br>", ""), text
                assert "%{x}{{" not in text, text
    assert len(charts["cosine"]["data"]) == len(shown)
    for name in shown:
        opened = resolve(compare, a=name, b=name)
        assert (opened["state.data"]["a"], opened["notice.children"]) == (name, "")


# --- what stands in the files ----------------------------------------------------------------------------------------

EVALUATIONS = (
    {"n": float("inf")},
    {"n": HUGE, "correct": HUGE},
    {"correct": 20, "n": 10},
    {"correct": -1, "n": 10},
    {"eps": HUGE},
    {"eps": float("nan")},
    {"name": "\ud800" * 5000},
    {"name": ["x"]},
    {"outcomes": [HUGE]},
)


def test_damaged_evaluations_leave_the_curves_of_good_ones(place: Path) -> None:
    run = open_run(place / BAD)
    good = {"name": "mim-10", "eps": 0.123, "correct": 5, "n": 10}
    about = {"kind": "evaluate", "weights": run.checkpoints()[-1].digest(), "versions": {"trs_explorer": "0"}, "options": {}}
    for rate in (good, *({**good, **damage} for damage in EVALUATIONS)):
        write_result(run, "evaluate", {**about, "rates": [rate]})
    write_result(run, "evaluate", {**about, "options": [], "rates": [good]})
    write_result(run, "evaluate", {**about, "rates": HUGE, "trust": [{"check": HUGE, "warnings": []}]})
    found = stored(compare_of(place))
    assert [trace["x"] for trace in found["curves"]["data"] if 0.123 in trace["x"]]
    assert len(found["cosine"]["data"]) == 2


PROBES = (
    {"cosine": [[1, HUGE], [HUGE, 1]]},
    {"fooled": [[0, HUGE], [HUGE, 0]], "eligible": [[0, HUGE], [HUGE, 0]]},
    {"eligible": [[0, 0], [0, 0]]},
    {"eps": HUGE},
    {"n": float("inf")},
    {"n": "\ud800", "epoch": "\ud800" * 999},
    {"zero_gradients": [float("nan")]},
    {"cosine": 3},
    {"step": HUGE},
)


def test_damaged_probes_hide_no_other_run_and_no_curve(place: Path) -> None:
    events = [json.loads(line) for line in (place / BAD / "events.jsonl").read_text().splitlines()]
    probe = [event for event in events if event["kind"] == "matrix"][-1]
    for number, damage in enumerate(PROBES):
        shutil.copytree(place / BAD, place / f"bad-{number}")
        append(place / f"bad-{number}", {**probe, **damage})
    app = app_of(place)
    assert {GOOD, BAD} <= {trace["name"] for trace in stored(compare_of(place))["cosine"]["data"]}
    for number in range(len(PROBES)):
        shown = history_of(app, f"bad-{number}")
        assert len(shown["history-chart.children"]["props"]["figure"]["data"]) >= 3
        assert "\ud800" not in texts(shown["history-table.children"])


TERMS = (
    {"\ud800": 1.0, "=1+1": 2.0},
    {"total": HUGE, "ce": float("inf")},
    {"<b>x</b>": 1.0, "a\u202eb": 1.0, "\x1b[31m": 1.0},
    {"total": [1], "ce": {"a": 1}, "": None},
)


def test_whatever_terms_are_the_history_is_drawn_and_saved(place: Path) -> None:
    for number, terms in enumerate(TERMS):
        shutil.copytree(place / BAD, place / f"bad-{number}")
        append(place / f"bad-{number}", {"kind": "step", "step": 900, "epoch": 900, "terms": terms})
    app = app_of(place)
    for number, terms in enumerate(TERMS):
        event = {"kind": "step", "step": 900, "epoch": 900, "terms": terms}
        shown = history_of(app, f"bad-{number}")
        for figure in (shown["history-chart.children"]["props"]["figure"], training_spec([event])):
            names = [trace.name for trace in go.Figure(figure).data]
            assert len(names) >= sum(isinstance(value, float) and math.isfinite(value) for value in terms.values())
            assert all(name.isprintable() and "<b" not in name for name in names)
            json.dumps(figure, allow_nan=False).encode()
        assert markup(history_table([event, {"kind": "matrix", "step": 900}])).encode()
        sent = save(app, state_of(app, run=f"bad-{number}"), "history")["download.data"]
        rows = list(csv.reader(io.StringIO(base64.b64decode(sent["content"]).decode())))
        assert rows[0] == ["step", "term", "value"]
        assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "@"))]
        assert float(rows[1][2]) == pytest.approx(first_loss(place / BAD))  # numbers as they were


def test_a_state_of_any_kind_is_shown_in_printable_characters(place: Path) -> None:
    (place / BAD / "status.json").write_text(json.dumps({"state": "\x1b]0;\ud800</p>" * 99, "heartbeat": HUGE}))
    words = history_of(app_of(place), BAD)["run-words.children"]
    assert words.isprintable()
    assert isinstance(words, str)  # a text, which React escapes, and no component
    assert len(words) < 150
    assert state_of(compare_of(place), a=GOOD, b=BAD)["b"] == BAD


# --- folders ---------------------------------------------------------------------------------------------------------


def test_a_run_that_cannot_be_looked_into_hides_no_other(
    place: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, other, look, scan = app_of(place), app_of(place), os.stat, os.scandir

    def refusing(function: Callable) -> Callable:
        def refuse(path: object = ".", *given: object, **named: object) -> object:
            if BAD in str(path):
                raise PermissionError(13, "Permission denied", str(path))
            return function(path, *given, **named)

        return refuse

    monkeypatch.setattr(os, "stat", refusing(look))
    monkeypatch.setattr(os, "scandir", refusing(scan))
    every_page_answers(app)  # as of the last look
    assert "error" in state_of(app, run=BAD)
    assert history_of(other, GOOD)["history-chart.children"]
    clock[0] += 2
    every_page_answers(app)
    assert [option["value"] for option in resolve(app)["run.options"]] == [GOOD]


@pytest.mark.parametrize("readonly", [False, True])
def test_when_the_last_run_has_gone_pages_say_so_until_there_is_one(place: Path, clock: list[float], readonly: bool) -> None:
    app, kept = app_of(place, readonly=readonly), place.with_name("kept")
    client, state, compare = app.server.test_client(), state_of(app, run=GOOD), compare_of(place)
    place.rename(kept)
    clock[0] += 2
    for path in ("/", "/compare"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["Refresh"]) == (200, "5"), path
        assert "no run here any more" in answer.data.decode()
    held = state_of(compare, a=GOOD)
    assert "no run" in held["error"]
    for output in ("attack-data.data", "poll.disabled", "cosine-chart.children", "newest.data"):
        call(compare, output, **dict.fromkeys(("state", "settled", "attack_fields", "run_fields"), held))
    assert "no run" in call(compare, "slices-a.data", slice_fields=held)["slice-error.children"]
    assert "no run" in state_of(app)["error"]
    for output, words in {"slice-data.data": "slice-error", "matrix.children": "transfer-summary",
                          "history-chart.children": "run-words"}.items():  # fmt: skip
        assert GOOD in call(app, output, slice_state=state, settled=state)[f"{words}.children"], output
    assert GOOD in save(app, state, "csv")["notice.children"]
    assert client.get("/lesson/zigzag").status_code == 200
    kept.rename(place)
    clock[0] += 2
    every_page_answers(app)


# --- read-only -------------------------------------------------------------------------------------------------------


def addresses(app: Flask) -> list[str]:
    """Every address of the app's own that answers a GET, with a run that each knows."""
    rules = [str(rule) for rule in app.url_map.iter_rules() if "GET" in rule.methods]
    ours = [rule for rule in rules if not re.match(r"(/compare|/lesson)?/(_|assets)", rule)]
    return [re.sub("<name>", "mnist-trs", rule) for rule in ours if "<key>" not in rule and "<path" not in rule]


def test_read_only_no_address_takes_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "LEVEL", 0)
    shutil.copytree(folder("checkpoints") / "mnist-trs", tmp_path / "mnist-trs")
    own = "A" * (28 * 28 // 3 * 4) + "AA=="
    asked = {"run": "mnist-trs", "a": "mnist-trs", "own": own, "image": 3, "n": 1, "steps": 1}
    for readonly in (False, True):
        app = app_of(tmp_path, readonly=readonly)
        opened = resolve(app, **asked)
        found = opened["state.data"]["own"], NO_UPLOADS in opened["notice.children"]
        assert found == (("", True) if readonly else (own, False))
        # The lesson takes none at all.
        lesson = create_lesson(Flask("lesson"), Library([tmp_path]), Jobs())
        pictures = [
            call(lesson, "answer.data", look="light", asked={"card": "baseline", "reveal": 1, **asked, "own": given})[
                "answer.data"
            ]["figures"]["mnist-trs"]
            for given in (own, "")
        ]
        assert pictures[0] == pictures[1]


@pytest.mark.parametrize("readonly", [False, True])
def test_read_only_no_answer_names_a_folder(tmp_path: Path, readonly: bool) -> None:
    place = tmp_path / "of mine" / "runs"
    for name in (GOOD, BAD):
        shutil.copytree(folder("checkpoints") / name, place / name)
    shutil.copytree(folder("checkpoints") / "mnist-trs", place / "mnist-trs")
    config = json.loads((place / "mnist-trs" / "config.json").read_text())
    secret = {**config, "data_dir": f"{tmp_path}/my data", "start_from": f"{tmp_path}/start"}
    (place / "mnist-trs" / "config.json").write_text(json.dumps(secret))
    (place / BAD / "epoch-0800.safetensors").write_bytes(b"nonsense")
    for weights in (place / GOOD).glob("*.safetensors"):
        weights.unlink()
    library = Library([place])
    app = create_app(library, readonly=readonly)
    client, runs = app.server.test_client(), (GOOD, BAD, "mnist-trs", "none")
    paths = addresses(app.server)
    assert {"/", "/compare", "/lesson", "/lesson/teacher"} <= set(paths)
    answers = [client.get(path, query_string={"run": run, "a": run}) for path in paths for run in runs]
    usual = state_of(app, run="mnist-trs")
    for state in ({**usual, "run": run} for run in runs):
        for key in (key for key, callback in app.callback_map.items() if "callback" in callback):
            answers.append(post(app, key, state=state, settled=state, measured={"state": state}))
        answers.append(post(app, "state.data", address=f"?run={state['run']}"))
        answers += [post(app, "download.data", clicked={"save": kind}, state=state) for kind in ("csv", "matrix", "history")]
    compare = create_compare(Flask("compare"), library, Jobs())
    usual = state_of(compare, a="mnist-trs", n=1, steps=1)
    for state in ({**usual, "a": run} for run in runs):
        held = dict.fromkeys(("run_fields", "slice_fields", "attack_fields", "settled", "state"), state)
        for key in (key for key, callback in compare.callback_map.items() if "callback" in callback):
            answers.append(post(compare, key, handout=1, alive=1, **held))
        answers.append(post(compare, "state.data", address=f"?a={state['a']}"))
    lesson = create_lesson(Flask("lesson"), library, Jobs())
    for card in CARDS:
        asked = {"card": card.name, **card.fields, "n": 1, "steps": 1, "reveal": 1}
        answers.append(post(lesson, "answer.data", asked=asked, look="light", client="me"))
        answers.append(post(lesson, "cards.children", address=f"/lesson/{card.name}"))
    said = b"\n".join(answer.data for answer in answers).decode("utf-8", "replace")
    said = said.replace(r"\u002f", "/")  # as Dash writes it in JSON
    assert f"{BAD}/epoch-0800.safetensors" in said
    assert "there is no folder" in said
    assert (str(tmp_path) in said) == (not readonly)
    assert "of mine" not in said  # of a run its name, everywhere
