import contextlib
import json
import os
import shutil
import sys
import threading

import pytest
import torch

from trs_explorer import runs
from trs_explorer.explore import library as library_module
from trs_explorer.explore.library import Library, StillRead
from trs_explorer.explore.run_names import without_folders
from trs_explorer.files import read_json
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError
from trs_explorer.shipped import folder

SHIPPED = folder("checkpoints")


@pytest.fixture
def place(tmp_path):
    """A folder with copies of two shipped runs, and what is no run."""
    for name in ("bars-trs", "bars-cos-only"):
        shutil.copytree(SHIPPED / name, tmp_path / name)
    (tmp_path / "notes").mkdir()
    (tmp_path / "README.md").write_text("no run")
    return tmp_path


@pytest.fixture
def clock(monkeypatch):
    """The library's clock, to be moved by hand."""
    now = [100.0]
    monkeypatch.setattr(library_module.time, "monotonic", lambda: now[0])
    return now


def test_names_are_those_of_the_runs_in_a_folder(place):
    library = Library([place])
    assert library.names == ["bars-cos-only", "bars-trs"]
    assert library.run("bars-trs") == runs.open_run(place / "bars-trs")
    assert library.checkpoints("bars-trs") == ["0400", "0800"]
    assert Library([place / "bars-trs"]).names == ["bars-trs"]
    assert Library([place / "bars-trs", place]).names == ["bars-trs", "bars-cos-only"]  # each once


def test_two_runs_of_one_name_can_be_told_apart(place, tmp_path):
    shutil.copytree(place / "bars-cos-only", tmp_path / "other" / "bars-trs")
    shutil.copytree(place / "bars-cos-only", tmp_path / "other" / "bars-trs (2)")
    library = Library([place, place / "other"])
    assert library.names == ["bars-cos-only", "bars-trs", "bars-trs (2)", "bars-trs (2) (2)"]
    assert library.run("bars-trs (2)").path == place / "other" / "bars-trs"
    assert library.run("bars-trs (2) (2)").path == place / "other" / "bars-trs (2)"


@pytest.fixture
def clone(place):
    """A second folder with a copy of one of the runs, as an installed package and a clone have them."""
    shutil.copytree(place / "bars-trs", place / "clone" / "bars-trs")
    return place / "clone"


def test_a_copy_of_a_run_is_shown_once(place, clone):
    assert Library([place, clone]).names == ["bars-cos-only", "bars-trs"]
    assert Library([place, clone]).run("bars-trs").path == place / "bars-trs"
    (clone / "bars-trs" / "results").mkdir(exist_ok=True)
    for k in range(9):
        (clone / "bars-trs" / "results" / f"evaluate-{k}.json").write_text("{}")
    assert Library([place, clone]).run("bars-trs").path == clone / "bars-trs"  # of which more is known


@pytest.mark.parametrize(
    "change",
    [
        lambda run: (run / "config.json").write_text((run / "config.json").read_text().replace('"seed": 0', '"seed": 1')),
        lambda run: (run / "epoch-0800.safetensors").unlink(),
        lambda run: shutil.copy(run / "epoch-0400.safetensors", run / "epoch-0800.safetensors"),
        lambda run: run.rename(run.with_name("a-copy")),
    ],
    ids=["another config", "fewer checkpoints", "other weights", "another name"],
)
def test_a_run_that_differs_is_no_copy(place, clone, change):
    change(clone / "bars-trs")
    assert len(Library([place, clone]).names) == 3


def test_a_run_that_is_shown_stays_while_copies_come(place, clone, clock):
    library = Library([place])
    library._paths.append(clone)
    (clone / "bars-trs" / "results").mkdir(exist_ok=True)
    for k in range(9):
        (clone / "bars-trs" / "results" / f"evaluate-{k}.json").write_text("{}")
    clock[0] += 2
    assert library.names == ["bars-cos-only", "bars-trs"]
    assert library.run("bars-trs").path == place / "bars-trs"
    shutil.rmtree(place / "bars-trs")
    clock[0] += 2
    assert [library.run(name).path for name in library.names] == [place / "bars-cos-only", clone / "bars-trs"]


