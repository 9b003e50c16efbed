"""Attacks of others on the pages: they are listed, their own options are controls, and what fails is said in words."""

from collections.abc import Iterator
from pathlib import Path

import dash
import pytest
from custom_runs import ATTACKS, attack_file, imported_run
from dash_client import call, parsed, parts, resolve, set_control, state_of, texts
from flask import Flask

from trs_explorer import plugins
from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.library import Library
from trs_explorer.options import UsageError
from trs_explorer.web import custom_attacks
from trs_explorer.web.app import create_app
from trs_explorer.web.compare.app import create_compare

MIRROR = "mine.py:mirror"


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    """A run of others, with both attacks of `attack_file` offered. The halves of images differ by 10/255: eps .1 swaps them."""
    imported_run(tmp_path, "own", shape=(1, 6, 10))
    file = attack_file(tmp_path)
    custom_attacks.offer([f"{file}:mirror", f"{file}:broken", "pgd"])
    yield Library([tmp_path / "runs"])
    custom_attacks.offer([])


@pytest.fixture
def app(library: Library) -> dash.Dash:
    return create_app(library)


def test_attacks_are_listed_by_short_names(app, library):
    compare = create_compare(Flask("compare"), library, Jobs())
    for one in (app, compare):
        page = str(one.layout())
        assert f"'value': '{MIRROR}', 'label': '{MIRROR}'" in page
        assert page.count("'value': 'pgd'") == 1


def test_an_own_attack_runs_with_its_options_in_slices_and_matrix(app):
    """All ten columns change with side 10: every model is fooled. Without any, or in the other direction, none is."""
    for options, fooled in (("", True), ("side=1", False), ("kind=away", False), ("strong=false", True)):
        state = state_of(app, run="own", attack=MIRROR, eps=0.1, options=options)
        attacks = call(app, "attack-data.data", attack_state=state)["attack-data.data"]
        assert ["fooled" in one and "not" not in one for one in attacks["headlines"]] == [fooled] * 3, options
    assert attacks["words"]["attack-words"].startswith("mine.py:mirror, strong False, ε 0.1")


def test_options_are_in_the_address_and_only_those_that_differ(app):
    answer = resolve(app, run="own", attack=MIRROR, options="kind=away&side=3&strong=true")
    assert answer["state.data"]["options"] == "side=3&kind=away"  # in the declared order, without the default
    assert "options=side%3D3%26kind%3Daway" in answer["address.search"]
    other = set_control(app, answer["state.data"], "attack", "fgsm")
    assert other["state.data"]["options"] == ""
    assert other.get("notice.children", "") == ""
    cleared = set_control(app, answer["state.data"], "options", "side=28&kind=towards&strong=true")
    assert cleared["state.data"]["options"] == ""
    assert resolve(app, run="own", attack=MIRROR)["norm-label.style"] == {"display": "none"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("side=99", "side must be >= 1 and <= 28, got 99"),
        ("side=x", "side takes a number, got 'x'"),
        ("side=1.5", "side takes a whole number, got 1.5"),
        ("kind=up", "kind: there is no 'up'. Choose from towards, away"),
        ("strong=maybe", "strong takes true or false, got 'maybe'"),
        ("sides=3", "mine.py:mirror has no option sides; its options: side, kind, strong"),
    ],
)
def test_options_that_cannot_be_used_are_said_in_words(app, options, message):
    answer = resolve(app, run="own", attack=MIRROR, options=options)
    assert answer["notice.children"] == message
    assert answer["state.data"]["options"] == ""


def test_the_form_has_a_control_for_every_option(app):
    state = state_of(app, run="own", attack=MIRROR, options="side=3&strong=false")
    form = parsed(call(app, "custom-options-html.data", state=state)["custom-options-html.data"])
    side, kind, strong = (one["props"] for one in parts(form) if "data-option" in one["props"])
    assert (side["type"], side["value"], side["min"], side["max"]) == ("number", "3", "1", "28")
    chosen = [texts(one) for one in parts([kind["children"], strong["children"]], "Option") if "selected" in one["props"]]
    assert chosen == ["towards", "false"]
    labels = [one["props"] for one in parts(form, "Label")]
    assert labels[0]["title"] == "columns that change [>= 1 and <= 28]"
    other = call(app, "custom-options-html.data", state=state_of(app, run="own"), custom_options_html="x")
    assert other["custom-options-html.data"] == ""


