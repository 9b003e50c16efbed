"""A run's folder, written and read as it should be. What happens to damaged ones: test_runs_damage.py."""

import errno
import json
import math
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from trs_explorer import results, runs
from trs_explorer.config import resolve


@pytest.fixture
def run(tmp_path: Path) -> runs.Run:
    return runs.create(tmp_path / "a-run", resolve({"data": "bars"}))


def files(run: runs.Run) -> set[str]:
    return {path.name for path in run.path.iterdir()}


def append(run: runs.Run, text: bytes) -> None:
    with (run.path / "events.jsonl").open("ab") as file:
        file.write(text)


# --- the folder ------------------------------------------------------------------------------------------------------


def test_a_new_run_opens_with_its_config_and_no_events(run: runs.Run) -> None:
    assert runs.open_run(run.path) == run
    assert run.name == "a-run"
    assert files(run) == {"config.json", "events.jsonl"}
    assert runs.read_events(run) == runs.Batch([], 0, 0)
    assert run.status() == {}
    assert run.checkpoints() == []


def test_create_takes_an_empty_folder_and_refuses_any_other(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    runs.create(tmp_path / "empty", resolve({}))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / ".hidden").touch()
    with pytest.raises(runs.RunError, match=r"full exists and is not empty: choose another --out, or empty it$"):
        runs.create(tmp_path / "full", resolve({}))
    assert [path.name for path in (tmp_path / "full").iterdir()] == [".hidden"]
    with pytest.raises(runs.RunError, match=r"empty exists and is not empty: choose another --out, or .*--resume .*empty$"):
        runs.create(tmp_path / "empty", resolve({}))  # only where there is a run that can go on


@pytest.mark.parametrize("left", [".gitkeep", ".DS_Store", ".config.json.4194999.tmp", ".config.json.OWN.tmp"])
def test_create_takes_a_folder_with_nothing_of_anybodys(tmp_path: Path, left: str) -> None:
    left = left.replace("OWN", str(os.getpid()))
    (tmp_path / left).touch()
    runs.check_free(tmp_path)
    runs.open_run(runs.create(tmp_path, resolve({})).path)
    assert (tmp_path / left).exists() == (not left.endswith(".tmp"))


