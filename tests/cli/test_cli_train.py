"""`trs train` and `trs watch`: what they print, how they end, and which settings win."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import trs_explorer
from trs_explorer import runs
from trs_explorer.catalogue import DATA
from trs_explorer.cli import display, trainer
from trs_explorer.cli.display import event_line
from trs_explorer.config import resolve

SHORT = ("train", "--data", "bars", "--epochs", 3, "--limit", 20, "--log-every", 1, "--device", "cpu")
LAYOUT = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


def test_json_is_the_log_itself_and_nothing_else(trs) -> None:
    result = trs(*SHORT, "--out", "run", "--json")
    assert (result.status, result.err) == (0, "")
    events = [json.loads(line) for line in result.out.splitlines()]
    assert events == runs.read_events(runs.open_run(Path("run"))).events
    assert [event["kind"] for event in events][:2] == ["start", "step"]
    assert [event["step"] for event in events if event["kind"] == "step"] == [1, 2, 3]
    assert (events[-1]["kind"], events[-1]["state"]) == ("stopped", "finished")


@pytest.mark.parametrize("flag", ["--plain", "--tui", None])
def test_where_stdout_is_no_terminal_it_gets_plain_lines(trs, flag: str | None) -> None:
    result = trs(*SHORT, "--out", "run", *([flag] if flag else []))
    assert result.status == 0
    assert result.err == ("trs: no terminal to draw the dashboard on: plain lines instead\n" if flag == "--tui" else "")
    assert not LAYOUT.search(result.out)
    lines = result.out.splitlines()
    assert lines[0] == "trs: 2 x mlp on bars, 3 epochs, seed 0 -> run"
    assert lines[1].startswith("started at step 0 of 3 on cpu")
    assert re.match(r"step 1/3  loss \d+\.\d{3} = \w+ \d+\.\d{3}", lines[2])
    assert any(re.match(r"epoch +3  \|cos\| \d\.\d{3}  transfer", line) for line in lines)
    assert lines[-1] == "finished -> run"


def test_watch_tells_a_finished_run_as_its_training_did(trs, trained: Path) -> None:
    result = trs("watch", trained)
    assert (result.status, result.err) == (0, "")
    assert not LAYOUT.search(result.out)
    assert result.out.splitlines()[0].startswith("started at step 0 of 30")
    assert result.out.splitlines()[-2:] == [f"finished -> {trained}", "state: finished"]


def test_watch_counts_damaged_lines_and_survives_events_without_their_values(trs, trained: Path) -> None:
    with (trained / "events.jsonl").open("a") as log:
        for line in ("nonsense", '{"kind":"matrix"}', '{"kind":"step"}', '{"kind":"stopped","error":3,"state":"x"}'):
            log.write(line + "\n")
        log.write('{"kind":"note","text":"red \\u001b[31m\\r\\nalert"}\n')
        log.write('{"kind":"control","action":"set","error":["x"]}\n')
    result = trs("watch", trained)
    assert (result.status, result.err) == (0, "")
    assert "1 lines of the log are damaged" in result.out
    assert "matrix: some values are missing" in result.out
    assert not LAYOUT.search(result.out)
    assert r"note: red \x1b[31m alert" in result.out


@pytest.mark.parametrize("kind", ["start", "step", "matrix", "epoch", "checkpoint", "control", "note", "stopped", "unheard-of"])
@pytest.mark.parametrize("value", [None, [], {}, "x", 0, [[None, None], [None, None]], float("nan")])
def test_no_event_ends_a_display(fresh: runs.Run, kind: str, value: object) -> None:
    names = ["step", "terms", "cosine", "fooled", "eligible", "n", "clean", "fgsm", "pgd", "epoch", "eps", "rate", "error"]
    line = event_line({"kind": kind, **dict.fromkeys(names, value)}, 10, fresh)
    assert line is None or "\n" not in line


def test_a_flag_beats_the_file_which_beats_the_data_sets_recipe_which_beats_the_default(trs) -> None:
    Path("settings.toml").write_text('data = "bars"\nepochs = 2\nlambda-a = 0.25\nlambda_b = 0.5\nlimit = 20\nlog-every = 7\n')
    result = trs("train", "--config", "settings.toml", "--lambda-b", 0.75, "--log-every", 5, "--out", "run", "--json")
    assert result.status == 0
    config = runs.open_run(Path("run")).config
    assert (config.options["lambda_b"], config.log_every) == (0.75, 5)
    assert (config.options["lambda_a"], config.epochs, config.limit) == (0.25, 2, 20)
    assert (config.lr, config.model) == (DATA["bars"].recipe["lr"], "mlp")
    assert (config.clip, config.seed) == (10.0, 0)


def test_runs_without_a_name_are_numbered(trs) -> None:
    for _ in range(2):
        assert trs(*SHORT, "--method", "cos-only", "--json").status == 0
    assert sorted(path.name for path in Path("checkpoints").iterdir()) == ["cos-only-bars-1", "cos-only-bars-2"]


def test_a_model_that_does_not_fit_the_data_is_wrong_usage(trs) -> None:
    result = trs("train", "--data", "bars", "--model", "resnet20", "--out", "run", "--plain")
    assert result.status == 2
    assert "--model resnet20" in result.err
    assert "try --model mlp" in result.err
    assert not Path("run").exists(), "the same --out can be tried again"


def test_a_loss_that_is_not_finite_is_a_failure_that_names_the_step(trs) -> None:
    result = trs(*SHORT, "--lr", 1e30, "--clip", 1e30, "--epochs", 40, "--out", "run", "--json")
    assert result.status == 1
    assert re.search(r"trs: the term \w+ was (nan|inf) at step \d+\..*try a lower --lr", result.err)
    events = [json.loads(line, parse_constant=lambda name: pytest.fail(name)) for line in result.out.splitlines()]
    assert all(event["kind"] in ("start", "step", "matrix", "epoch", "checkpoint", "stopped") for event in events)
    assert runs.open_run(Path("run")).status()["state"] == "failed"


def _start(*more: str) -> subprocess.Popen[str]:
    root = Path(trs_explorer.__file__).parents[1]
    line = [sys.executable, "-m", "trs_explorer", "train", "--data", "bars", "--log-every", "1", "--device", "cpu", *more]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root)


@pytest.fixture
def heard() -> Iterator[None]:
    """Ctrl-C is heard again afterwards: a training that was interrupted hears no more of them."""
    before = {number: signal.getsignal(number) for number in trainer.STOPPING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("heard")
def test_ctrl_c_saves_says_130_and_resume_goes_on_from_there(trs, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupting(self: display._Plain, event: dict) -> None:
        shown(self, event)
        if event["kind"] == "step":
            signal.raise_signal(signal.SIGINT)

    shown = display._Plain.event
    monkeypatch.setattr(display._Plain, "event", interrupting)
    result = trs(*SHORT, "--epochs", 5, "--out", "run", "--plain")
    assert (result.status, result.err) == (130, "")
    assert result.out.splitlines()[-1] == "stopped -> run"
    assert _resumed(trs, Path("run")) == 1


def _resumed(trs, folder: Path) -> int:
    """Where a stopped run was saved: it goes on from there for two steps more."""
    run = runs.open_run(folder)
    status = run.status()
    assert status["state"] == "stopped"
    saved = run.checkpoints()[-1]
    assert saved.state is not None
    assert run.recorded(saved)["step"] == status["step"] > 0

    config = json.loads((folder / "config.json").read_text())
    steps = config["epochs"] = status["step"] + 2
    (folder / "config.json").write_text(json.dumps(config))
    result = trs("train", "--resume", folder, "--json")
    assert result.status == 0
    events = [json.loads(line) for line in result.out.splitlines()]
    assert (events[0]["step"], events[0]["resumed"]) == (status["step"], True)
    assert (events[-1]["step"], events[-1]["state"]) == (steps, "finished")
    return status["step"]


@pytest.mark.slow
def test_a_process_hears_ctrl_c_too(trs, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with _start("--plain", "--epochs", "100000", "--out", str(folder)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        seen = []
        while not seen or not seen[-1].startswith("step"):
            seen.append(process.stdout.readline())
            assert seen[-1], process.stderr.read()
        process.send_signal(signal.SIGINT)
        rest, errors = process.stdout.read(), process.stderr.read()
    assert process.returncode == 130
    assert errors == ""
    assert not LAYOUT.search("".join(seen) + rest)
    assert rest.splitlines()[-1] == f"stopped -> {folder}"
    _resumed(trs, folder)


@pytest.mark.parametrize("existed", [False, True])
def test_a_start_that_fails_takes_back_only_what_it_made(trs, existed: bool) -> None:
    folder = Path("run")
    if existed:
        folder.mkdir()
    result = trs(*SHORT, "--model", "patch", "--out", folder)
    assert result.status == 2
    assert not folder.exists() or not any(folder.iterdir())


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied", "x"), OSError(5, "Input/output error"), MemoryError()]
)
def test_data_that_cannot_be_read_is_said_to_be_that_and_leaves_no_folder(
    trs, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def unreadable(*_: object) -> None:
        raise error

    monkeypatch.setattr("trs_explorer.data.plane.bars", unreadable)
    result = trs(*SHORT, "--out", "run", "--plain")
    assert result.status == (1 if isinstance(error, MemoryError) else 2)
    assert result.err.startswith("trs: " if isinstance(error, MemoryError) else "trs: run: bars cannot be read: ")
    assert "--resume" not in result.err
    assert not Path("run").exists()


@pytest.mark.parametrize("method", ["gal", "dverge", "ckae"])
def test_a_model_that_the_method_cannot_train_is_refused_before_anything_is_written(
    trs, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    from torch import nn

    class Own(nn.Sequential):
        def forward(self, x):
            return super().forward(x).relu()

    monkeypatch.setattr("trs_explorer.models.mlp.mlp", lambda shape, classes: Own(nn.Flatten(), nn.Linear(2, classes)))
    result = trs(*SHORT, "--method", method, "--out", "run", "--plain")
    assert result.status == 2
    assert f"trs: --method {method} cannot train --model mlp: " in result.err
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.slow
def test_the_trainer_of_a_dashboard_leaves_no_zombie(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the dashboard is open the trainer ends: it is gone then, not only dead."""
    from trs_explorer.cli.train import _train_in_dashboard

    def watch(run: runs.Run, **_: object) -> int:
        deadline = time.monotonic() + 60
        while run.status().get("state") != "finished" or Path(f"/proc/{run.status()['pid']}").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return 0

    monkeypatch.setattr("trs_explorer.tui.watch", watch)
    run = runs.create(Path("run"), resolve({"data": "bars", "epochs": 3}))
    assert _train_in_dashboard(run, False) == 0