def test_an_attack_that_fails_says_where_and_the_slice_stays(app, tmp_path):
    state = state_of(app, run="own", attack="mine.py:broken")
    shown = call(app, "slice-data.data", slice_state=state)
    assert shown["slice-error.children"] == ""
    attacks = call(app, "attack-data.data", attack_state=state)["attack-data.data"]
    message = "mine.py, line 17, in broken: NameError: name 'missing' is not defined"
    assert attacks["words"] == {"start-words": message}
    matrix = {"poll.disabled": False}
    while not matrix["poll.disabled"]:  # the job's thread fails when it gets its turn
        matrix = call(app, "matrix-html.data", changed="poll.n_intervals", settled=state, client="tab", poll=1)
    assert texts(matrix["transfer-words.children"]) == f"The matrix could not be measured: {message}"


def test_an_attack_that_leaves_its_ball_is_said(app, library, tmp_path):
    """mirror moves every pixel by eps, "far" by 3 eps."""
    file = tmp_path / "far.py"
    file.write_text(ATTACKS + "\ndef far(model, x, y, *, eps):\n    return mirror(model, x, y, eps=3 * eps)\n")
    custom_attacks.offer([f"{file}:{name}" for name in ("mirror", "far")])
    for name, outside in (("mirror", False), ("far", True)):
        state = state_of(app, run="own", attack=f"far.py:{name}", eps=0.1, n=4)
        sentence = f"far.py:{name} leaves its ball: it moved an image by 0.3 (max norm), more than ε 0.1."
        words = call(app, "attack-data.data", attack_state=state)["attack-data.data"]["words"]["attack-words"]
        assert (sentence in words) is outside
        matrix = {"poll.disabled": False}
        while not matrix["poll.disabled"]:
            matrix = call(app, "matrix-html.data", changed="poll.n_intervals", settled=state, client="tab", poll=1)
        assert (f"{sentence} These figures do not count." in texts(matrix["transfer-words.children"])) is outside
    compare = create_compare(Flask("compare"), library, Jobs())
    fields = state_of(compare, a="own", b="own", attack="far.py:far", eps=0.1)
    assert sentence in call(compare, "attack-data.data", attack_fields=fields)["plane-words.children"]


def test_compare_takes_own_attacks_with_their_options(library):
    compare = create_compare(Flask("compare"), library, Jobs())
    fields = state_of(compare, a="own", b="own", attack=MIRROR, eps=0.1, options="side=1")
    assert fields["options"] == "side=1"
    attacks = call(compare, "attack-data.data", attack_fields=fields)["attack-data.data"]
    assert [one.endswith("not fooled") for one in attacks["a"]["headlines"]] == [True] * 3
    broken = state_of(compare, a="own", b="own", attack="mine.py:broken")
    assert "line 17" in call(compare, "attack-data.data", attack_fields=broken)["plane-words.children"]


def test_installed_attacks_are_listed_and_run_only_with_allow_code(app, monkeypatch, tmp_path):
    file = attack_file(tmp_path)
    monkeypatch.setattr(plugins, "_entry_points", lambda: (("attack.packed", f"{file}:mirror"),))
    monkeypatch.setattr(plugins, "_allowed", {one for one in plugins._allowed if "mine.py" not in one})
    assert "packed" in custom_attacks.names()
    answer = resolve(app, run="own", attack="packed", eps=0.1)
    assert answer["state.data"]["attack"] == "pgd"
    assert answer["notice.children"].startswith("packed is code of others, which runs only with --allow-code")
    monkeypatch.setattr(plugins, "_runs_allowed", True)
    answer = resolve(app, run="own", attack="packed", eps=0.1, options="side=2")
    assert (answer["state.data"]["attack"], answer["state.data"]["options"]) == ("packed", "side=2")


def test_what_cannot_be_offered_is_said_before_the_server_starts(tmp_path):
    wrong = {"cw": "attacks with a radius", "nothing": "there is no 'nothing'", f"{tmp_path}/no.py:x": "no such file"}
    for name, message in wrong.items():
        with pytest.raises(UsageError, match=message):
            custom_attacks.offer([name])
    custom_attacks.offer([])
