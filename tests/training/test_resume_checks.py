"""What a checkpoint may hold: a state made by a stranger is refused in words, one that a kill has left is made good."""

import io
import json
import math
import os
import shutil
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from trs_explorer import files, runs
from trs_explorer.catalogue import METHODS
from trs_explorer.catalogue_entries import Method
from trs_explorer.config import resolve
from trs_explorer.training import checkpoints, train
from trs_explorer.training.resume import restore
from trs_explorer.training.state import prepare
from trs_explorer.training.steps import epoch_orders

PLANE = {"data": "bars", "epochs": 3, "save_every": 1, "batch_size": 100, "method": "standard", "device": "cpu"}


def stopped(path: Path, **settings: object) -> runs.Run:
    """A run that was stopped behind its fourth step, with the SHA-256 of its states out of the log: anybody can write them."""
    run, stop = runs.create(path, resolve(PLANE | {"log_every": 1} | settings)), threading.Event()
    for event in train(run, stop=stop):
        if event["kind"] == "step" and event["step"] == 4:
            stop.set()
    for checkpoint in run.checkpoints()[:-1]:
        checkpoint.weights.unlink()
        checkpoint.state.unlink()
    log = [event for event in runs.read_events(run).events if event["kind"] != "checkpoint"]
    (path / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in log))
    return run


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stopped(tmp_path_factory.mktemp("original") / "run").path


@pytest.fixture
def run(original: Path, tmp_path: Path) -> runs.Run:
    return runs.open_run(Path(shutil.copytree(original, tmp_path / "run")))


def change(run: runs.Run, edit: Callable[[dict], object]) -> None:
    path = run.checkpoints()[-1].state
    state = torch.load(path, weights_only=True)
    edit(state)
    torch.save(state, path)


def each(name: str, made: Callable[[torch.Tensor], object]) -> Callable[[dict], None]:
    """Make something else of one tensor of the optimiser, for every weight."""

    def edit(state: dict) -> None:
        for memory in state["optimizer"]["state"].values():
            memory[name] = made(memory[name])

    return edit


def group(**settings: object) -> Callable[[dict], None]:
    return lambda state: state["optimizer"]["param_groups"][0].update(settings)


def as_sgd(state: dict) -> None:
    for index, memory in state["optimizer"]["state"].items():
        state["optimizer"]["state"][index] = {"momentum_buffer": memory["exp_avg"]}