# What a folder is called, and what it is shown as.
NAMES = {
    b"bad\xffname": "bad\\xffname",
    b"a\nb\x1b[31m": "a\\nb\\x1b[31m",
    "a\u202eb".encode(): "a\\u202eb",
    "räum2".encode(): "räum2",
}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take UTF-8 alone")
@pytest.mark.parametrize("folder", NAMES, ids=ascii)
def test_every_folder_has_a_printable_name_of_its_own(place, folder):
    for name in {os.fsdecode(folder), NAMES[folder]}:
        shutil.copytree(place / "bars-trs", place / name)
    library = Library([place])
    mine = [name for name in library.names if not name.startswith("bars-")]
    assert mine == [NAMES[folder], f"{NAMES[folder]} (2)"][: len(mine)]
    assert len(mine) == (1 if os.fsencode(NAMES[folder]) == folder else 2)
    assert all(name.isprintable() and library.load(name).name == name for name in mine)


def test_a_run_that_is_read_slowly_keeps_no_other_waiting(place, monkeypatch):
    library, reading, go_on = Library([place]), threading.Semaphore(0), threading.Event()

    def slow(function):
        def read(run, *given, **named):
            if run.name == "bars-trs":
                reading.release()
                assert go_on.wait(10)
            return function(run, *given, **named)

        return read

    monkeypatch.setattr(library_module, "load_ensemble", slow(library_module.load_ensemble))
    monkeypatch.setattr(library_module.runs, "read_events", slow(runs.read_events))
    found = []
    threads = [threading.Thread(target=lambda ask=ask: found.append(ask("bars-trs"))) for ask in (library.load, library.events)]
    for thread in threads:
        thread.start()
    assert all(reading.acquire(timeout=10) for _ in threads)
    assert library.load("bars-cos-only").name == "bars-cos-only"
    assert library.events("bars-cos-only")
    monkeypatch.setattr(library_module, "WAIT_S", 0.01)
    for ask in (library.load, library.events):
        with pytest.raises(StillRead, match="another request is still reading it"):
            ask("bars-trs")
    assert not found
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert len(found) == 2


@pytest.mark.parametrize("name", ["epoch-0800.safetensors", "events.jsonl"])
def test_a_file_that_is_too_large_for_a_run_is_refused_unread(place, name):
    library = Library([place])
    with (place / "bars-trs" / name).open("r+b") as file:
        file.truncate(1 << 40)  # of nothing: no disk is needed
    for ask in (library.load, lambda run: library.digest(run, library.run(run).checkpoints()[-1]), library.events):
        if (ask == library.events) == (name == "events.jsonl"):
            with pytest.raises(RunError, match="is larger than"):
                ask("bars-trs")
    assert library.load("bars-cos-only")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such files here")
@pytest.mark.parametrize("name", ["epoch-0800.safetensors", "events.jsonl", "status.json", "config.json"])
def test_what_is_no_file_in_place_of_a_runs_is_said_at_once(place, name, clock):
    library, path = Library([place]), place / "bars-trs" / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    clock[0] += 2
    for ask in (library.load, library.events, library.status, library.checkpoints):
        with contextlib.suppress(RunError, UsageError):
            ask("bars-trs")
    assert library.load("bars-cos-only")


def test_where_others_look_on_no_error_names_a_folder(place):
    library = Library([place])
    library.readonly = True
    config = read_json(place / "bars-trs" / "config.json")
    elsewhere = {**config, "data": "mnist", "data_dir": f"{place}/my data/x y"}
    shutil.copytree(SHIPPED / "mnist-trs", place / "mine")
    stored = read_json(SHIPPED / "mnist-trs" / "config.json")
    (place / "mine" / "config.json").write_text(json.dumps({**stored, "data_dir": elsewhere["data_dir"]}))
    (place / "bars-trs" / "epoch-0800.safetensors").write_bytes(b"nonsense")
    library = Library([place])
    weights = "bars-trs/epoch-0800.safetensors is not what the training saved"
    for name, words in (("bars-trs", weights), ("mine", "there is no folder")):
        library.readonly = False
        with pytest.raises((RunError, UsageError), match=words):
            library.load(name)
        library.readonly = True
        with pytest.raises((RunError, UsageError), match=words) as error:
            library.load(name)
        assert not any(part in str(error.value) for part in place.parts[1:])
        assert "my data" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("cannot read /a/b/c.json: gone", "cannot read c.json: gone"),
        ("C:\\a\\b is not there", "b is not there"),
        ("see https://x.org/a/b, or and/or 1/2", "see https://x.org/a/b, or and/or 1/2"),
        ("'/a/b' and \"/c d/e\"", "'b' and \"c d/e\""),
    ],
)
def test_folders_are_taken_out_of_texts(place, text, left):
    assert without_folders(text, Library([place]).run("bars-trs")) == left


