"""`trs data`, and a training on files of the user's, with downloads from this machine."""

import dataclasses
import hashlib
import io
import socket
import tarfile
from pathlib import Path

import numpy as np
import pytest
from loopback import serving

from trs_explorer import runs
from trs_explorer.catalogue import DATA
from trs_explorer.data import cifar, fashion
from trs_explorer.sources import CIFAR10, FASHION_MNIST, Archive

RECORDS = np.random.default_rng(0).integers(0, 10, (8, 3073), np.uint8).tobytes()


def take(monkeypatch: pytest.MonkeyPatch, source: Archive, sizes: tuple[int, int] = (50_000, 10_000)) -> None:
    """Let cifar10 come from there."""
    monkeypatch.setattr(cifar, "CIFAR10", source)
    monkeypatch.setitem(DATA, "cifar10", dataclasses.replace(DATA["cifar10"], source=source, sizes=sizes))


@pytest.fixture(autouse=True)
def _no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, no Debian package, and a home where nobody listens."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("trs_explorer.sources.user_cache_path", lambda *_, **__: tmp_path / "cache")
    nowhere = dataclasses.replace(FASHION_MNIST, folder=tmp_path / "share")
    monkeypatch.setattr(fashion, "FASHION_MNIST", nowhere)
    monkeypatch.setitem(DATA, "fashion-mnist", dataclasses.replace(DATA["fashion-mnist"], source=nowhere))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/cifar-10-binary.tar.gz"
    take(monkeypatch, dataclasses.replace(CIFAR10, url=url))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """CIFAR-10's files, small."""
    made = tmp_path / "files" / CIFAR10.inside
    made.mkdir(parents=True)
    for name in CIFAR10.files:
        (made / name).write_bytes(RECORDS)
    return made


def test_list_says_where_the_files_are(trs, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = {line.split()[0]: line for line in trs("data").out.splitlines()}
    assert list(lines) == list(DATA)
    assert lines["mnist"].endswith(": comes with trs")
    assert all(lines[name].endswith(": computed") for name in ("bars", "moons", "circles"))
    assert lines["cifar10"].endswith("photographs of 10 things, 50,000 + 10,000: downloaded when needed, 170.1 MB")
    assert ": not here: on Debian or Ubuntu apt install dataset-fashion-mnist; elsewhere" in lines["fashion-mnist"]
    (tmp_path / "cache").mkdir()
    folder.rename(tmp_path / "cache" / CIFAR10.inside)
    take(monkeypatch, dataclasses.replace(CIFAR10, files=dict.fromkeys(CIFAR10.files, len(RECORDS))))
    (tmp_path / "share").mkdir()
    for name in FASHION_MNIST.names:
        (tmp_path / "share" / f"{name}.gz").touch()
    said = trs("data").out
    assert f": in {tmp_path / 'cache' / CIFAR10.inside}\n" in said
    assert f": in {tmp_path / 'share'}\n" in said


def test_get_downloads_once_and_says_what_is_whole(trs, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.add(folder, CIFAR10.inside)
    content = packed.getvalue()
    with serving(content, "cifar-10-binary.tar.gz") as home:
        sizes = dict.fromkeys(CIFAR10.files, len(RECORDS))
        checksum = hashlib.sha256(content).hexdigest()
        take(monkeypatch, Archive(home.url, len(content), checksum, CIFAR10.inside, sizes), (40, 8))
        whole = "cifar10 train: 40 images, 10 classes, complete\ncifar10 test: 8 images, 10 classes, complete\n"
        first = trs("data", "get", "cifar10")
        assert (first.status, first.out, first.err) == (0, whole, f"downloading {home.url} (0.0 MB)\n")
        second = trs("data", "get", "cifar10")
        assert (second.status, second.out, second.err) == (0, whole, "")
        assert home.asked == [""]


def test_get_says_whole_of_nothing_else(trs, folder: Path) -> None:
    said = trs("data", "get", "cifar10", "--data-dir", folder)
    assert said.status == 2
    assert "cifar10 train: 40 images, 10 classes, but the set has 50,000: files are missing or cut" in said.err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("data get cifar10", "cifar-10-binary.tar.gz cannot be had (Connection refused): connect to a network, or get the files"),
        ("train --data cifar10", "cannot be had (Connection refused)"),
        ("data get fashion-mnist", "apt install dataset-fashion-mnist"),
        ("train --data fashion-mnist", "apt install dataset-fashion-mnist"),
    ],
)
def test_what_cannot_be_had_is_said_in_a_line_and_leaves_no_run(trs, tmp_path: Path, line: str, words: str) -> None:
    result = trs(*line.split())
    assert (result.status, result.out) == (2, "")
    assert words in result.err
    assert result.err.count("\n") == 1
    assert not any((tmp_path / "checkpoints").glob("*"))


def test_a_wrong_folder_leaves_no_run(trs, tmp_path: Path) -> None:
    result = trs("train", "--data", "cifar10", "--model", "patch", "--data-dir", "nowhere")
    assert result.status == 2
    assert "nowhere is not there: correct --data-dir" in result.err
    assert not any((tmp_path / "checkpoints").glob("*"))


def test_an_ensemble_trains_on_the_users_cifar_files(trs, tmp_path: Path, folder: Path) -> None:
    line = "train --data cifar10 --model patch --method cos-l2 --members 2 --epochs 1 --batch-size 20 --plain --device cpu"
    result = trs(*line.split(), "--data-dir", folder.parent, "--out", tmp_path / "run")
    assert result.status == 0, result.err
    config = runs.open_run(tmp_path / "run").config
    assert (config.augment, config.lr, config.options["delta"]) == (True, 1e-3, 0)
    result = trs(*line.split(), "--data-dir", folder.parent, "--no-augment", "--out", tmp_path / "plain")
    assert result.status == 0, result.err
    assert not runs.open_run(tmp_path / "plain").config.augment
