"""Damaged run folders: whatever is in the files, a run opens and reads, or says in words that it does not."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trs_explorer import runs
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
    assert words in str(refused.value)


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


@pytest.mark.parametrize("status", [b"", b"\xff\0", b"[]", b"{", b'{"state":["running"]}', b'{"state":null}', BOMB])
def test_a_damaged_status_is_no_status_and_never_an_error(run: runs.Run, status: bytes) -> None:
    (run.path / "status.json").write_bytes(status)
    assert run.status().get("state") != "running"


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