def test_a_reader_that_goes_away_does_not_end_the_training(trs, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("trs_explorer.cli.display._Plain.event", gone)
    assert trs(*SHORT, "--out", "run", "--plain").status == 0
    assert runs.open_run(Path("run")).status()["state"] == "finished"


def test_bare_trs_prints_its_help_and_nothing_else(trs) -> None:
    result = trs()
    assert "Usage" in result.out
    assert result.err == ""


def test_two_starts_at_once_get_two_folders() -> None:
    from trs_explorer.training.new_run import new_folder

    assert new_folder(resolve({})) != new_folder(resolve({}))


@pytest.mark.slow
def test_dverge_without_a_start_trains_a_standard_ensemble_once_and_says_so(trs) -> None:
    command = ("train", "--method", "dverge", "--epochs", 1, "--limit", 64, "--batch-size", 64, "--device", "cpu", "--plain")
    first = trs(*command, "--out", "one")
    assert first.status == 0
    assert "training checkpoints/start-mnist-patch-3-0-64, once: the standard ensemble that dverge starts from" in first.err
    start = runs.open_run(Path("checkpoints/start-mnist-patch-3-0-64"))
    assert (start.config.method, start.config.limit, start.status()["state"]) == ("standard", 64, "finished")
    digest = start.recorded(start.checkpoints()[-1])["sha256"]
    assert f"note: starts from {start.path.resolve()}, epoch 0036, SHA-256 {digest}" in first.out
    again = trs(*command, "--out", "two")
    assert (again.status, again.err) == (0, "")
    assert runs.open_run(Path("two")).config.start_from == str(start.path.resolve())


def test_a_start_that_does_not_fit_leaves_no_folder(trs, trained: Path) -> None:
    result = trs(*SHORT, "--members", 3, "--from", trained, "--out", "run")
    assert result.status == 2
    assert "it has members 2, this training 3" in result.err
    assert not Path("run").exists()
    assert "nowhere: no such run" in trs(*SHORT, "--from", "nowhere").err


def test_members_that_are_trained_one_after_another_are_shown(trs) -> None:
    result = trs(*SHORT, "--method", "gradient-boost", "--plain")
    assert result.status == 0
    assert re.search(r"step 1/3  member 1  loss \d+\.\d{3} = residual", result.out)
    assert "note: member 2 of 2 is trained, weight 1" in result.out
