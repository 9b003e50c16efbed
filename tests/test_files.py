"""Names and texts that strangers have chosen, files that they have put in the way, disks that take nothing."""

import errno
import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trs_explorer.files import (
    MAX_JSON_BYTES,
    cannot_write,
    is_regular,
    natural_order,
    open_for_appending,
    open_for_reading,
    printable,
    read_json,
    read_report,
    sha256,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a run of räume ε 模型 🙂", "a run of räume ε 模型 🙂"),
        ("C:\\runs\\a", "C:\\runs\\a"),
        ("bad\udcffname", "bad\\xffname"),
        ("\x1b]0;title\x07\x1b[2J", "\\x1b]0;title\\x07\\x1b[2J"),
        ("two\nlines\r\t", "two\\nlines\\r\\t"),
        ("\x9b31m", "\\x9b31m"),  # a control sequence in one character
        ("txt.\u202egnp", "txt.\\u202egnp"),  # turns the direction of what follows
        ("lone \ud800", "lone \\ud800"),
        (Path("/somewhere/a\x1b"), "/somewhere/a\\x1b"),
        (7, "7"),
    ],
)
def test_what_is_not_printable_is_shown_as_an_escape(text: object, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters()))
def test_any_text_becomes_printable_and_stays_so(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    shown.encode()
    assert printable(shown) == shown


def test_names_are_in_the_order_in_which_people_count() -> None:
    names = ["trs-2", "trs-10", "trs-bars-2", "trs-bars-10", "trs-bars-10-b", "x", "x01", "x1"]
    assert sorted(set(names), key=natural_order) == names
    assert sorted(["10", "a", "9", ""], key=natural_order) == ["", "9", "10", "a"]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "No space left on device. Make room, then go on"),
        (errno.EACCES, "Permission denied. Get permission to write there, then go on"),
        (errno.EROFS, "Read-only file system. Make the disk writable, then go on"),
        (errno.EIO, "Input/output error. Go on"),
    ],
)
def test_the_way_out_of_a_write_that_failed_is_that_of_its_reason(tmp_path: Path, number: int, words: str) -> None:
    error = OSError(number, os.strerror(number), str(tmp_path / "file"))
    assert cannot_write(tmp_path, error, "go on") == f"cannot write to {tmp_path}: {words}"
    assert cannot_write(tmp_path, error) == f"cannot write to {tmp_path}: {words}".removesuffix(", then go on").removesuffix(
        ". Go on"
    )


def test_a_folder_that_was_removed_needs_no_room(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(FileNotFoundError) as refused:
        (gone / "file").write_text("")
    assert cannot_write(gone, refused.value, "go on") == (
        f"cannot write to {gone}: it was removed or moved meanwhile. Put it back, then go on"
    )


def _fill(path: Path, what: str) -> None:
    """Put something in the place of a file."""
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "device":
        path.symlink_to("/dev/zero")
    else:
        path.symlink_to(path.with_name("nowhere"))


@pytest.mark.parametrize("what", ["pipe", "folder", "device", "link"])
def test_what_is_no_regular_file_is_neither_read_nor_written_nor_waited_for(tmp_path: Path, what: str) -> None:
    path = tmp_path / "file"
    _fill(path, what)
    assert not is_regular(path)
    for use in (open_for_reading, open_for_appending, sha256):
        with pytest.raises(OSError, match=r"regular file|link|directory|No such file"):
            use(path)
    assert read_json(path) is None
    assert not (tmp_path / "nowhere").exists()


def test_a_link_is_read_through_and_never_written_through(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("kept")
    (tmp_path / "link").symlink_to("target")
    assert is_regular(tmp_path / "link")
    with open_for_reading(tmp_path / "link") as file:
        assert file.read() == b"kept"
    with pytest.raises(OSError, match="it is a link: not followed") as refused:
        open_for_appending(tmp_path / "link")
    assert cannot_write(tmp_path, refused.value) == (
        f"cannot write to {tmp_path}/link: it is a link: not followed. Move it out of the way"
    )
    assert (tmp_path / "target").read_text() == "kept"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('\ufeff{"a": 1}', 1),  # a byte order mark
        ('{"a": 18446744073709551615}', 2**64 - 1),
        ('{"a": -9223372036854775808}', -(2**63)),
        ('{"a": 1%s}' % ("0" * 30), 1e30),
        ('{"a": 1%s}' % ("0" * 400), math.nan),
        ('{"a": -1%s}' % ("0" * 4999), math.nan),
        ('{"a": 1e999}', math.nan),
        ('{"a": -Infinity}', math.nan),
        ('{"a": "\\ud83d\\ude42"}', "🙂"),
    ],
)
def test_numbers_of_a_damaged_file_are_such_that_code_can_compute_with_them(tmp_path: Path, text: str, value: object) -> None:
    (tmp_path / "file").write_text(text, encoding="utf-8")
    for read in (read_json, read_report):
        stored = read(tmp_path / "file")
        assert stored is not None
        assert repr(stored["a"]) == repr(value)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text('{"a": 1}' + " " * MAX_JSON_BYTES)
    assert read_json(tmp_path / "file") is None


def test_what_is_shown_has_no_surrogates_and_what_is_kept_has_its_own(tmp_path: Path) -> None:
    (tmp_path / "file").write_text(json.dumps({"bad\udcff": ["bad\ud800", math.nan]}))
    assert read_json(tmp_path / "file")["bad\udcff"][0] == "bad\ud800"
    assert read_report(tmp_path / "file")["bad?"][0] == "bad?"
    (tmp_path / "file").write_text('{"a": "\\ud800", "b": ' + "[" * 900 + "]" * 900 + "}")
    read_report(tmp_path / "file")  # however deep