def test_a_kill_anywhere_in_create_or_discard_leaves_a_folder_that_can_be_made_anew_or_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill is an end of the process before any one of its calls that change something on the disk."""
    for number in range(20):
        calls = []

        def count(calls: list = calls, number: int = number) -> None:
            calls.append(1)
            if len(calls) > number:
                raise SystemExit

        path = tmp_path / str(number)
        with monkeypatch.context() as patched:
            for name in ("mkdir", "replace", "unlink", "rmdir", "write_text"):
                real = getattr(Path, name)
                patched.setattr(Path, name, lambda self, *a, real=real, **k: (count(), real(self, *a, **k))[1])
            patched.setattr(os, "fsync", lambda handle: count())
            try:
                runs.discard(runs.create(path, resolve({})))
            except SystemExit:
                pass
            else:
                assert not path.exists()
                assert number > 5
                return
        with suppress(runs.RunError):
            runs.check_free(path)
            runs.create(path, resolve({}))
        assert runs.open_run(path).config == resolve({})
    raise AssertionError


@pytest.mark.parametrize("below", ["file", "file/inside"])
def test_create_says_where_it_cannot_write(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(runs.RunError, match=f"cannot write to .*{below}: "):
        runs.create(tmp_path / below, resolve({}))
    assert (tmp_path / "file").read_text() == "kept"


def test_find_runs_gives_the_run_or_those_inside_by_name_and_passes_over_the_rest(tmp_path: Path) -> None:
    for name in ("b", "a", "damaged"):
        runs.create(tmp_path / name, resolve({}))
    (tmp_path / "damaged" / "config.json").write_text("{")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    assert [run.name for run in runs.find_runs(tmp_path)] == ["a", "b"]
    assert [run.name for run in runs.find_runs(tmp_path / "a")] == ["a"]
    assert runs.find_runs(tmp_path / "nowhere") == []
    assert runs.find_runs(tmp_path / "file") == []


def test_find_runs_counts_as_people_do(tmp_path: Path) -> None:
    names = ["trs-bars-1", "trs-bars-2", "trs-bars-10", "trs-mnist-1"]
    for name in sorted(names):
        runs.create(tmp_path / name, resolve({}))
    assert [run.name for run in runs.find_runs(tmp_path)] == names


def test_a_path_may_be_a_text(tmp_path: Path) -> None:
    made = runs.create(str(tmp_path / "a"), resolve({}))
    assert made == runs.open_run(str(tmp_path / "a")) == runs.open_run(tmp_path / "a")
    assert runs.find_runs(str(tmp_path)) == [made]
    assert isinstance(made.path, Path)


# --- events ----------------------------------------------------------------------------------------------------------


def test_what_is_written_is_read_and_reading_goes_on_from_the_offset(run: runs.Run) -> None:
    writer = runs.EventWriter(run)
    first = writer.write("start", steps=3)
    batch = runs.read_events(run)
    assert batch.events == [first]
    assert first["v"] == 1
    second = writer.write("step", step=1, terms={"total": 0.5})
    later = runs.read_events(run, batch.offset)
    writer.close()
    assert later.events == [second]
    assert later.offset == (run.path / "events.jsonl").stat().st_size
    assert runs.read_events(run, later.offset) == runs.Batch([], later.offset, 0)


def test_not_finite_numbers_become_null_and_are_named(run: runs.Run) -> None:
    writer = runs.EventWriter(run)
    event = writer.write("step", a=math.nan, b={"c": math.inf, "d": 1.0}, e=[[0.0, -math.inf]], f=1)
    line = (run.path / "events.jsonl").read_text()
    finite = writer.write("step", a=1.0)
    writer.close()
    assert json.loads(line, parse_constant=lambda name: pytest.fail(name)) == event
    assert (event["a"], event["b"], event["e"], event["f"]) == (None, {"c": None, "d": 1.0}, [[0.0, None]], 1)
    assert event["nonfinite"] == ["a", "b.c", "e[0][1]"]
    assert "nonfinite" not in finite


def test_a_torn_last_line_waits_for_its_end(run: runs.Run) -> None:
    append(run, b'{"kind":"a"}\n{"kind":')
    batch = runs.read_events(run)
    assert [event["kind"] for event in batch.events] == ["a"]
    assert (batch.offset, batch.damaged) == (13, 0)
    append(run, b'"b"}\n')
    assert [event["kind"] for event in runs.read_events(run, batch.offset).events] == ["b"]


@pytest.mark.parametrize("torn", [b'{"kind":"torn"', b"\0\0\0\0", b'{"kind":"whole but for its newline"}'])
def test_the_next_writer_cuts_a_torn_line_off(run: runs.Run, torn: bytes) -> None:
    append(run, b'{"kind":"a"}\n' + torn)
    writer = runs.EventWriter(run)
    writer.write("b")
    writer.close()
    assert [event["kind"] for event in runs.read_events(run).events] == ["a", "b"]
    assert runs.read_events(run).damaged == 0


def test_a_log_that_is_only_a_torn_line_becomes_empty(run: runs.Run) -> None:
    append(run, b'{"kind')
    runs.EventWriter(run).close()
    assert (run.path / "events.jsonl").read_bytes() == b""


def test_every_event_is_on_disk_before_write_returns(run: runs.Run) -> None:
    writer = runs.EventWriter(run)
    for count in range(1, 4):
        writer.write("step")
        assert (run.path / "events.jsonl").read_bytes().count(b"\n") == count
    writer.close()


# --- control ---------------------------------------------------------------------------------------------------------


def test_requests_reach_the_trainer_once_and_in_order(run: runs.Run) -> None:
    runs.request(run, "stop")
    reader = runs.ControlReader(run)
    assert reader.poll() == []  # asked of a trainer that is gone
    runs.request(run, "set", name="lambda_a", value=0.5)
    runs.request(run, "note", text="two\nlines")
    asked = reader.poll()
    assert [(a["action"], a.get("name"), a.get("value"), a.get("text")) for a in asked] == [
        ("set", "lambda_a", 0.5, None),
        ("note", None, None, "two\nlines"),
    ]
    assert reader.poll() == []


def test_half_a_request_waits_and_what_is_no_request_is_passed_over(run: runs.Run) -> None:
    reader = runs.ControlReader(run)
    control = run.path / "control.jsonl"
    control.write_bytes(b'nonsense\n{"kind":"step"}\n[]\n{"kind":"control","action"')
    assert reader.poll() == []
    with control.open("ab") as file:
        file.write(b':"save"}\n')
    assert reader.poll() == [{"kind": "control", "action": "save"}]


# --- checkpoints -----------------------------------------------------------------------------------------------------


def test_checkpoints_come_in_the_order_of_their_moments(run: runs.Run) -> None:
    moments = [(7, 0), (6, 0), (10000, 0), (6, 123), (6, 1_000_000), (9, 5)]
    for moment in moments:
        run.new_checkpoint(*moment).weights.touch()
    names = [checkpoint.name for checkpoint in run.checkpoints()]
    assert names == ["0006", "0006-000123", "0006-1000000", "0007", "0009-000005", "10000"]


def test_files_that_only_look_like_checkpoints_are_passed_over(run: runs.Run) -> None:
    junk = ("epoch-best", "epoch-", "epoch-7", "epoch-0007-12", "epoch-0007-000001-000001", "epoch--0007", "epoch-0007-",
            "epoch-²²²²", "epoch-٠٠٠٧", ".epoch-0007", "epoch-0007 (copy)", "state-0008")  # fmt: skip
    for name in junk:
        (run.path / f"{name}.safetensors").touch()
    (run.path / "epoch-0005.safetensors.tmp").touch()
    assert run.checkpoints() == []


def test_a_moment_has_one_name(run: runs.Run) -> None:
    for name in ("0007", "00007", "0007-000000"):
        (run.path / f"epoch-{name}.safetensors").touch()
    assert [checkpoint.name for checkpoint in run.checkpoints()] == ["0007"]


def test_weights_may_be_a_link_and_nothing_but_a_file_is_one(run: runs.Run, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"abc")
    run.new_checkpoint(1, 0).weights.symlink_to(tmp_path / "weights")
    os.mkfifo(run.new_checkpoint(2, 0).weights)
    run.new_checkpoint(3, 0).weights.mkdir()
    run.new_checkpoint(4, 0).weights.symlink_to("nowhere")
    run.new_checkpoint(5, 0).weights.touch()
    state = run.new_checkpoint(5, 0).state
    assert state is not None
    os.mkfifo(state)
    assert [(checkpoint.name, checkpoint.state) for checkpoint in run.checkpoints()] == [("0001", None), ("0005", None)]
    assert run.checkpoints()[0].digest() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(runs.RunError, match=r"cannot read .*epoch-0002.safetensors: it is not a regular file"):
        run.new_checkpoint(2, 0).digest()


def test_a_checkpoint_names_its_state_only_where_there_is_one(run: runs.Run) -> None:
    for epoch in (1, 2):
        run.new_checkpoint(epoch, 0).weights.touch()
    state = run.new_checkpoint(2, 0).state
    assert state is not None
    state.touch()
    assert [checkpoint.state for checkpoint in run.checkpoints()] == [None, state]


def test_recorded_is_the_newest_event_of_that_checkpoint(run: runs.Run) -> None:
    writer = runs.EventWriter(run)
    for name, digest in (("0001", "old"), ("0001", "new"), ("0002", "other")):
        writer.write("checkpoint", name=name, sha256=digest)
    writer.close()
    assert run.recorded(run.new_checkpoint(1, 0))["sha256"] == "new"
    assert run.recorded(run.new_checkpoint(3, 0)) == {}


# --- whole files -----------------------------------------------------------------------------------------------------


def test_a_write_replaces_the_file_in_one_piece_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for text in ("old", "new"):
        runs.write_atomically(path, lambda temporary, text=text: temporary.write_text(text))
        assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("where", ["write", "fsync", "replace"])
def test_a_full_disk_keeps_the_old_file_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write(temporary: Path) -> None:
        temporary.write_text("half")
        if where == "write":
            full()

    path = tmp_path / "file"
    path.write_text("old")
    if where == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    if where == "replace":
        monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        runs.write_atomically(path, write)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_is_durable_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    rename, sync = Path.replace, os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (done.append("sync"), sync(handle)))
    monkeypatch.setattr(Path, "replace", lambda self, target: (done.append("rename"), rename(self, target)))
    runs.write_atomically(tmp_path / "file", lambda temporary: temporary.write_text("x"))
    assert done == ["sync", "rename", "sync"]  # the contents, the name, the folder that holds it


def test_results_of_the_same_second_are_all_kept(run: runs.Run) -> None:
    paths = [results.write_result(run, "evaluate", {"number": number}) for number in range(5)]
    assert [json.loads(path.read_text())["number"] for path in paths] == [0, 1, 2, 3, 4]
    assert {path.parent.name for path in paths} == {"results"}


def test_a_result_that_cannot_be_stored_is_a_run_error(run: runs.Run) -> None:
    (run.path / "results").write_text("in the way")
    with pytest.raises(runs.RunError, match=r"cannot write .*results"):
        results.write_result(run, "evaluate", {})


def test_only_temporaries_are_cleared(run: runs.Run) -> None:
    (run.path / ".config.json.1.tmp").touch()
    (run.path / "notes.tmp").touch()
    runs.clear_temporaries(run)
    assert files(run) == {"config.json", "events.jsonl", "notes.tmp"}


# --- one trainer at a time -------------------------------------------------------------------------------------------


def test_a_second_trainer_is_refused_while_the_first_lives_and_not_after(run: runs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "TRAINER_LOCK_SECONDS", 0.1)
    assert not runs.trainer_alive(run)
    first = runs.trainer_lock(run)
    run.write_status(state="running", step=5)
    assert runs.trainer_alive(run)
    with pytest.raises(runs.RunError, match=f"being trained by process {os.getpid()}: wait, or stop it first"):
        runs.trainer_lock(run)
    assert run.status()["state"] == "running"
    first.release()
    assert not runs.trainer_alive(run)
    runs.trainer_lock(run).release()


@pytest.mark.slow
def test_the_lock_of_a_killed_trainer_is_free_and_its_run_has_crashed(run: runs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "TRAINER_LOCK_SECONDS", 0.1)
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom trs_explorer import runs\n"
        "run = runs.open_run(Path(sys.argv[1]))\nlock = runs.trainer_lock(run)\nrun.write_status(state='running', step=7)\n"
        "print('locked', flush=True)\ntime.sleep(60)"
    )
    root = Path(runs.__file__).parents[1]
    trainer = subprocess.Popen([sys.executable, "-c", code, str(run.path)], stdout=subprocess.PIPE, text=True, cwd=root)
    with trainer:
        assert trainer.stdout is not None
        assert trainer.stdout.readline() == "locked\n"
        assert run.status()["state"] == "running"
        with pytest.raises(runs.RunError, match=f"process {trainer.pid}"):
            runs.trainer_lock(run)
        trainer.kill()
        trainer.wait()
    status = run.status()
    assert (status["state"], status["step"]) == ("crashed", 7)
    runs.trainer_lock(run).release()


@pytest.mark.parametrize("state", ["running", "paused"])
def test_alive_without_a_trainer_is_crashed(run: runs.Run, state: str) -> None:
    run.write_status(state=state)
    assert run.status()["state"] == "crashed"


@pytest.mark.parametrize("state", ["finished", "stopped", "failed"])
def test_an_end_stays_that_end(run: runs.Run, state: str) -> None:
    run.write_status(state=state, step=3)
    status = run.status()
    assert (status["state"], status["step"], status["pid"]) == (state, 3, os.getpid())


def test_a_viewers_look_does_not_turn_a_starting_trainer_away(run: runs.Run) -> None:
    look = FileLock(run.path / "trainer.lock", thread_local=False)
    look.acquire()
    threading.Timer(0.05, look.release).start()
    runs.trainer_lock(run).release()


@pytest.mark.parametrize("heartbeat", [10**400, -(10**400), 1e999, "now", None, 1e12], ids=lambda value: str(value)[:6])
def test_a_lock_that_is_a_link_is_left_alone_and_the_heartbeat_tells(run: runs.Run, tmp_path: Path, heartbeat: object) -> None:
    (tmp_path / "elsewhere").write_text("kept")
    (run.path / "trainer.lock").symlink_to(tmp_path / "elsewhere")
    (run.path / "status.json").write_text(json.dumps({"state": "running", "heartbeat": heartbeat}))
    assert run.status()["state"] == "crashed"
    run.write_status(state="running")
    assert run.status()["state"] == "running"
    with pytest.raises(runs.RunError, match=r"cannot write to .*trainer.lock is no regular file: move it out of the way"):
        runs.trainer_lock(run)
    assert (tmp_path / "elsewhere").read_text() == "kept"


def test_a_lock_that_is_a_pipe_is_not_waited_for(run: runs.Run) -> None:
    os.mkfifo(run.path / "trainer.lock")
    assert not runs.trainer_alive(run)
    with pytest.raises(runs.RunError, match="no regular file"):
        runs.trainer_lock(run)


def test_a_disk_without_locks_is_said_to_have_none(run: runs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def acquire(*_: object, **__: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(FileLock, "acquire", acquire)
    (run.path / "trainer.lock").touch()
    assert not runs.trainer_alive(run)
    with pytest.raises(runs.RunError, match=f"cannot write to {run.path}: the disk has no locks"):
        runs.trainer_lock(run)


# --- reading in pieces -----------------------------------------------------------------------------------------------

_LINE = st.one_of(
    st.dictionaries(st.text(max_size=3), st.integers()).map(lambda d: json.dumps({"kind": "x", **d}).encode()),
    st.binary(max_size=12).filter(lambda b: b"\n" not in b),
    st.just(b'{"kind":"x"\r}'),
)


@given(st.lists(_LINE, max_size=12), st.integers(0, 12))
def test_reading_in_two_parts_gives_what_reading_at_once_gives(tmp_path_factory, lines: list[bytes], cut: int) -> None:
    run = runs.Run(tmp_path_factory.mktemp("run"), resolve({}))
    log = run.path / "events.jsonl"
    log.write_bytes(b"".join(line + b"\n" for line in lines))
    whole = runs.read_events(run)
    log.write_bytes(b"".join(line + b"\n" for line in lines[:cut]) + b'{"kind":"to')
    first = runs.read_events(run)
    log.write_bytes(b"".join(line + b"\n" for line in lines))
    second = runs.read_events(run, first.offset)
    assert first.events + second.events == whole.events
    assert first.damaged + second.damaged == whole.damaged
    assert len(whole.events) + whole.damaged == len(lines)


def test_a_partial_result_is_found_again_by_its_request(run: runs.Run) -> None:
    request = {"weights": "abc", "attacks": [("pgd", 0.1)], "seed": 0}
    partial = results.PartialResult(run, "evaluate", request)
    assert partial.load() == {}
    partial.save({"0": 1})  # less than two seconds after it began: not written
    assert not partial.saved
    partial.save({"0": 1}, now=True)
    assert partial.saved
    assert results.PartialResult(run, "evaluate", request).load() == {"0": 1}
    assert results.PartialResult(run, "evaluate", {**request, "seed": 1}).load() == {}
    assert results.PartialResult(run, "blackbox", request).load() == {}
    partial.save({"0": 2})
    assert partial.load() == {"0": 1}
    partial.delete()
    partial.delete()
    assert partial.load() == {}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"asked": {}, "found": {"0": 1}}', '{"found": 3}'])
def test_a_damaged_partial_result_counts_as_none(run: runs.Run, text: str) -> None:
    partial = results.PartialResult(run, "evaluate", {"seed": 0})
    partial.save({"0": 1}, now=True)
    [path] = (run.path / "results").iterdir()
    path.write_text(text)
    assert partial.load() == {}


def test_a_folder_that_takes_nothing_keeps_nothing_and_says_so(run: runs.Run) -> None:
    (run.path / "results").write_text("in the way")
    partial = results.PartialResult(run, "evaluate", {"seed": 0})
    partial.save({"0": 1}, now=True)
    assert not partial.saved
    assert partial.load() == {}
    partial.delete()
