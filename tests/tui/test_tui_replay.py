"""Moving in time, two runs on the same axes, reference runs, screenshots and themes, as the user sees them."""

import re
from xml.etree import ElementTree

import pytest
from textual.pilot import Pilot
from tui_recorded import append, matrix_event, record, step_event, stretch
from tui_screen import drive, screen_of, seen, until

from trs_explorer import runs, shipped
from trs_explorer.shipped import shipped_runs
from trs_explorer.tui.app import Dashboard
from trs_explorer.tui.keys import KEYS
from trs_explorer.tui.reference_runs import reference_runs_for

OTHERS = [pytest.param(size, marks=pytest.mark.slow) for size in ((160, 48), (100, 30), (40, 12))]


@pytest.mark.parametrize("size", [(60, 20), *OTHERS])
def test_scrubbing_a_finished_run(run, size):
    app = Dashboard(run)

    async def act(pilot: Pilot) -> None:
        await until(pilot, lambda: "FINISHED" in seen(app) and "700" in seen(app))
        await pilot.press("home")
        await until(pilot, lambda: "REPLAY" in seen(app) and "step 0" in seen(app) and "1 %" in seen(app))
        await pilot.press("shift+right")
        await until(pilot, lambda: "step 10" in seen(app))
        await pilot.press("full_stop")
        await until(pilot, lambda: "step 100" in seen(app))
        await pilot.press("comma")
        await until(pilot, lambda: "no earlier mark" in seen(app))
        await pilot.press("left", "left", "left")  # past the checkpoint, the probe, the step
        await until(pilot, lambda: "step 90" in seen(app))
        await pilot.press("right", "end")
        await until(pilot, lambda: "FINISHED" in seen(app) and "700" in seen(app))

    drive(app, size, act)


@pytest.mark.slow
def test_a_replay_plays_to_the_end(run):
    stretch(run, 0.1)  # 70 s of training
    app = Dashboard(run)

    async def act(pilot: Pilot) -> None:
        await until(pilot, lambda: "FINISHED" in seen(app))
        await pilot.press("space")  # no trainer: the same as r
        await until(pilot, lambda: "▶" in seen(app) and "◀ REPLAY" in seen(app))
        await pilot.press("r")
        await until(pilot, lambda: "‖ ×" in seen(app))
        await pilot.press(*"++++++++++", "r")
        await until(pilot, lambda: "FINISHED" in seen(app))
        assert app.player.position is None

    drive(app, (160, 48), act)


@pytest.mark.slow
def test_a_live_run_can_be_looked_back_at(live):
    app = Dashboard(live)

    async def act(pilot: Pilot) -> None:
        await until(pilot, lambda: "RUNNING" in seen(app))
        await pilot.press("home")
        await until(pilot, lambda: "REPLAY" in seen(app))
        append(live, step_event(710))
        await until(pilot, lambda: app.followed.history.step == 710)
        assert "step 0" in seen(app), "new events do not move the view"
        await pilot.press("end")
        await until(pilot, lambda: "step 710" in seen(app) and "RUNNING" in seen(app))

    drive(app, (160, 48), act)
    assert not (live.path / "control.jsonl").exists(), "looking asks nothing of the trainer"


@pytest.mark.slow
def test_arrows_belong_to_a_dialog_while_it_is_open(live):
    app = Dashboard(live)

    async def act(pilot: Pilot) -> None:
        await until(pilot, lambda: "RUNNING" in seen(app))
        await pilot.press("n", *"ac", "left", "b", "home", "x", "enter")
        await until(pilot, lambda: "note sent" in seen(app))
        assert app.player.position is None

    drive(app, (160, 48), act)
    assert '"xabc"' in (live.path / "control.jsonl").read_text()


