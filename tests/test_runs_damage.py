"""Damaged run folders: whatever is in the files, a run opens and reads, or says in words that it does not."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trs_explorer import files, runs
from trs_explorer.config import FORMAT, resolve

BOMB = b'{"kind":"x","deep":' + b"[" * 200_000 + b"]" * 200_000 + b"}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    run = runs.create(tmp_path_factory.mktemp("whole") / "run", resolve({"data": "bars", "seed": 5}))
    writer = runs.EventWriter(run)
    writer.write("start", step=0, steps=20)
    for step in (10, 20):
        writer.write("step", step=step, terms={"total": 0.5, "cross_entropy": 0.25}, cosine=[[1.0, 0.1], [0.1, 1.0]])
        writer.write("checkpoint", name=f"{step:04d}", sha256="ab" * 32)
    writer.write("stopped", state="finished", step=20)
    writer.close()
    run.write_status(state="finished", step=20)
    return run


@pytest.fixture
def run(whole: runs.Run, tmp_path: Path) -> runs.Run:
    shutil.copytree(whole.path, tmp_path / "run")
    return runs.open_run(tmp_path / "run")


def _json(**changes: object) -> bytes:
    return json.dumps(resolve({}).to_json() | changes).encode()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (None, "is not a run: it has no config.json"),
        (b"", "config.json is damaged: it is not JSON"),
        (_json()[: len(_json()) // 2], "config.json is damaged: it is not JSON"),
        (bytes(range(256)), "config.json is damaged"),
        (b"\0" * 400, "config.json is damaged"),
        (BOMB, "config.json is damaged"),
        (b"[1, 2]", "config.json is damaged"),
        (b"null", "config.json is damaged"),
        (b"{}", "no format number: it is not a run's config, or only half written"),
        (b'{"format": 1}', "config.json lacks method, data, model"),
        (_json(format=FORMAT + 1), f"the run has format {FORMAT + 1}, this trs reads up to {FORMAT}: update trs-explorer"),
        (_json(seed=-1), "--seed must be"),
        (_json(lr=float("nan")), "--lr must be > 0, got nan"),
        (_json(lr=10**400), "--lr must be > 0"),
        (_json(lr=[[[]]]), "--lr takes a number, got [[[]]]"),
        (_json(lr="DEEP").replace(b'"DEEP"', b"[" * 1000 + b"]" * 1000), "--lr takes a number, got [[["),
        (_json(method="x" * 300_000), "config.json method: there is no 'xxx"),
        (_json(model="\x1b[2J"), "config.json model: there is no '\\x1b[2J'"),
        (_json(data="\ud800"), "config.json data: there is no '\\ud800'"),
        (_json(data_dir="a\0b"), "--data-dir takes text without a zero byte"),
        (_json() + b" " * files.MAX_JSON_BYTES, "cannot read .*config.json: it is larger than 1,048,576 bytes"),
    ],
)
def test_a_config_that_is_none_is_named_with_its_folder(run: runs.Run, config: bytes | None, words: str) -> None:
    if config is None:
        (run.path / "config.json").unlink()
    else:
        (run.path / "config.json").write_bytes(config)
    with pytest.raises(runs.RunError) as refused:
        runs.open_run(run.path)
    assert str(run.path) in str(refused.value)
    assert words.replace(".*", f"{run.path}/") in str(refused.value)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize("what", ["pipe", "folder", "device", "link", "loop"])
def test_what_is_no_config_is_neither_waited_for_nor_called_damaged(run: runs.Run, what: str) -> None:
    config = run.path / "config.json"
    config.unlink()
    if what == "pipe":
        os.mkfifo(config)
    elif what == "folder":
        config.mkdir()
    else:
        config.symlink_to({"device": "/dev/zero", "link": "nowhere", "loop": "config.json"}[what])
    with pytest.raises(runs.RunError, match=rf"^cannot read {config}: (it is|No such file|Too many)"):
        runs.open_run(run.path)
    assert runs.find_runs(run.path.parent) == []


def test_a_config_that_may_not_be_read_is_not_called_damaged(run: runs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "open", _refused)  # chmod does not stop root
    with pytest.raises(runs.RunError, match=rf"^cannot read {run.path}/config.json: Permission denied$"):
        runs.open_run(run.path)


def _refused(path: object, *_: object, **__: object) -> int:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def test_a_config_may_begin_with_a_byte_order_mark(run: runs.Run) -> None:
    config = run.path / "config.json"
    config.write_bytes(b"\xef\xbb\xbf" + config.read_bytes())
    assert runs.open_run(run.path) == run


def test_a_folder_that_nobody_may_look_into_hides_no_other(run: runs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    closed, real = run.path.with_name("closed"), Path.stat
    shutil.copytree(run.path, closed)
    (run.path.parent / "deep").mkdir()
    (run.path.parent / "deep" / "config.json").write_bytes(_json(lr="DEEP").replace(b'"DEEP"', b"[" * 1000 + b"]" * 1000))
    monkeypatch.setattr(Path, "stat", lambda self, **how: _refused(self) if closed in self.parents else real(self, **how))
    assert runs.find_runs(run.path.parent) == [run]
    monkeypatch.setattr(Path, "iterdir", _refused)
    with pytest.raises(runs.RunError, match=rf"^cannot read {run.path.parent}: Permission denied$"):
        runs.find_runs(run.path.parent)


def test_a_name_that_no_terminal_should_get_is_shown_in_escapes(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff\x1b[2J\nname"))
    run = runs.create(path, resolve({}))
    shown = "bad\\xff\\x1b[2J"
    assert run.name == shown + "\\nname"
    assert [run.name for run in runs.find_runs(tmp_path)] == [run.name]
    (path / "config.json").write_text("{")
    for refused in (lambda: runs.open_run(path), lambda: runs.create(path, resolve({})), lambda: runs.open_run(path / "x")):
        with pytest.raises(runs.RunError) as error:
            refused()
        assert shown in str(error.value)
        assert str(error.value).replace("\n", "").isprintable()


def test_a_path_that_no_system_has_is_no_run(tmp_path: Path) -> None:
    for name in ("zero\0byte", "n" * 5000):
        with pytest.raises(runs.RunError, match=r"no such run folder|File name too long"):
            runs.open_run(tmp_path / name)
    assert runs.find_runs(tmp_path / "zero\0byte") == []


def test_a_folder_that_is_missing_empty_or_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for name, words in (("missing", "no such run folder"), ("file", "no such run folder"), ("empty", "it is empty")):
        with pytest.raises(runs.RunError, match=f"{name}.*{words}"):
            runs.open_run(tmp_path / name)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"nonsense",
        b"\xff\xfe\x00",
        b"\0\0\0\0",
        b"{",
        b"[]",
        b"3",
        b'{"step":1}',
        b'{"kind":7}',
        b'{"kind":"x"},{"kind":"y"}',
        b'{"kind":"x","n":' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        BOMB,
    ],
    ids=lambda line: repr(line[:12]),
)
def test_a_damaged_line_in_the_middle_is_counted_and_passed_over(run: runs.Run, line: bytes) -> None:
    good = runs.read_events(run).events
    log = run.path / "events.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*lines[:2], line + b"\n", *lines[2:]]))
    batch = runs.read_events(run)
    assert batch.events == good
    assert batch.damaged == 1
    assert batch.offset == log.stat().st_size


@pytest.mark.parametrize("status", [b"", b"\xff\0", b"[]", b"{", b'{"state":["running"]}', b'{"state":null}', BOMB,
                                    b'{"state":{"a":[]},"error":7,"pid":1e999}', b'{"state":"running","pid":' + b"9" * 400 + b"}",
                                    b" " * (files.MAX_JSON_BYTES + 1)], ids=lambda status: repr(status[:12]))  # fmt: skip
def test_a_damaged_status_is_no_status_and_never_an_error(run: runs.Run, status: bytes) -> None:
    (run.path / "status.json").write_bytes(status)
    (run.path / "trainer.lock").touch()
    assert run.status().get("state") != "running"
    assert all(isinstance(run.status().get(name, ""), str) for name in ("state", "error"))


@pytest.mark.parametrize("what", ["pipe", "folder", "link"])
def test_a_status_is_written_in_place_of_a_pipe_or_a_link_and_never_into_it(run: runs.Run, tmp_path: Path, what: str) -> None:
    status, elsewhere = run.path / "status.json", tmp_path / "elsewhere"
    elsewhere.write_text("kept")
    status.unlink()
    {"pipe": os.mkfifo, "folder": os.mkdir, "link": lambda path: path.symlink_to(elsewhere)}[what](status)
    assert run.status() == {}
    if what == "folder":
        with pytest.raises(OSError, match="directory"):
            run.write_status(state="finished")
    else:
        run.write_status(state="finished")
        assert run.status()["state"] == "finished"
    assert elsewhere.read_text() == "kept"


def test_a_log_or_a_status_that_is_gone_is_empty(run: runs.Run) -> None:
    (run.path / "events.jsonl").unlink()
    (run.path / "status.json").unlink()
    assert runs.read_events(run) == runs.Batch([], 0, 0)
    assert run.status() == {}


FILES = ("config.json", "events.jsonl", "status.json")
_DAMAGE = st.lists(st.tuples(st.sampled_from(FILES), st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=6)


def _flip(run: runs.Run, path: Path, damage: list[tuple[str, int, int]]) -> None:
    for name in FILES:
        shutil.copyfile(run.path / name, path / name)
    for name, place, bits in damage:
        content = bytearray((path / name).read_bytes())
        content[place % len(content)] ^= bits
        (path / name).write_bytes(content)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=_DAMAGE)
@pytest.mark.slow
def test_flipped_bytes_leave_a_run_that_reads_or_a_run_error(whole: runs.Run, tmp_path: Path, damage: list) -> None:
    _flip(whole, tmp_path, damage)
    try:
        run = runs.open_run(tmp_path)
    except runs.RunError as error:
        assert str(tmp_path) in str(error)  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
        run = runs.Run(tmp_path, whole.config)
    batch = runs.read_events(run)
    lines = (tmp_path / "events.jsonl").read_bytes().count(b"\n")
    assert len(batch.events) + batch.damaged == lines
    flips = sum(name == "events.jsonl" for name, *_ in damage)
    assert len(batch.events) >= len(runs.read_events(whole).events) - 2 * flips  # a flipped newline joins two lines
    assert isinstance(run.status(), dict)
    assert isinstance(run.recorded(run.new_checkpoint(10, 0)), dict)


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(FILES), content=st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
def test_any_bytes_at_all_leave_a_run_that_reads_or_a_run_error(
    whole: runs.Run, tmp_path: Path, name: str, content: bytes
) -> None:
    _flip(whole, tmp_path, [])
    (tmp_path / name).write_bytes(content)
    try:
        run = runs.open_run(tmp_path)
    except runs.RunError:
        assert name == "config.json"
        return
    batch = runs.read_events(run)
    assert isinstance(run.status(), dict)
    writer = runs.EventWriter(run)
    written = writer.write("step")
    writer.close()
    assert runs.read_events(run).events == [*batch.events, written]
