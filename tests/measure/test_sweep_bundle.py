"""A run as bytes: what is in them, and that what comes back writes a run's files alone."""

import io
import tarfile
from pathlib import Path

import pytest

from trs_explorer.measure.sweep import bundle
from trs_explorer.measure.sweep.bundle import pack, unpack
from trs_explorer.runs import RunError

FILES = ("config.json", "events.jsonl", "status.json", "epoch-0007.safetensors", "state-0007-000012.pt", "results/table1.json")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    (path / "results").mkdir(parents=True)
    for name in (*FILES, "control.jsonl", "trainer.lock", ".config.json.7.tmp", "results/unfinished.txt"):
        (path / name).write_text(name)
    (path / "epoch-0008.safetensors").symlink_to("/etc/hostname")
    return path


def files(path: Path) -> set[str]:
    return {one.relative_to(path).as_posix() for one in path.rglob("*") if one.is_file()}


def test_a_run_comes_back_with_its_files_and_no_others(run: Path, tmp_path: Path) -> None:
    target = tmp_path / "there"
    target.mkdir()
    (target / "epoch-0001.safetensors").write_text("older")
    unpack(pack(run), target)
    assert files(target) == set(FILES)
    assert all((target / name).read_text() == name for name in FILES)
    assert {path.name for path in tmp_path.iterdir()} == {"run", "there"}


def packed(name: str, kind: bytes = tarfile.REGTYPE) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, "/etc/passwd"
        tar.addfile(entry, io.BytesIO(b""))
    return made.getvalue()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../config.json", tarfile.REGTYPE),
        ("/tmp/config.json", tarfile.REGTYPE),
        ("results/../../x.json", tarfile.REGTYPE),
        ("results/x/y.json", tarfile.REGTYPE),
        ("mine.py", tarfile.REGTYPE),
        ("config.json", tarfile.SYMTYPE),
        ("config.json", tarfile.LNKTYPE),
        ("config.json", tarfile.CHRTYPE),
        ("config.json\n", tarfile.REGTYPE),
    ],
)
def test_any_other_name_or_kind_is_refused_and_nothing_is_changed(run: Path, tmp_path: Path, name: str, kind: bytes) -> None:
    before = files(run)
    with pytest.raises(RunError, match="no run has"):
        unpack(packed(name, kind), run)
    assert files(run) == before
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_too_much_and_damaged_bytes_are_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match="damaged"):
        unpack(b"x" * 2000, run)
    whole = pack(run)
    monkeypatch.setattr(bundle, "MOST_BYTES", 20)
    with pytest.raises(RunError, match="too much to fetch"):
        pack(run)
    with pytest.raises(RunError, match="no run has"):
        unpack(whole, run)