def test_stop_is_a_key_of_its_own(live):
    app = Dashboard(live)

    async def act(pilot: Pilot) -> None:
        await until(pilot, lambda: "RUNNING" in seen(app))
        await pilot.press("X")
        await until(pilot, lambda: "requested: stop after this step" in seen(app))
        assert app.is_running

    drive(app, (160, 48), act)
    assert '"stop"' in (live.path / "control.jsonl").read_text()


def test_interventions_are_marks_on_the_curve_and_in_the_timeline(run):
    append(run, {"kind": "control", "step": 350, "action": "pause"}, {"kind": "control", "step": 350, "action": "resume"})
    refused = {"kind": "control", "step": 400, "action": "set", "name": "delta", "value": 1.0, "error": "no weight 'delta'"}
    append(run, refused)
    text = screen_of(Dashboard(run), (160, 48), "▲", "100 %", "set delta 1 (step 400): refused, no weight 'delta'")
    timeline = next(line for line in text.splitlines() if line.rstrip().endswith("100 %"))
    assert "▲" in timeline
    assert timeline.count("◆") == 7


@pytest.mark.slow
def test_of_many_checkpoints_the_newest_is_marked_on_the_curve(tmp_path):
    """At the right edge and the bottom of the chart, where a mark is easily lost."""
    run = record(tmp_path / "many", steps=2500)
    run.write_status(state="running")
    app = Dashboard(run)

    def marked() -> bool:
        return any("◆" in line.partition("┃")[2] or "◆" in line.partition("┫")[2] for line in seen(app).splitlines())

    drive(app, (132, 42), lambda pilot: until(pilot, marked))


def test_two_runs_on_the_same_axes(run, tmp_path):
    other = record(tmp_path / "cos-only-x", method="cos-only", steps=1400)
    append(other, matrix_event(1400, clean=64))
    other.write_status(state="finished")
    text = screen_of(Dashboard(run, against=other), (160, 48), "V cos-only-x at epoch 7", "1000")
    assert "mean |cos| .07, transfer 60 %, clean 93  FGSM 61  PGD 44" in text, "its probe at this run's step, not its last"
    beyond = next(line for line in text.splitlines() if re.search(r"T +T +T", line))
    assert beyond.rindex("T") > beyond.rindex("t"), "the other run's curve goes on where this one ends"


def test_references_are_the_shipped_runs_of_the_same_data(run):
    references = reference_runs_for(run)
    assert [reference.name for reference in references] == ["cos-only", "dverge", "smooth-only", "standard", "trs"]
    ends = {reference.name: (reference.cosine[-1], reference.transfer[-1]) for reference in references}
    assert ends["standard"][1] > 50 > ends["trs"][1]
    assert ends["smooth-only"][0] > 0.3 > ends["cos-only"][0]
    text = screen_of(Dashboard(run), (160, 48), "shipped: C cos-only, D dverge, S smooth-only, P standard, T trs", "●")
    assert "now mean |cos| .07, transfer 60 %" in text


def test_a_run_is_no_reference_for_itself_and_a_damaged_one_none_at_all(monkeypatch, tmp_path):
    trs = next(one for one in shipped_runs() if one.name == "mnist-trs")
    assert "trs" not in [reference.name for reference in reference_runs_for(trs)]
    bad = record(tmp_path / "checkpoints" / "mnist-trs", steps=50)
    (bad.path / "events.jsonl").write_text('{"kind":"matrix","fooled":7}\nnonsense\n')
    monkeypatch.setattr(shipped, "folder", lambda name: tmp_path / name)
    assert reference_runs_for(trs) == []


