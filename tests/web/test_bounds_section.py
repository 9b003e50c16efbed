"""The "Bounds" section: measured only while its switch is on, and then what the command measures; else what is stored."""

import base64
import csv
import shutil
import threading
from functools import partial
from pathlib import Path

import pytest
from dash_client import call, resolve, rows, save, state_of, texts

from trs_explorer.attacks.pgd import pgd
from trs_explorer.evaluation.bounds.measured import measure_bounds
from trs_explorer.evaluation.bounds.of_pairs import pair_quantities
from trs_explorer.explore.library import Library
from trs_explorer.files import write_atomically
from trs_explorer.measure import BoundsPlan, bounds_run, store
from trs_explorer.measure.bounds_session import default_radii
from trs_explorer.runs import open_run
from trs_explorer.shipped import folder
from trs_explorer.web.app import create_app
from trs_explorer.web.page_request import parse_request

BARS = {"run": "bars-cos-only", "image": 0, "n": 3}


def shown(app, state, client="one"):
    """What the section shows once nothing is being measured."""
    answer = call(app, "bounds-words.children", settled=state, client=client, look="light")
    while not answer["bounds-poll.disabled"]:
        threading.Event().wait(0.02)
        polled = call(app, "bounds-words.children", changed="bounds-poll.n_intervals", settled=state, client=client, look="light")
        answer = answer | polled
    return answer


def test_nothing_is_measured_until_it_is_switched_on_and_then_what_the_command_measures(app, explorer):
    state = state_of(app, **BARS)
    before = shown(app, state)
    assert before["bounds-words.children"].startswith("Not measured for these weights yet")
    assert before["bounds-chart.children"] is None
    after = shown(app, state_of(app, **BARS, bounds=1))
    loaded = parse_request(explorer.library, state).loaded
    x, y, eps = loaded.data.images(slice(0, 3)), loaded.data.y[:3], default_radii("bars")
    *_, measured = measure_bounds(loaded.ensemble, x, y, attack=partial(pgd, norm="l2", steps=50), eps=eps)
    head, *body = rows(after["bounds-table.children"])
    assert len(body) == 8
    for row, (k, (i, j)) in zip(body, [(k, pair) for k in range(4) for pair in ((0, 1), (1, 0))], strict=True):
        q = pair_quantities(measured, k, eps[k], i, j)
        cells = dict(zip(head, row, strict=True))
        assert (cells["ε"], cells["pair"], cells["n"]) == (f"{eps[k]:g}", f"F{i + 1} → F{j + 1}", f"{q.transferred}/3")
        assert float(cells["β"]) == pytest.approx(q.beta, rel=0.01)
        assert float(cells["S̄"]) == pytest.approx(q.highest, abs=0.01)
    figure = after["bounds-chart.children"]["props"]["figure"]
    transferred = [sum(pair_quantities(measured, k, eps[k], i, 1 - i).transferred for i in range(2)) for k in range(4)]
    assert figure["data"][0]["y"] == [pytest.approx(100 * count / 6) for count in transferred]
    assert after["bounds-words.children"].startswith("Lower bound (Theorem 1): ")
    said = texts(after["bounds-sentences.children"])
    assert "epoch 800: untargeted pgd-50 in L2, first 3 test points, seed 0" in said
    assert "gradients of all 2 classes at up to 25 points around each" in said
    again = shown(app, state)  # switched off, what was measured stays
    assert again["bounds-words.children"] == after["bounds-words.children"]


def test_what_trs_bounds_has_stored_of_these_weights_is_shown(tmp_path: Path):
    shutil.copytree(folder("checkpoints") / "bars-trs", tmp_path / "bars-trs")
    run = open_run(tmp_path / "bars-trs")
    plan = BoundsPlan([0.01, 0.2], limit=20, steps=2, samples=0)
    measured = bounds_run(run, plan)
    store([measured])
    app = create_app(Library([tmp_path]))
    answer = shown(app, state_of(app, run="bars-trs"))
    assert len(rows(answer["bounds-table.children"])) == 5
    said = texts(answer["bounds-sentences.children"])
    assert "epoch 800: untargeted pgd-2 in L2, first 20 test points" in said
    assert "(stored by trs bounds)" in said
    [upper] = {round(100 * pair["upper_bound"], 1) for pair in measured.result["pairs"][:2]}
    head, *body = rows(answer["bounds-table.children"])
    assert dict(zip(head, body[0], strict=True))["upper, %"] == f"{upper:.1f}"
    assert dict(zip(head, body[0], strict=True))["lower, %"] == "vacuous: c_G"
    old = state_of(app, run="bars-trs", at="0400")
    assert shown(app, old)["bounds-words.children"].startswith("Not measured")
    store([bounds_run(run, plan, checkpoint=run.checkpoints()[0])])
    assert "epoch 400: untargeted" in texts(shown(app, old)["bounds-sentences.children"])
    for path in (run.path / "results").glob("bounds-*.json"):
        text = path.read_text()
        write_atomically(path, lambda new, text=text: new.write_text(text.replace('"interval"', '"x"')))
    damaged = shown(app, state_of(app, run="bars-trs"))
    assert damaged["bounds-words.children"].startswith("Not measured")


def test_it_is_saved_as_it_is_shown(app):
    state = state_of(app, **BARS, bounds=1)
    after = shown(app, state, client="saving")
    csv_file = base64.b64decode(save(app, state, "bounds", client="saving")["download.data"]["content"]).decode()
    about, *lines = csv_file.splitlines()
    assert about.startswith("# bars-cos-only, epoch 800: untargeted pgd-50 in L2, first 3 test points")
    table = list(csv.DictReader(lines))
    head, *body = rows(after["bounds-table.children"])
    for line, row in zip(table, body, strict=True):
        assert [line["eps"], f"{line['surrogate']} → {line['target']}"] == row[:2]
        assert f"{line['transferred']}/{line['n']}" == row[head.index("n")]
    figure = save(app, state, "bounds-svg", client="saving")["export.data"]["figure"]
    assert figure["data"][0]["y"] == after["bounds-chart.children"]["props"]["figure"]["data"][0]["y"]
    nothing = save(app, state_of(app, run="bars-cos-only", n=9), "bounds-png")
    assert nothing["notice.children"].startswith("there are no bounds to save: Not measured")


def test_a_link_brings_the_switch_back(app):
    state = state_of(app, **BARS, bounds=1)
    assert state["bounds"] == 1
    assert "bounds" in resolve(app, run="bars-cos-only", bounds=7)["notice.children"]
