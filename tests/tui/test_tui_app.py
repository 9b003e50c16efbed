import pytest
from textual.pilot import Pilot
from tui_recorded import append, matrix_event, step_event
from tui_screen import braille, drive, screen_of, seen, until

from trs_explorer import runs
from trs_explorer.config import resolve
from trs_explorer.tui.app import Dashboard

ALARM = "|cos| fell to .07 but 60 % still transfers"


def test_wide_shows_every_panel(live):
    title = "log axis, weighted terms over steps"
    text = screen_of(Dashboard(live), (160, 48), title, "SIMILARITY vs TRANSFER", "●  ", "◆")
    assert any(braille(line) for line in text.splitlines())
    assert "trs · trs-mnist-3 · epoch 7/20 · step 700 · 38 it/s · 00:34 left · ● RUNNING (pid " in text
    assert "t total .512  c ce .400  s similarity .070  m smoothness .042" in text
    assert "rows surrogate, columns target, PGD-10, n=128, ε .3" in text
    assert "F1   92   61   58" in text
    assert "F1    ·  .05  .07" in text
    assert "mean .07" in text
    assert f"{ALARM}: orthogonality alone is not enough" in text
    assert "clean 93  FGSM 61  PGD 44  % correct, n=128  max ‖∇ℓ‖ 3.1" in text
    assert "saved checkpoint 0007" in text
    assert "λa 1  λb .1  δ .3" in text


def test_folded_keeps_curve_and_matrices(run):
    text = screen_of(Dashboard(run), (100, 30), "LOSS", "F1   92   61   58", "F1    ·  .05  .07", "◆")
    assert any(braille(line) for line in text.splitlines())
    assert "✓ FINISHED" in text
    assert "SIMILARITY vs TRANSFER" not in text


def test_small_is_numbers_and_sparklines(run):
    text = screen_of(Dashboard(run), (60, 20), "total", "transfer %", "▁▁▁")
    assert "LOSS" not in text
    assert "mean |cos|       .07" in text
    assert "clean 93  FGSM 61  PGD 44" in text


def test_tiny_shows_what_matters(run):
    text = screen_of(Dashboard(run), (40, 12), "total", "transfer %", "q leave")
    assert "✓ FINISHED" in text
    assert "step 700" in text
    assert "|cos| fell to .07" in text
    assert max(map(len, text.splitlines())) == 40


@pytest.mark.slow
def test_any_size_works(run):
    app = Dashboard(run)

    async def act(pilot: Pilot) -> None:
        await until(pilot, lambda: "step 700" in seen(app))
        for width, height in [(1, 1), (20, 4), (300, 8), (79, 60), (80, 20), (119, 60), (400, 120), (160, 48)]:
            await pilot.resize_terminal(width, height)
            await until(pilot, lambda lines=height: len(seen(app).splitlines()) == lines)
        await until(pilot, lambda: "SIMILARITY" in seen(app))

    drive(app, (160, 48), act)


@pytest.mark.slow
def test_layout_follows_the_size(run):
    app = Dashboard(run)

    async def act(pilot: Pilot) -> None:
        await until(pilot, lambda: "SIMILARITY" in seen(app))
        await pilot.resize_terminal(60, 20)
        await until(pilot, lambda: "LOSS" not in seen(app) and "total" in seen(app))
        await pilot.resize_terminal(160, 48)
        await until(pilot, lambda: "SIMILARITY" in seen(app) and braille(seen(app)))

    drive(app, (160, 48), act)


@pytest.mark.slow
def test_ascii_is_ascii(run):
    app = Dashboard(run, ascii_only=True)

    async def act(pilot: Pilot) -> None:
        for width, height in [(40, 12), (80, 24), (100, 30), (160, 48)]:
            await pilot.resize_terminal(width, height)
            await until(pilot, lambda: "total" in seen(app) and ("+- LOSS" in seen(app)) == (app.size.width > 40))
            assert [c for c in seen(app) if not c.isascii()] == []

    drive(app, (40, 12), act)


def test_without_colour(run, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    text = screen_of(Dashboard(run), (160, 48), "LOSS", "tttttttt", "ssssssss", "◆")
    assert not braille(text)


def test_new_events_appear(live):
    app = Dashboard(live)

    async def act(pilot: Pilot) -> None:
        await until(pilot, lambda: "step 700" in seen(app))
        append(live, step_event(710, terms={"total": 0.333}), matrix_event(710, fooled=[[9] * 3] * 3))
        await until(pilot, lambda: "step 710" in seen(app) and "t total .333" in seen(app) and "all pairs 9 %" in seen(app))
        assert ALARM not in seen(app)

    drive(app, (160, 48), act)


def test_a_method_without_cosine(tmp_path):
    run = runs.create(tmp_path / "plain", resolve({"method": "standard"}))
    append(run, *(step_event(s, terms={"total": 1.0, "ce": -0.1}, cosine=None, grad_norm=None, options={}) for s in (10, 20)))
    run.write_status(state="finished")
    assert "linear axis" in screen_of(Dashboard(run), (160, 48), "|cos| has not been measured yet", "c ce -.100")


def test_many_members_are_summed_up(tmp_path):
    run = runs.create(tmp_path / "many", resolve({"members": 20}))
    cosine = [[1.0 if i == j else 0.2 for j in range(20)] for i in range(20)]
    cosine[3][8] = 0.9
    append(run, step_event(10, cosine=cosine))
    run.write_status(state="finished")
    assert "20 members, 380 pairs" in screen_of(Dashboard(run), (160, 48), "highest .90 (F4, F9)")


@pytest.mark.slow
def test_waiting_failed_and_crashed(tmp_path, monkeypatch):
    run = runs.create(tmp_path / "new", resolve({}))
    assert "STARTING" in screen_of(Dashboard(run, owns_trainer=True), (80, 24), "starting ...")

    run.log.write_text("Traceback\nImportError: [/no/torch]\n")
    assert "NO TRAINER" in screen_of(Dashboard(run), (80, 24), "ImportError: [/no/torch]")

    run.write_status(state="failed", error="out of memory: try --batch-size 64")
    assert "FAILED" in screen_of(Dashboard(run), (60, 20), "the training failed: out of memory: try --batch-size 64")

    append(run, step_event(10))
    run.write_status(state="running")  # by a process that holds no lock
    assert "CRASHED" in screen_of(Dashboard(run), (100, 30), "ended without a message")


def test_damaged_lines_are_counted(run):
    with (run.path / "events.jsonl").open("a") as file:
        file.write('{"kind": "st\n[1]\n{"kind":"step","step":71')
    screen_of(Dashboard(run), (160, 48), "2 lines of events.jsonl are damaged")
