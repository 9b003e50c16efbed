import json

import pytest
from textual.pilot import Pilot
from tui_recorded import append, record, step_event
from tui_screen import drive, seen, until

from trs_explorer import runs
from trs_explorer.tui.app import Dashboard


def requests(run: runs.Run) -> list[dict]:
    path = run.path / "control.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_keys_ask_the_trainer(live):
    app = Dashboard(live)

    async def act(pilot: Pilot) -> None:
        await until(pilot, lambda: "RUNNING" in seen(app))
        await pilot.press("space", "s", "]", "]", "{")
        await until(pilot, lambda: "requested: lambda_b .1 -> .08" in seen(app))
        live.write_status(state="paused", step=700)
        await until(pilot, lambda: "‖ PAUSED" in seen(app))
        await pilot.press("space")

    drive(app, (100, 30), act)
    sent = [(r["action"], r.get("name"), r.get("value")) for r in requests(live)]
    assert sent == [
        ("pause", None, None),
        ("save", None, None),
        ("set", "lambda_a", 1.25),
        ("set", "lambda_a", 1.562),  # two presses add up although the trainer has not answered
        ("set", "lambda_b", 0.08),
        ("resume", None, None),
    ]


@pytest.mark.slow
def test_a_note_is_typed(live):
    app = Dashboard(live)

    async def act(pilot: Pilot) -> None:
        await until(pilot, lambda: "RUNNING" in seen(app))
        await pilot.press("n", *"hi q", "enter")
        await until(pilot, lambda: "note sent" in seen(app))

    drive(app, (100, 30), act)
    assert [(r["action"], r["text"]) for r in requests(live)] == [("note", "hi q")]


@pytest.mark.slow
def test_read_only_and_finished_runs_are_not_controlled(live, tmp_path):
    async def press(pilot: Pilot, words: str) -> None:
        await until(pilot, lambda: "step 700" in seen(pilot.app))
        await pilot.press("space", "s", "]", "n")
        await until(pilot, lambda: words in seen(pilot.app))

    drive(Dashboard(live, readonly=True), (100, 30), lambda p: press(p, "read only: this window does not control"))
    live.write_status(state="finished")
    drive(Dashboard(live), (100, 30), lambda p: press(p, "no trainer to control: the run is finished"))
    assert requests(live) == []


@pytest.mark.slow
def test_what_a_method_fixes_stays_fixed(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "trainer_alive", lambda _: True)
    run = record(tmp_path / "cos", method="cos-only", steps=20)
    run.write_status(state="running")
    app = Dashboard(run)

    async def act(pilot: Pilot) -> None:
        await until(pilot, lambda: "RUNNING" in seen(app))
        await pilot.press("}")
        await until(pilot, lambda: "cos-only fixes lambda_b" in seen(app))

    drive(app, (100, 30), act)
    assert requests(run) == []


def test_the_keys_change_the_weights_of_any_method_and_the_member_in_training_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "trainer_alive", lambda _: True)
    run = record(tmp_path / "adp", method="adp", steps=20)
    append(run, step_event(30, options={"lambda_entropy": 2.0, "lambda_logdet": 0.5}, member=1))
    run.write_status(state="running")
    app = Dashboard(run)

    async def act(pilot: Pilot) -> None:
        await until(pilot, lambda: "RUNNING" in seen(app))
        await until(pilot, lambda: "member F2" in seen(app) and "[ ] λ entropy" in seen(app))
        await pilot.press("}")
        await until(pilot, lambda: "requested: lambda_logdet .5 -> .625" in seen(app))

    drive(app, (100, 30), act)
    assert [(request["name"], request["value"]) for request in requests(run)] == [("lambda_logdet", 0.625)]


def leave(app: Dashboard, *keys: str, size: tuple[int, int] = (100, 30)) -> str:
    """Press q, then keys. Gives the question that stood there."""
    question = []

    async def act(pilot: Pilot) -> None:
        app.followed.run.write_status(state="running", step=700)
        await until(pilot, lambda: "RUNNING" in seen(app))
        await pilot.press("q")
        await until(pilot, lambda: "detach" in seen(app))
        question.append(seen(app))
        await pilot.press(*keys)
        await until(pilot, lambda: not app.is_running or "detach" not in seen(app))

    drive(app, size, act)
    return question[0]


@pytest.mark.parametrize("size", [(100, 30), (40, 12)])
def test_q_detaches_by_default(live, size):
    question = leave(Dashboard(live, owns_trainer=True), "enter", size=size)
    assert all(word in question for word in ("detach", "stop", "cancel"))
    assert requests(live) == []


def test_q_can_be_taken_back(live):
    app = Dashboard(live)

    async def act(pilot: Pilot) -> None:
        await until(pilot, lambda: "RUNNING" in seen(app))
        await pilot.press("q")
        await until(pilot, lambda: "cancel" in seen(app))
        await pilot.press("escape")
        await until(pilot, lambda: "LOSS" in seen(app))
        assert app.is_running

    drive(app, (100, 30), act)
    assert requests(live) == []


@pytest.mark.slow
@pytest.mark.parametrize("ended", ["finished", "failed", "stopped"])
def test_it_leaves_by_itself_when_the_training_has_ended_if_another_is_to_be_shown(live, ended):
    for leaves in (True, False):
        app = Dashboard(live, owns_trainer=True, leaves_at_end=leaves)

        async def act(pilot: Pilot, app: Dashboard = app, leaves: bool = leaves) -> None:
            live.write_status(state="running", step=700)
            await until(pilot, lambda: "RUNNING" in seen(app))
            assert app.is_running
            live.write_status(state=ended)
            await until(pilot, lambda: not app.is_running if leaves else ended.upper() in seen(app))
            assert app.is_running != leaves

        drive(app, (100, 30), act)


@pytest.mark.slow
def test_q_can_stop_the_training_and_waits_for_it(live):
    app = Dashboard(live)

    async def act(pilot: Pilot) -> None:
        await until(pilot, lambda: "RUNNING" in seen(app))
        await pilot.press("q", "s")
        await until(pilot, lambda: "requested: stop" in seen(app))
        assert [r["action"] for r in requests(live)] == ["stop"]
        live.write_status(state="stopped")
        await until(pilot, lambda: not app.is_running)

    drive(app, (100, 30), act)


def test_q_leaves_a_finished_run_at_once(run):
    app = Dashboard(run)

    async def act(pilot: Pilot) -> None:
        await until(pilot, lambda: "FINISHED" in seen(app))
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running)

    drive(app, (100, 30), act)


@pytest.mark.slow
def test_help_and_palette(run):
    app = Dashboard(run)

    async def act(pilot: Pilot) -> None:
        await until(pilot, lambda: "FINISHED" in seen(app))
        await pilot.press("?")
        await until(pilot, lambda: "pause or resume the training" in seen(app))
        await pilot.press("escape", "ctrl+p", *"raise")
        await until(pilot, lambda: "Raise lambda_a" in seen(app))

    drive(app, (100, 30), act)