DAMAGE = {
    "one number in place of a weight's": (each("exp_avg", lambda _: torch.zeros(1)), "exp_avg of weight 0 has another shape"),
    "no number": (each("exp_avg_sq", lambda _: torch.zeros(0)), "exp_avg_sq of weight 0 has another shape"),
    "float64": (each("exp_avg", torch.Tensor.double), "has another shape or type"),
    "sparse": (each("exp_avg", torch.Tensor.to_sparse), "has another shape or type"),
    "a text": (each("exp_avg", lambda _: "x" * 10), "has another shape or type"),
    "negative squares": (each("exp_avg_sq", lambda old: old - 1), "values that are impossible"),
    "not finite": (each("exp_avg", lambda old: old * math.nan), "values that are impossible"),
    "steps of another shape": (each("step", lambda _: torch.zeros(4)), "has an impossible step count"),
    "endless steps": (each("step", lambda old: old * math.inf), "has an impossible step count"),
    "another optimiser's memory": (as_sgd, "other fields than that of --optimizer adam"),
    "a weight too many": (lambda s: s["optimizer"]["state"].update({99: {}}), "weights that the model does not have"),
    "no betas": (lambda s: s["optimizer"]["param_groups"][0].pop("betas"), "no betas"),
    "endless betas": (group(betas=(math.inf, 0.999)), "another betas"),
    "other weights": (group(params=[0, 0, 1]), "another params"),
    "no groups": (lambda s: s["optimizer"].update(param_groups=[]), "is not --optimizer adam"),
    "no optimiser": (lambda s: s.pop("optimizer"), "has no optimiser"),
    "endless epochs": (lambda s: s.update(epoch=math.inf), "not whole numbers"),
    "true epochs": (lambda s: s.update(epoch=True), "not whole numbers"),
    "another step": (lambda s: s.update(step=5), "step 5 is not step 1 of epoch 2"),
    "another moment": (lambda s: s.update(step=5, step_in_epoch=2), "it is of epoch 2, step 2"),
    "endless parts": (lambda s: s.update(parts=math.inf), "an impossible number of parts"),
    "5,000 parts": (lambda s: s.update(parts=5000), "an impossible number of parts, at most 1"),
    "no device": (lambda s: s.pop("device"), "in which precision"),
    "other options": (lambda s: s.update(options={"lambda_a": 1.0}), "belongs to another method"),
    "no state": (lambda s: s.clear(), "does not belong to"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_state_that_the_training_cannot_have_written_is_refused_in_words(run: runs.Run, damage: str) -> None:
    edit, words = DAMAGE[damage]
    change(run, edit)
    with pytest.raises(runs.RunError, match=words) as refused:
        list(train(run, resume=True))
    assert "no checkpoint can be used" in str(refused.value)


def test_tensors_that_share_their_memory_or_have_odd_strides_are_copied(tmp_path: Path) -> None:
    """Every momentum 0 in one number's memory: the same bits as with zeros of the weights' own."""
    made = []
    for name, zeros in (("own", torch.zeros_like), ("one", lambda old: torch.zeros(()).expand(old.shape))):
        run = stopped(tmp_path / name)
        change(run, each("exp_avg", zeros))
        list(train(run, resume=True))
        made.append(run.checkpoints()[-1].digest())
    assert made[0] == made[1]


@pytest.mark.parametrize("changed", [{"inner_steps": 9}, {"lambda_b": -1.0}])
def test_options_are_those_of_the_config_but_for_lambdas_in_their_range(tmp_path: Path, changed: dict) -> None:
    run = stopped(tmp_path / "run", method="trs", inner_steps=1)
    change(run, lambda state: state["options"].update(changed))
    with pytest.raises(runs.RunError, match=f"its {next(iter(changed))} is"):
        list(train(run, resume=True))


def remembering(ensemble, x, y, *, image_memory, rows, x_ce):
    """A method that counts how often it has seen every image."""
    image_memory[rows] += 1
    return {"total": ensemble(x_ce).mean() * y.float().mean()}


@pytest.fixture
def _remembering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "remembering", Method(remembering, ""))


@pytest.mark.usefixtures("_remembering")
def test_what_a_method_keeps_of_images_is_there_after_a_resume_whatever_its_size(tmp_path: Path) -> None:
    """4 MB of it, for a model of less than one."""
    big = {"data": "mnist", "model": "patch", "members": 2, "limit": 6000, "batch_size": 2000, "epochs": 2, "log_every": 1}
    run = stopped(tmp_path / "run", method="remembering", **big)
    state = prepare(run)
    assert not state.image_memory.any()
    restore(state)
    seen = epoch_orders(state)[0, :2000]  # the first step of the second epoch
    assert state.progress.step == 4
    assert state.image_memory.shape == state.images.x.shape
    assert (state.image_memory[seen] == 2).all()
    assert state.image_memory.sum() == (6000 + 2000) * 784


@pytest.mark.usefixtures("_remembering")
@pytest.mark.parametrize(
    ("method", "value", "words"),
    [
        ("remembering", None, "does not have a byte for every pixel"),
        ("remembering", torch.zeros(300, 1, 1, 2), "does not have a byte for every pixel"),
        ("remembering", torch.zeros(299, 1, 1, 2, dtype=torch.uint8), "does not have a byte for every pixel"),
        ("standard", torch.zeros(300, 1, 1, 2, dtype=torch.uint8), "keeps something of every image, its method does not"),
    ],
)
def test_what_is_kept_of_images_must_fit_them(tmp_path: Path, method: str, value: object, words: str) -> None:
    run = stopped(tmp_path / "run", method=method)
    change(run, lambda state: state.update(image_memory=value))
    with pytest.raises(runs.RunError, match=words):
        list(train(run, resume=True))


def packed(raw: bytes) -> bytes:
    """The same entries, deflated, and one of 30 MB more."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as given, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as copy:
        for entry in given.infolist():
            copy.writestr(entry.filename, given.read(entry))
        copy.writestr("archive/data/999", bytes(30 << 20))
    return made.getvalue()


NO_STATES = {
    "packed": packed,
    "text with escape codes": lambda raw: b"\x1b[31mred",
    "cut off": lambda raw: raw[: len(raw) // 2],
    "empty": lambda raw: b"",
    "ten megabytes": lambda raw: raw + bytes(10 << 20),
}


@pytest.mark.parametrize("what", NO_STATES)
def test_a_file_that_is_no_state_is_refused_without_its_own_words(run: runs.Run, what: str) -> None:
    path = run.checkpoints()[-1].state
    path.write_bytes(NO_STATES[what](path.read_bytes()))
    with pytest.raises(runs.RunError, match=r"damaged, or no training state|larger than") as refused:
        list(train(run, resume=True))
    assert str(refused.value).isprintable()
    assert "weights_only" not in str(refused.value)


def test_a_pipe_in_the_place_of_a_state_is_not_waited_for(run: runs.Run) -> None:
    path = run.checkpoints()[-1].state
    path.unlink()
    os.mkfifo(path)
    kinds = [event["kind"] for event in train(run, resume=True)]  # as if there was none: its first save was cut off
    assert kinds[-1] == "stopped"


def test_a_kill_between_the_files_and_their_event_is_made_good(tmp_path: Path) -> None:
    run = stopped(tmp_path / "run", epochs=4)  # whose last checkpoint its log does not name
    newest = run.checkpoints()[-1]
    events = list(train(run, resume=True))
    named = next(event for event in events if event["kind"] == "checkpoint")
    assert (named["name"], named["sha256"], named["step"], named["epoch"]) == (newest.name, newest.digest(), 4, 1)
    assert events[events.index(named) - 1]["kind"] == "start"
    assert events[-1]["state"] == "finished"


def test_the_last_checkpoint_too_gets_its_event_after_a_kill(tmp_path: Path) -> None:
    run = runs.create(tmp_path / "run", resolve(PLANE))
    for event in train(run):
        if event["kind"] == "epoch" and event["epoch"] == 3:
            log = (run.path / "events.jsonl").read_bytes()
    (run.path / "events.jsonl").write_bytes(log)
    events = list(train(run, resume=True))
    assert [event["kind"] for event in events] == ["start", "checkpoint", "stopped"]
    assert run.recorded(run.checkpoints()[-1])["sha256"] == run.checkpoints()[-1].digest()
    assert [event["name"] for event in list(train(run, resume=True)) if event["kind"] == "checkpoint"] == []


@pytest.mark.parametrize("first", ["state-", "epoch-"])
@pytest.mark.parametrize("error", [None, 28])
def test_a_first_save_that_is_cut_off_is_begun_anew(tmp_path: Path, monkeypatch, first: str, error: int | None) -> None:
    """Killed before the first or the second file is there, or the disk is full then."""
    run = runs.create(tmp_path / "run", resolve(PLANE))
    original = checkpoints.write_atomically

    def ends(path: Path, write: Callable, **options: object) -> None:
        if path.name.startswith(first):
            raise OSError(error, "No space left on device") if error else KeyboardInterrupt
        original(path, write, **options)

    monkeypatch.setattr(checkpoints, "write_atomically", ends)
    with pytest.raises((runs.RunError, KeyboardInterrupt)):
        list(train(run))
    monkeypatch.undo()
    assert run.checkpoints() == []
    assert error is None or not list(run.path.glob("state-*"))  # what was written takes no room
    whole = runs.create(tmp_path / "whole", resolve(PLANE))
    list(train(whole))
    assert list(train(run, resume=True))[-1]["state"] == "finished"
    assert run.checkpoints()[-1].digest() == whole.checkpoints()[-1].digest()


def test_weights_without_a_state_are_a_first_save_that_was_cut_off_if_the_log_names_none(run: runs.Run) -> None:
    """As an older trs wrote it: weights first."""
    run.checkpoints()[-1].state.unlink()
    notes = [event["text"] for event in train(run, resume=True) if event["kind"] == "note"]
    assert notes == ["no checkpoint yet: starting again from the seed"]
    assert run.status()["state"] == "finished"


def test_a_run_that_ships_without_states_is_not_trained_anew(tmp_path: Path) -> None:
    run = runs.create(tmp_path / "run", resolve(PLANE))
    list(train(run))
    for checkpoint in run.checkpoints():
        checkpoint.weights.with_name(f"state-{checkpoint.name}.pt").unlink(missing_ok=True)
    before = run.checkpoints()[-1].digest()
    with pytest.raises(runs.RunError, match="has weights but no training state"):
        list(train(run, resume=True))
    (run.path / "events.jsonl").write_text("")  # one whose log was not kept
    with pytest.raises(runs.RunError, match="has weights but no training state"):
        list(train(run, resume=True))
    assert run.checkpoints()[-1].digest() == before


def test_a_state_whose_weights_were_never_written_is_removed(run: runs.Run) -> None:
    orphan = run.path / "state-0009.pt"
    orphan.write_bytes(b"x")
    (run.path / "state-mine.pt").write_bytes(b"x")
    list(train(run, resume=True))
    assert not orphan.exists()
    assert (run.path / "state-mine.pt").exists()


def test_a_whole_state_that_is_another_than_the_log_names_is_refused(run: runs.Run) -> None:
    """Nothing else is wrong with it, and without the log it is taken: only its SHA-256 tells that it is not the training's."""
    checkpoint, log = run.checkpoints()[-1], run.path / "events.jsonl"
    before = log.read_bytes()
    named = {"name": checkpoint.name, "sha256": checkpoint.digest(), "state_sha256": files.sha256(checkpoint.state)}
    with log.open("a") as file:
        file.write(json.dumps({"v": 1, "kind": "checkpoint", "step": 4, "epoch": 1, **named}) + "\n")
    change(run, each("exp_avg", lambda old: 2 * old))
    with pytest.raises(runs.RunError, match=r"state-0001-000001\.pt is not what the training saved: damaged or replaced"):
        list(train(run, resume=True))
    log.write_bytes(before)
    assert list(train(run, resume=True))[-1]["state"] == "finished"