def test_a_folder_that_cannot_be_looked_into_hides_no_other(place, clock, monkeypatch):
    library = Library([place])
    look = os.stat

    def closed(path, *given, **named):
        if "bars-trs" in str(path):
            raise PermissionError(13, "Permission denied", path)
        return look(path, *given, **named)

    monkeypatch.setattr(os, "stat", closed)
    clock[0] += 2
    assert library.names == ["bars-cos-only"]


def test_a_new_run_appears_within_a_second_and_names_stay(place, clock, monkeypatch):
    looks = []
    monkeypatch.setattr(library_module.runs, "find_runs", lambda path, look=runs.find_runs: looks.append(path) or look(path))
    library = Library([place])
    shutil.copytree(place / "bars-trs", place / "a-new-one")
    clock[0] += 0.9
    assert library.names == ["bars-cos-only", "bars-trs"]
    assert len(looks) == 1
    clock[0] += 0.2
    assert library.names == ["a-new-one", "bars-cos-only", "bars-trs"]
    assert len(looks) == 2
    shutil.rmtree(place / "bars-trs")
    clock[0] += 2
    assert library.names == ["a-new-one", "bars-cos-only"]
    with pytest.raises(UsageError, match="run: there is no 'bars-trs'"):
        library.load("bars-trs")


@pytest.mark.parametrize("name", ["", ".", "..", "../bars-trs", "notes", "bars-trs/", "/etc/passwd", "bars-trs\0", "x" * 10**6])
def test_nothing_but_the_runs_can_be_reached(place, name):
    library = Library([place])
    for ask in (library.run, library.checkpoints, library.load, library.events):
        with pytest.raises(UsageError, match="Choose from bars-cos-only, bars-trs") as error:
            ask(name)
        assert len(str(error.value)) < 300
    with pytest.raises(UsageError):
        library.run(str(place / "bars-trs"))


@pytest.mark.parametrize("checkpoint", ["0401", "../bars-cos-only/epoch-0400", "x" * 10**6, "0400.safetensors"])
def test_a_checkpoint_that_is_not_there_names_those_that_are(place, checkpoint):
    with pytest.raises(RunError, match="choose another, such as 0400, 0800") as error:
        Library([place]).load("bars-trs", checkpoint)
    assert len(str(error.value)) < 400


def test_no_run_is_an_error_with_the_way_out(tmp_path, place):
    with pytest.raises(RunError, match=r"there is no run in .*notes: train one"):
        Library([place / "notes"])
    with pytest.raises(RunError, match=r"there is no run in .*missing"):
        Library([place / "missing"])
    with pytest.raises(RunError, match="no folder"):
        Library([])
    (place / "bars-trs" / "config.json").write_text("{")
    with pytest.raises(RunError, match=r"config\.json is damaged"):
        Library([place / "bars-trs"])
    assert Library([place]).names == ["bars-cos-only"]  # the damaged one among good ones


def test_what_is_loaded_is_the_checkpoint_frozen_with_its_data(place):
    library = Library([place], device="cpu")
    newest, older = library.load("bars-trs"), library.load("bars-trs", "0400")
    assert (newest.name, newest.checkpoint, older.checkpoint) == ("bars-trs", "0800", "0400")
    recorded = {event["name"]: event["sha256"] for event in library.events("bars-trs") if event["kind"] == "checkpoint"}
    assert (newest.digest, older.digest) == (recorded["0800"], recorded["0400"])
    assert not newest.ensemble.training
    assert not any(p.requires_grad for p in newest.ensemble.parameters())
    assert (len(newest.data), len(newest.train)) == (400, 300)
    right = newest.ensemble(newest.data.images(slice(0, 400))).argmax(-1) == newest.data.y
    assert right.float().mean() > 0.95
    assert Library([SHIPPED]).load("mnist-standard").train is None


