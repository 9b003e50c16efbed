"""The log and the requests: read in blocks, whatever is in them; never written through a link. As it should be: test_runs.py."""

import json
import os
import tracemalloc
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trs_explorer import events, runs
from trs_explorer.config import resolve

STEP = b'{"kind":"step","step":1}\n'


@pytest.fixture
def run(tmp_path: Path) -> runs.Run:
    return runs.create(tmp_path / "run", resolve({"data": "bars"}))


def log(run: runs.Run) -> Path:
    return run.path / "events.jsonl"


# --- long lines ------------------------------------------------------------------------------------------------------


def _expected(content: bytes, longest: int) -> list[dict | None]:
    """Every whole line's event, None for a damaged one: the whole text at once, as simple as it can be said."""
    parsed: list[dict | None] = []
    for line in content.split(b"\n")[:-1]:
        try:
            event = json.loads(line) if len(line) < longest else None
        except ValueError:
            event = None
        parsed.append(event if isinstance(event, dict) and isinstance(event.get("kind"), str) else None)
    return parsed


_LINES = st.one_of(
    st.integers(0, 60).map(lambda n: json.dumps({"kind": "x", "n": "-" * n}).encode()),
    st.integers(0, 60).map(lambda n: b"-" * n),
)


_TORN = st.tuples(st.sampled_from([b"-", b'{"kind":"x","n":"--"}']), st.integers(0, 90)).map(lambda t: t[0] + b" " * t[1])


@given(lines=st.lists(_LINES, max_size=9), torn=_TORN, size=st.integers(1, 90))
def test_blocks_of_any_size_give_what_the_whole_gives(tmp_path_factory, lines: list[bytes], torn: bytes, size: int) -> None:
    path = tmp_path_factory.mktemp("events") / "events.jsonl"
    path.write_bytes(content := b"".join(line + b"\n" for line in lines) + torn)
    with patch.object(events, "MOST_LINE", 40):
        expected = _expected(content, 40)
        good = [event for event in expected if event is not None]
        whole = events.read_lines(path, 0)
        assert (whole.events, whole.damaged) == (good, len(expected) - len(good))
        assert whole.offset == len(content) - len(torn)

        parsed, offset, damaged = [], 0, 0
        while (batch := events.read_lines(path, offset, size)).offset > offset:
            parsed, offset, damaged = parsed + batch.events, batch.offset, damaged + batch.damaged
        assert (parsed, offset, damaged) == (whole.events, whole.offset, whole.damaged)

        assert list(events.newest_first(path, b"")) == good[::-1]
        assert list(events.newest_first(path, b"--")) == [event for event in good[::-1] if "--" in event["n"]]


def test_a_line_of_64_mb_is_one_damaged_line_and_never_in_memory(run: runs.Run) -> None:
    with log(run).open("wb") as file:
        file.write(STEP)
        file.seek(64 << 20)
        file.write(b"\n" + STEP)
    tracemalloc.start()
    try:
        batch = runs.read_events(run)
        assert run.recorded(run.new_checkpoint(1, 0)) == {}
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(batch.events), batch.damaged, batch.offset) == (2, 1, log(run).stat().st_size)
    assert most < 8 << 20


def test_a_line_without_an_end_is_passed_in_time(run: runs.Run) -> None:
    with log(run).open("wb") as file:
        file.truncate(5 * events.MOST_LINE)  # zeros
    assert runs.read_events(run) == runs.Batch([], 0, 0)  # it may end yet
    with patch.object(events, "MOST_SKIPPED", 2 * events.MOST_LINE):
        assert runs.read_events(run) == runs.Batch([], 4 * events.MOST_LINE, 2)
    with log(run).open("ab") as file:
        file.write(b"\n" + STEP)
    assert runs.read_events(run).damaged == 1
    assert len(runs.read_events(run).events) == 1


def test_a_first_line_is_whole_however_few_bytes_are_asked_for(run: runs.Run) -> None:
    log(run).write_bytes(2 * STEP)
    assert runs.read_events(run, 0, 1) == runs.Batch([{"kind": "step", "step": 1}], len(STEP), 0)


def test_the_writer_cuts_a_torn_line_that_is_longer_than_a_block(run: runs.Run) -> None:
    log(run).write_bytes(STEP + b"-" * (3 * events.MOST_LINE))
    runs.EventWriter(run).close()
    assert log(run).read_bytes() == STEP


# --- odd lines -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["9" * 400, "1e999", "NaN", "-Infinity", '"\\ud800"', "[" * 1500 + "]" * 1500], ids=lambda value: value[:12]
)
def test_a_line_with_a_value_that_nothing_can_compute_with_or_print_is_damaged(run: runs.Run, value: str) -> None:
    log(run).write_bytes(STEP + f'{{"kind":"step","t":{value}}}\n'.encode() + STEP)
    batch = runs.read_events(run)
    assert (len(batch.events), batch.damaged) == (2, 1)


def test_what_the_writer_is_given_of_odd_texts_is_read_again(run: runs.Run) -> None:
    writer = runs.EventWriter(run)
    writer.write("note", text="räume 模型 🙂 of bad\udcffname\nand another line")
    writer.close()
    batch = runs.read_events(run)
    assert batch.damaged == 0
    assert batch.events[0]["text"] == "räume 模型 🙂 of bad?name\nand another line"


def test_a_request_with_lists_in_lists_is_none(run: runs.Run) -> None:
    reader = runs.ControlReader(run)
    with (run.path / "control.jsonl").open("w") as file:
        file.write('{"kind":"control","action":"set","value":' + "[" * 900 + "]" * 900 + "}\n")
        file.write('{"kind":"control","action":"save"}\n')
    assert [event["action"] for event in reader.poll()] == ["save"]


# --- things in the way -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["events.jsonl", "control.jsonl"])
@pytest.mark.parametrize("what", ["pipe", "folder", "device", "link"])
def test_nothing_is_written_into_what_is_no_file_of_the_run(run: runs.Run, tmp_path: Path, name: str, what: str) -> None:
    path, elsewhere = run.path / name, tmp_path / "elsewhere"
    elsewhere.write_bytes(b"kept, without a newline")
    path.unlink(missing_ok=True)
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/null" if what == "device" else elsewhere)
    reader = runs.ControlReader(run)
    with pytest.raises(OSError, match=r"not a regular file|it is a link|directory"):
        runs.EventWriter(run) if name == "events.jsonl" else runs.request(run, "stop")
    assert elsewhere.read_bytes() == b"kept, without a newline"
    assert reader.poll() == []
    if name == "events.jsonl" and what != "link":
        with pytest.raises(OSError, match="not a regular file"):
            runs.read_events(run)
        with pytest.raises(runs.RunError, match=r"cannot read .*events.jsonl: it is not a regular file"):
            run.recorded(run.new_checkpoint(1, 0))


def test_the_trainers_reader_goes_on_when_its_file_is_replaced_by_another_thing(run: runs.Run) -> None:
    reader = runs.ControlReader(run)
    runs.request(run, "save")
    control = run.path / "control.jsonl"
    control.rename(run.path / "kept")
    os.mkfifo(control)
    assert reader.poll() == []
    control.unlink()
    (run.path / "kept").rename(control)
    with patch.object(events, "open_for_reading", side_effect=PermissionError):
        assert reader.poll() == []
    assert [event["action"] for event in reader.poll()] == ["save"]