@pytest.mark.slow
def test_the_heat_map_has_shades_only_where_the_theme_has_colours(run):
    shades = {}
    app = Dashboard(run)

    async def act(pilot: Pilot) -> None:
        await until(pilot, lambda: "F1   92   61   58" in seen(app))
        for _ in range(4):
            await pilot.press("t")
            await until(pilot, lambda: f"theme {app.theme}" in seen(app))
            strips = app.screen._compositor.render_strips()
            cells = [seg for strip in strips for seg in strip if seg.text == "  61 " or seg.text == "  92 "]
            shades[app.theme] = {str(seg.style.bgcolor) for seg in cells if seg.style}

    drive(app, (160, 48), act)
    assert list(shades) == ["textual-light", "ansi-dark", "ansi-light", "textual-dark"]
    assert len(shades["textual-light"]) == len(shades["textual-dark"]) == 2, shades
    assert len(shades["ansi-dark"]) == 1


def test_a_picture_is_a_whole_svg_that_asks_nobody(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    app = Dashboard(run)

    async def act(pilot: Pilot) -> None:
        await until(pilot, lambda: "FINISHED" in seen(app))
        await pilot.press("p")
        await until(pilot, lambda: "saved as" in seen(app))

    drive(app, (100, 30), act)
    text = (tmp_path / "trs-trs-mnist-3-step-700-100x30.svg").read_text()
    assert ElementTree.fromstring(text).tag.endswith("svg")
    assert "FINISHED" in text
    assert "url(" not in text.replace("url(#", "")
    assert "@font-face" not in text


@pytest.mark.slow
def test_every_key_is_bound_named_and_in_the_palette(run):
    app = Dashboard(run)
    bound = {key for binding in app.BINDINGS for key in binding.key.split(",")}
    assert {one for key in KEYS for one in key.keys.split(",")} < bound
    for key in KEYS:
        name = key.action.partition("(")[0]
        assert hasattr(app, f"action_{name}"), key
    titles: list[str] = []

    async def act(pilot: Pilot) -> None:
        titles.extend(command.title for command in app.get_system_commands(app.screen))
        await until(pilot, lambda: "FINISHED" in seen(app))
        await pilot.press("?")
        await until(pilot, lambda: "pause or resume" in seen(app))
        await pilot.press("end")
        await until(pilot, lambda: "Every change is recorded" in seen(app))
        missing = [key.label for key in KEYS if key.label not in app.screen.query_one("Static").render().plain]
        assert missing == []

    drive(app, (160, 20), act)
    assert [key.text.capitalize() for key in KEYS] == titles[: len(KEYS)]


def test_a_method_with_other_terms(tmp_path):
    run = record(tmp_path / "other", steps=0)
    append(run, *(step_event(s, terms={"total": 3.0, "distil": 2.0, "entropy": 1.0}, cosine=None) for s in range(10, 90, 10)))
    run.write_status(state="finished")
    assert "d distil 2" in screen_of(Dashboard(run), (160, 48), "t total 3", "e entropy 1")


@pytest.mark.slow
def test_a_run_resumed_elsewhere_goes_on(live):
    app = Dashboard(live)

    async def act(pilot: Pilot) -> None:
        await until(pilot, lambda: "RUNNING" in seen(app))
        live.write_status(state="stopped", step=700)
        await until(pilot, lambda: "STOPPED" in seen(app))
        append(live, {"kind": "start", "step": 600, "epoch": 6, "resumed": True, "device": "cpu"}, step_event(610))
        live.write_status(state="running", step=610, pid=1)
        await until(pilot, lambda: "RUNNING (pid 1)" in seen(app) and "step 610" in seen(app))
        assert "resumed at step 600" in seen(app)
        assert app.followed.history.terms["ce"].points(9999)[0].max() == 610

    drive(app, (160, 48), act)


@pytest.mark.slow
def test_watching_does_not_change_the_run(run):
    before = {path.name: path.read_bytes() for path in run.path.iterdir()}
    app = Dashboard(run, against=runs.open_run(run.path))

    async def act(pilot: Pilot) -> None:
        await until(pilot, lambda: "FINISHED" in seen(app))
        await pilot.press("s", "]", "home", "r", "end", "?", "escape")

    drive(app, (100, 30), act)
    assert {path.name: path.read_bytes() for path in run.path.iterdir()} == before