class Door:
    """A lock that counts who has come to it."""

    def __init__(self):
        self.came, self._lock, self._arrived = 0, threading.Lock(), threading.Condition()

    def __enter__(self):
        with self._arrived:
            self.came += 1
            self._arrived.notify_all()
        self._lock.acquire()

    def __exit__(self, *error):
        self._lock.release()

    def wait_for(self, count):
        with self._arrived:
            assert self._arrived.wait_for(lambda: self.came >= count, 10)


def test_each_checkpoint_and_data_set_is_read_once(place, monkeypatch):
    library, reads, door = Library([place]), [], Door()
    monkeypatch.setattr(library, "_one_at_a_time", lambda key: door)

    def spy(function):
        def read(*given, **named):
            if not reads:
                door.wait_for(8)  # all have seen by now that it is not there yet
            reads.append(function.__name__)
            return function(*given, **named)

        return read

    monkeypatch.setattr(library_module, "load_ensemble", spy(library_module.load_ensemble))
    monkeypatch.setattr(library_module.data, "load_for", spy(library_module.data.load_for))
    found = []
    threads = [threading.Thread(target=lambda: found.append(library.load("bars-trs"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(loaded.ensemble) for loaded in found}) == 1
    assert len(found) == 8
    library.load("bars-cos-only")
    assert sorted(reads) == ["load_ensemble", "load_ensemble", "load_for", "load_for"]  # test and training points


def test_only_so_many_ensembles_are_kept(place, monkeypatch):
    monkeypatch.setattr(library_module, "MAX_ENSEMBLES", 2)
    library = Library([place])
    first, second = library.load("bars-trs", "0400"), library.load("bars-trs", "0800")
    assert library.load("bars-trs", "0400").ensemble is first.ensemble
    library.load("bars-cos-only")
    assert library.load("bars-trs", "0400").ensemble is first.ensemble
    assert library.load("bars-trs", "0800").ensemble is not second.ensemble


def test_the_newest_checkpoint_is_what_is_newest_now(place):
    library, run = Library([place]), place / "bars-trs"
    (run / "epoch-0800.safetensors").rename(place / "later")
    assert library.load("bars-trs").checkpoint == "0400"
    (place / "later").rename(run / "epoch-0800.safetensors")
    assert library.load("bars-trs").checkpoint == "0800"


def test_a_checkpoint_that_changes_is_read_again(place):
    library, path = Library([place]), place / "bars-trs" / "epoch-0800.safetensors"
    (place / "bars-trs" / "events.jsonl").write_text("")  # no log says what its digest should be
    before = library.load("bars-trs").digest
    shutil.copy(place / "bars-trs" / "epoch-0400.safetensors", path)
    assert library.load("bars-trs").digest == library.load("bars-trs", "0400").digest != before


@pytest.mark.parametrize("moment", ["before it is looked at", "before it is read"])
def test_a_newest_checkpoint_that_is_removed_meanwhile_leaves_the_next_newest(place, monkeypatch, moment):
    library, path = Library([place]), place / "bars-trs" / "epoch-0800.safetensors"
    where, name = (runs.Run, "checkpoints") if moment == "before it is looked at" else (library_module, "load_ensemble")
    function = getattr(where, name)

    def prune(*args, **kwargs):
        found = function(*args, **kwargs) if name == "checkpoints" else None
        path.unlink(missing_ok=True)
        return found if name == "checkpoints" else function(*args, **kwargs)

    monkeypatch.setattr(where, name, prune)
    assert library.load("bars-trs").checkpoint == "0400"


def test_damaged_weights_among_good_ones_are_said_and_the_others_go_on(place):
    library, run = Library([place]), place / "bars-trs"
    (run / "epoch-0800.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    for checkpoint in ("", "0800"):
        with pytest.raises(RunError, match=r"epoch-0800\.safetensors is not what .* or replaced: choose another checkpoint"):
            library.load("bars-trs", checkpoint)
    assert library.load("bars-trs", "0400").checkpoint == "0400"
    shutil.copy(run / "epoch-0400.safetensors", run / "epoch-0800.safetensors")
    with pytest.raises(RunError, match="not what the training saved"):
        library.load("bars-trs")


def test_a_run_that_has_saved_nothing_yet_says_so(place):
    for weights in (place / "bars-trs").glob("*.safetensors"):
        weights.unlink()
    library = Library([place])
    assert library.checkpoints("bars-trs") == []
    with pytest.raises(RunError, match="has no checkpoint yet"):
        library.load("bars-trs")


def test_events_are_read_on_from_where_they_were(place, monkeypatch):
    library, log = Library([place]), place / "bars-trs" / "events.jsonl"
    whole = log.read_bytes()
    events = [json.loads(line) for line in whole.splitlines()]
    half = whole.index(b"\n", len(whole) // 2) - 10  # in the middle of a line
    log.write_bytes(whole[:half])
    seen = library.events("bars-trs")
    assert seen == events[: len(seen)]
    assert 0 < len(seen) < len(events)
    with log.open("ab") as file:
        file.write(whole[half:])
    seen.clear()  # the caller's own list
    offsets = []
    read = runs.read_events
    monkeypatch.setattr(library_module.runs, "read_events", lambda run, *a: offsets.append(a) or read(run, *a))
    assert library.events("bars-trs") == events
    assert all(offset > 0 or size for offset, size in ((*a, 0)[:2] for a in offsets))  # never all of it again
    offsets.clear()
    assert library.events("bars-trs") == events
    assert offsets == [(len(whole),)]


def test_a_log_that_is_replaced_is_read_anew(place):
    library, log = Library([place]), place / "bars-trs" / "events.jsonl"
    old = library.events("bars-trs")
    lines = [json.dumps({"v": 1, "kind": "step", "step": i, "run": "new"}) for i in range(5000)]
    log.write_text("\n".join(lines) + "\n")
    assert log.stat().st_size > sum(len(json.dumps(event)) for event in old)
    assert library.events("bars-trs") == [json.loads(line) for line in lines]
    log.write_text(lines[0] + "\n")  # a shorter one
    assert library.events("bars-trs") == [json.loads(lines[0])]
    log.unlink()
    assert library.events("bars-trs") == []


def test_many_threads_can_ask_for_events_while_they_come(place):
    library, log = Library([place]), place / "bars-trs" / "events.jsonl"
    log.write_text("")
    seen, stop = [], threading.Event()

    def ask():
        while not stop.is_set():
            seen.append([event["step"] for event in library.events("bars-trs")])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    with log.open("a") as file:
        for step in range(500):
            file.write(json.dumps({"v": 1, "kind": "step", "step": step}) + "\n")
            file.flush()
    stop.set()
    for thread in threads:
        thread.join()
    assert all(steps == list(range(len(steps))) for steps in seen)
    assert [event["step"] for event in library.events("bars-trs")] == list(range(500))


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_works(place):
    run = place / "bars-trs"
    before = {path.name for path in run.iterdir()}
    for path in (*run.iterdir(), run, place):
        path.chmod(0o500)
    try:
        library = Library([place])
        assert library.load("bars-trs").checkpoint == "0800"
        assert library.events("bars-trs")
    finally:
        for path in (place, run):
            path.chmod(0o700)
    assert {path.name for path in run.iterdir()} == before


def test_nothing_is_written_to_a_run(place):
    files = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in place.rglob("*")}
    library = Library([place])
    library.load("bars-trs")
    library.events("bars-trs")
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in place.rglob("*")} == files


def test_data_that_cannot_be_found_is_said(place):
    config = read_json(SHIPPED / "mnist-trs" / "config.json")
    shutil.copytree(SHIPPED / "mnist-trs", place / "mine")
    (place / "mine" / "config.json").write_text(json.dumps({**config, "data_dir": "/nowhere"}))
    with pytest.raises(UsageError, match="there is no folder /nowhere"):
        Library([place]).load("mine")


def test_the_device_is_a_gpu_only_where_there_is_one(place):
    wanted = "cuda" if torch.cuda.is_available() else "cpu"
    library = Library([place])
    assert library.device.type == wanted
    assert next(library.load("bars-trs").ensemble.parameters()).device.type == wanted
