"""Downloads from a server on this machine: whole, interrupted and resumed, wrong, and none."""

import hashlib
import io
import random
import socket
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from loopback import Home, serving

import trs_explorer
from trs_explorer.data import download
from trs_explorer.data.download import fetch, obtain
from trs_explorer.options import UsageError
from trs_explorer.sources import Archive

NAME = "tiny-binary.tar.gz"
FILES = {"train.bin": random.Random(1).randbytes(150_000), "test.bin": random.Random(2).randbytes(50_000)}


def packed(files: dict[str, bytes], *, link: str = "") -> bytes:
    """A .tar.gz of those files, by path, with a link of that name."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        if link:
            member = tarfile.TarInfo(link)
            member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc/passwd", len(FILES["test.bin"])
            tar.addfile(member)
    return file.getvalue()


CONTENT = packed({f"tiny-bin/{name}": content for name, content in FILES.items()} | {"tiny-bin/readme.html": b"hello"})


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(CONTENT, NAME) as served:
        yield served


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("trs_explorer.sources.user_cache_path", lambda *_, **__: tmp_path / "cache")
    return tmp_path / "cache"


def archive_of(home: Home, content: bytes = CONTENT) -> Archive:
    sizes = {name: len(file) for name, file in FILES.items()}
    return Archive(home.url, len(content), hashlib.sha256(content).hexdigest(), "tiny-bin", sizes)


def get(home: Home, folder: Path, content: bytes = CONTENT) -> Path:
    """Fetch what should be `content`."""
    return fetch(home.url, size=len(content), sha256=hashlib.sha256(content).hexdigest(), folder=folder)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("announce", [True, False])
def test_a_file_arrives_and_is_not_asked_for_again(home, tmp_path, capsys, announce):
    home.announce = announce
    path = get(home, tmp_path)
    assert path == tmp_path / NAME
    assert path.read_bytes() == CONTENT
    assert get(home, tmp_path) == path
    assert home.asked == [""]
    assert names(tmp_path) == {NAME}
    assert capsys.readouterr().err == f"downloading {home.url} (0.2 MB)\n"


def test_a_terminal_gets_a_bar(home, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    get(home, tmp_path)
    said = capsys.readouterr().err
    assert NAME in said
    assert "\x1b[" in said
    assert "downloading" not in said


@pytest.mark.parametrize("announce", [True, False])
def test_what_broke_off_goes_on_where_it_was(home, tmp_path, capsys, announce):
    home.cut, home.announce = 70_000, announce
    with pytest.raises(UsageError, match=r"stopped at 0\.1 MB of 0\.2 MB, which are kept: the same command continues from there"):
        get(home, tmp_path)
    assert names(tmp_path) == {f"{NAME}.part"}
    part = (tmp_path / f"{NAME}.part").read_bytes()
    assert 70_000 - download.CHUNK <= len(part) <= 70_000  # of the piece that broke off nothing is kept
    assert part == CONTENT[: len(part)]
    home.cut, home.sent = -1, 0
    assert get(home, tmp_path).read_bytes() == CONTENT
    assert home.asked == ["", f"bytes={len(part)}-"]
    assert home.sent == len(CONTENT) - len(part)
    assert names(tmp_path) == {NAME}
    assert "(0.2 MB, from 0.1 MB on)" in capsys.readouterr().err


def test_a_server_without_ranges_starts_over(home, tmp_path):
    home.ranges = False
    (tmp_path / f"{NAME}.part").write_bytes(b"x" * 70_000)
    assert get(home, tmp_path).read_bytes() == CONTENT
    assert home.asked == ["bytes=70000-"]


def test_what_is_whole_but_was_not_checked_is_only_checked(home, tmp_path):
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT)
    assert get(home, tmp_path).read_bytes() == CONTENT
    assert home.asked == []
    assert names(tmp_path) == {NAME}


@pytest.mark.parametrize("start", [b"", b"another file's first bytes"])
def test_a_wrong_checksum_leaves_nothing(home, tmp_path, start):
    right = CONTENT if start else CONTENT[:-1] + b"\1"
    if start:
        (tmp_path / f"{NAME}.part").write_bytes(start)
    with pytest.raises(UsageError) as caught:
        get(home, tmp_path, right)
    got = hashlib.sha256(start + CONTENT[len(start) :]).hexdigest()
    for words in (home.url, hashlib.sha256(right).hexdigest(), got, "It was removed: try again"):
        assert words in str(caught.value)
    assert names(tmp_path) == set()


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_of_another_size_is_refused_before_it_is_read(home, tmp_path, change):
    home.content = (CONTENT + b"\0")[: len(CONTENT) + change]
    with pytest.raises(UsageError, match=rf"gives a file of {len(home.content):,} bytes instead of {len(CONTENT):,}"):
        get(home, tmp_path)
    assert names(tmp_path) == set()
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT[:9])
    with pytest.raises(UsageError, match="gives a file of"):
        get(home, tmp_path)
    assert (tmp_path / f"{NAME}.part").read_bytes() == CONTENT[:9]


def test_a_body_that_goes_on_is_not_waited_for(home, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", (10, 0.5))
    home.announce, home.content, home.hold = False, CONTENT + bytes(200_000), len(CONTENT) + download.CHUNK
    home.go.clear()
    assert get(home, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(("status", "kept"), [(404, True), (503, True), (416, False)])
def test_a_refusal_is_said_with_its_number(home, tmp_path, status, kept):
    home.status = status
    with pytest.raises(UsageError, match=rf"{NAME} answers {status} \w.*--data-dir"):
        get(home, tmp_path)
    assert names(tmp_path) == set()
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT[:9])
    with pytest.raises(UsageError, match=f"answers {status}"):
        get(home, tmp_path)
    assert (tmp_path / f"{NAME}.part").exists() == kept


def test_without_a_network_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        home = Home(b"", f"http://127.0.0.1:{closed.getsockname()[1]}/{NAME}")
        with pytest.raises(UsageError, match=r"cannot be had \(Connection refused\): connect to a network, or .*--data-dir"):
            get(home, tmp_path)
        assert names(tmp_path) == set()
        (tmp_path / f"{NAME}.part").write_bytes(CONTENT[:9])
        with pytest.raises(UsageError, match=r"which are kept: .* \(Connection refused\)"):
            get(home, tmp_path)


def test_ctrl_c_keeps_what_has_arrived_and_says_so(home, tmp_path, capsys, monkeypatch):
    @contextmanager
    def interrupted(*_: object):
        def show(now: int) -> None:
            if now > 100_000:
                raise KeyboardInterrupt

        yield show

    monkeypatch.setattr(download, "_download_progress", interrupted)
    with pytest.raises(KeyboardInterrupt):
        get(home, tmp_path)
    assert names(tmp_path) == {f"{NAME}.part"}
    have = (tmp_path / f"{NAME}.part").read_bytes()
    assert 100_000 < len(have) < len(CONTENT)
    assert have == CONTENT[: len(have)]
    assert "MB of 0.2 MB, which are kept: the same command continues from there" in capsys.readouterr().err


def test_the_files_are_unpacked_and_nothing_else_is_left(home, cache):
    archive = archive_of(home)
    assert not archive.is_here
    assert archive.where == "downloaded when needed, 0.2 MB"
    folder = cache / "tiny-bin"
    assert obtain(archive) == folder
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES
    assert names(folder) - {"download.lock"} == set(FILES)
    assert names(cache) == {"tiny-bin"}
    assert archive.where == f"in {folder}"
    assert obtain(archive) == folder
    assert home.asked == [""]


def test_a_damaged_cache_is_replaced_and_the_dead_are_swept_away(home, cache):
    archive = archive_of(home)
    obtain(archive)
    (archive.folder / "test.bin").write_bytes(b"short")
    (archive.folder / "tmpq8x").write_bytes(b"pooch's, of a process that was killed")
    (archive.folder / ".train.bin.17.tmp").write_bytes(b"ours, of a process that was killed")
    obtain(archive)
    assert (archive.folder / "test.bin").read_bytes() == FILES["test.bin"]
    assert names(archive.folder) - {"download.lock"} == set(FILES)


HOSTILE = {"../test.bin": b"out", "/tmp/test.bin": b"out", "tiny-bin/../test.bin": b"out", "tiny-bin/sub/test.bin": b"no"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (packed({"tiny-bin/train.bin": FILES["train.bin"]}), r"has no test\.bin in tiny-bin"),
        (packed({"tiny-bin/test.bin": b"short"}), r"tiny-bin/test\.bin is no plain file of 50,000 bytes \(it has 5\)"),
        (packed({}, link="tiny-bin/test.bin"), "is no plain file of 50,000 bytes"),
        (packed(HOSTILE), r"has no test\.bin, train\.bin in tiny-bin"),
        (CONTENT[:-60_000], "cannot be unpacked"),
        (b"no archive at all", "cannot be unpacked"),
    ],
    ids=["missing", "short", "link", "hostile", "truncated", "no archive"],
)
def test_an_archive_that_is_not_what_it_should_be_writes_nothing_wrong(home, cache, content, message):
    """Its checksum is right, so the table is wrong: nothing lands outside, or under the name of something else."""
    home.content = content
    archive = archive_of(home, content)
    with pytest.raises(UsageError, match=message):
        obtain(archive)
    assert not archive.is_here
    assert names(archive.folder) - {"download.lock", "train.bin"} == {NAME}
    assert {path.name for path in cache.parent.rglob("*")} <= {"cache", "tiny-bin", "download.lock", "train.bin", NAME}


def test_two_at_once_download_once(home, cache, capsys):
    home.go.clear()
    archive = archive_of(home)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(obtain, archive) for _ in range(2)]
        said, until = "", time.monotonic() + 20
        while "waiting for it" not in said and time.monotonic() < until:
            said += capsys.readouterr().err
            time.sleep(0.005)
        home.go.set()
        assert [one.result() for one in both] == [archive.folder] * 2
    assert f"another trs is downloading to {archive.folder}: waiting for it\n" in said
    assert home.asked == [""]
    assert archive.is_here


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_full_disk_is_said(home, cache):
    archive = archive_of(home)
    archive.folder.mkdir(parents=True)
    (archive.folder / f"{NAME}.part").symlink_to("/dev/full")
    with pytest.raises(UsageError, match=rf"cannot write to {archive.folder}: No space left on device\. Make room"):
        obtain(archive)
    assert not (archive.folder / NAME).exists()


def test_a_cache_that_cannot_be_made_is_said(home, cache):
    cache.write_text("a file where the folder should be")
    with pytest.raises(
        UsageError, match=r"cannot write to .*tiny-bin: (Not a directory|File exists)\. Move .*, or get the files"
    ):
        obtain(archive_of(home))


@pytest.mark.slow
def test_a_kill_in_the_middle_costs_nothing(home, cache):
    """A process of its own is killed while it waits for the rest; the next one asks for the rest only."""
    archive = archive_of(home)
    code = f"""
from pathlib import Path
from trs_explorer import sources
from trs_explorer.data.download import obtain
sources.user_cache_path = lambda *_, **__: Path({str(cache)!r})
obtain(sources.{archive!r})
"""
    home.hold = 100_000
    home.go.clear()
    part = archive.folder / f"{NAME}.part"
    with subprocess.Popen([sys.executable, "-c", code], cwd=Path(trs_explorer.__file__).parents[1]) as process:
        until = time.monotonic() + 60
        while process.poll() is None and not (part.exists() and part.stat().st_size > 60_000) and time.monotonic() < until:
            time.sleep(0.01)
        process.kill()
    home.go.set()
    have = part.stat().st_size
    assert 60_000 < have <= 100_000
    obtain(archive)
    assert home.asked == ["", f"bytes={have}-"]
    assert {name: (archive.folder / name).read_bytes() for name in FILES} == FILES
    assert names(archive.folder) - {"download.lock"} == set(FILES)
