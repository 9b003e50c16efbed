"""Files that are asked for: whole or not there, in UTF-8, wherever they lead."""

import errno
import os
from pathlib import Path

import pytest

from trs_explorer.cli import exports
from trs_explorer.cli.exports import as_csv, check_parent, exported, write_file
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError


def test_a_file_is_replaced_in_utf8_with_its_rights_and_through_a_link(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("before")
    file.chmod(0o600)
    link.symlink_to(file)
    write_file(link, "ε")
    assert file.read_bytes() == "ε".encode()
    assert (link.is_symlink(), file.stat().st_mode & 0o777) == (True, 0o600)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "link"}


def test_what_cannot_be_written_is_named_after_the_work_and_nothing_is_left(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "a.csv").write_text("before")
    true = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if "b.json" in path.name:
            return true(path, content)
        true(path, content[:3])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    shown = []
    files = [(tmp_path / name, lambda: "content") for name in ("a.csv", "b.json", "c.html")]
    with pytest.raises(RunError) as failed, exported(*files, (None, lambda: pytest.fail("it has no name"))):
        shown.append([path.name for path in sorted(tmp_path.iterdir())])
    assert shown == [["a.csv", "b.json"]]  # before anything is printed
    assert str(failed.value).splitlines() == [
        f"cannot write {tmp_path / name}: {os.strerror(errno.ENOSPC)}" for name in ("a.csv", "c.html")
    ]
    assert (tmp_path / "a.csv").read_text() == "before"


def test_a_pipe_gets_it_as_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reading = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_file(tmp_path / "pipe", "content")
    assert os.read(reading, 100) == b"content"
    os.close(reading)
    assert (tmp_path / "pipe").is_fifo()


def test_standard_output_by_its_name_does_not_overwrite_what_is_printed(tmp_path: Path, monkeypatch) -> None:
    with (tmp_path / "out").open("w") as out:
        monkeypatch.setattr("sys.stdout", out)
        with exported((tmp_path / "out", lambda: "first\n")):
            print("second")
    assert (tmp_path / "out").read_text() == "first\nsecond\n"


def test_a_file_that_can_never_be_written_is_refused_before_the_work(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(exports.os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(UsageError, match="permission is missing"):
        check_parent(tmp_path / "new.csv")


def test_a_name_is_no_formula_and_any_file_can_hold_it() -> None:
    text = as_csv(["run", "eps"], [["=1+1", -0.5], ["a\x1b[31m", 0.1], ["bad\udcff", 1]])
    assert text.encode().decode().splitlines() == ["run,eps", "'=1+1,-0.5", r"a\x1b[31m,0.1", r"bad\xff,1"]
