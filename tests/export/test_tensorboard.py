"""The event file: its records are read here by the format's definition, checksums included."""

import math
import struct
import sys
from pathlib import Path

import pytest

from trs_explorer.export.log_table import Row
from trs_explorer.export.tensorboard import check_installed, event_file, write_event_file
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError, open_run
from trs_explorer.shipped import folder

ROWS = [
    Row("step", 10, 0, 100.5, {"loss/total": 2.5, "train/cosine": 1 / 3}),
    Row("probe", 20, 1, 101.25, {"probe/transfer": 0.25, "huge": 1e300}),
    Row("epoch", 20, 1, None, {"epoch/seconds": 9.0}),
]


def _masked_crc(content: bytes) -> int:
    """CRC-32C bit by bit, masked as TFRecord does."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _events(path: Path) -> list:
    from tensorboardX.proto.event_pb2 import Event

    content, events = path.read_bytes(), []
    while content:
        (size,) = struct.unpack("<Q", content[:8])
        record = content[12 : 12 + size]
        assert struct.unpack("<I", content[8:12])[0] == _masked_crc(content[:8])
        assert struct.unpack("<I", content[12 + size : 16 + size])[0] == _masked_crc(record)
        events.append(Event.FromString(record))
        content = content[16 + size :]
    return events


def test_the_file_holds_every_number_at_its_step_and_wall_time(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "run" / "events.out.tfevents.trs"
    path.parent.mkdir(parents=True)
    path.write_text("an earlier export")
    write_event_file(path, ROWS)
    version, *events = _events(path)
    assert version.file_version == "brain.Event:2"
    assert [(event.step, event.wall_time) for event in events] == [(10, 100.5), (20, 101.25), (20, 101.25)]
    values = [{value.tag: value.simple_value for value in event.summary.value} for event in events]
    assert values[0] == {"loss/total": 2.5, "train/cosine": struct.unpack("f", struct.pack("f", 1 / 3))[0]}
    assert values[1]["probe/transfer"] == 0.25
    assert math.isfinite(values[1]["huge"])
    assert values[2] == {"epoch/seconds": 9.0}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to("elsewhere")
    with pytest.raises(RunError, match="it is a link: not followed"):
        write_event_file(tmp_path / "run" / "events.out.tfevents.trs", ROWS)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_runs_have_folders_of_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder("checkpoints") / "mnist-trs")
    for path in (".", "../mnist-trs"):
        assert event_file(Path("logs"), open_run(path)).parts[:2] == ("logs", "mnist-trs")


def test_without_the_package_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    check_installed()
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(UsageError, match=r"pip install 'trs-explorer\[tensorboard\]'"):
        check_installed()
