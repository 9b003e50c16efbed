"""A split as tensors, and finding it by name."""

import dataclasses
import gzip
import hashlib
import importlib
import inspect
from pathlib import Path

import pytest
import torch
from data_files import idx_files

import trs_explorer.data
from trs_explorer import catalogue
from trs_explorer.data import Dataset, load
from trs_explorer.data.dataset import fingerprint
from trs_explorer.options import UsageError

X = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1)
Y = torch.tensor([0, 1, 1])


def test_bytes_become_pixels_in_0_1():
    data = Dataset("tiny", X, Y, 2)
    assert len(data) == 3
    torch.testing.assert_close(data.images(torch.tensor([2, 1])), torch.tensor([1.0, 0.2]).view(2, 1, 1, 1))
    torch.testing.assert_close(data.images(slice(0, 1)), torch.zeros(1, 1, 1, 1))


def test_images_are_a_copy():
    data = Dataset("tiny", X.float() / 255, Y, 2)
    data.images(slice(0, 3)).fill_(9)
    assert float(data.x.max()) == 1


def test_to_moves_both_tensors_and_keeps_the_rest():
    moved = Dataset("tiny", X, Y, 2).to(torch.device("cpu"))
    assert (moved.name, moved.classes, moved.x.device.type, moved.y.device.type) == ("tiny", 2, "cpu", "cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": X.float()}, r"must lie in \[0, 1\], got \[0, 255\]"),
        ({"x": X.float() * float("nan")}, "must lie in"),
        ({"y": torch.tensor([0, 1, 2])}, r"labels must lie in 0 \.\. 1, got 0 \.\. 2"),
        ({"y": torch.tensor([0, -1, 1])}, "labels must lie"),
        ({"y": Y[:2]}, "n > 0 labels"),
        ({"x": X[:0], "y": Y[:0]}, "n > 0 labels"),
        ({"x": X.double() / 255}, "uint8 or float32"),
        ({"y": Y.int()}, "labels int64"),
    ],
)
def test_wrong_tensors_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(Dataset("tiny", X, Y, 2), **change)


@pytest.mark.parametrize("name", [name for name, about in catalogue.DATA.items() if about.source is None])
@pytest.mark.parametrize("train", [True, False])
def test_every_data_set_that_comes_with_trs_is_what_the_catalogue_says(name, train):
    about = catalogue.DATA[name]
    data = load(name, train=train, limit=100)
    assert data.x.shape == (100, *about.shape)
    assert data.classes == about.classes == len(data.y.unique())
    pixels = data.images(slice(0, 100))
    assert pixels.dtype == torch.float32
    assert 0 <= pixels.min() <= pixels.max() <= 1


def test_limit_takes_the_first_and_frees_the_rest():
    whole, first = load("bars", train=True), load("bars", train=True, limit=7)
    assert torch.equal(first.x, whole.x[:7])
    assert torch.equal(first.y, whole.y[:7])
    assert first.x.untyped_storage().nbytes() == 7 * 2 * 4
    assert len(load("bars", train=True, limit=10**9)) == len(whole)


def test_the_fingerprint_is_the_sha256_of_types_shapes_and_bytes() -> None:
    words = [b"torch.uint8 [3, 1, 1, 1] ", bytes((0, 51, 255)), b"torch.int64 [3] "]
    expected = hashlib.sha256(b"".join([*words, *(label.to_bytes(8, "little") for label in (0, 1, 1))])).hexdigest()
    assert fingerprint(X, Y) == expected
    others = [fingerprint(X + 1, Y), fingerprint(X, 1 - Y), fingerprint(X.float() / 255, Y), fingerprint(X.view(3, 1, 1), Y)]
    assert len({expected, *others}) == 5


def test_one_set_has_one_fingerprint_a_split_packed_or_limited(tmp_path: Path) -> None:
    plain, packed = idx_files(tmp_path / "plain", seed=1), tmp_path / "packed"
    packed.mkdir()
    for file in plain.iterdir():
        (packed / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    found = {
        load("mnist", train=train, data_dir=str(folder), limit=limit).fingerprint
        for train in (True, False)
        for folder in (plain, packed)
        for limit in (0, 7)
    }
    assert len(found) == 2
    other = load("mnist", train=False, data_dir=str(idx_files(tmp_path / "other", seed=2)))
    assert other.fingerprint == fingerprint(other.x, other.y) not in found
    assert other.to("cpu").fingerprint == other.fingerprint


@pytest.mark.parametrize("name", [name for name, about in catalogue.DATA.items() if about.source is None])
def test_the_catalogue_knows_what_comes_with_trs_and_computed_sets_have_no_fingerprint(name: str) -> None:
    found = {split: load(name, train=split == "train").fingerprint for split in ("train", "test")}
    about = catalogue.DATA[name]
    assert found == (dict.fromkeys(found, "") if about.computed else about.fingerprint)
    assert about.computed == (about.shape == (1, 1, 2))


@pytest.mark.parametrize("error", [OSError(5, "Input/output error", "/disk/images"), PermissionError(13, "Permission denied")])
def test_a_file_that_cannot_be_read_is_named_with_the_set_and_the_way_out(monkeypatch, error: OSError) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(catalogue, "load", lambda _: broken)
    where = error.filename or "its files"
    with pytest.raises(UsageError, match=rf"^fashion-mnist cannot be read: {where}: {error.strerror}\. .*--data-dir$"):
        load("fashion-mnist", train=True)


def test_wrong_requests_say_the_way_out():
    with pytest.raises(UsageError, match="Did you mean mnist"):
        load("mnits", train=True)
    with pytest.raises(UsageError, match="--limit must be >= 0"):
        load("bars", train=True, limit=-1)


def test_a_loader_that_breaks_its_word_is_caught(monkeypatch):
    about = dataclasses.replace(catalogue.DATA["bars"], shape=(1, 2, 1))
    monkeypatch.setitem(catalogue.DATA, "bars", about)
    with pytest.raises(ValueError, match="the catalogue says"):
        load("bars", train=True)


def test_every_loader_is_in_the_table():
    listed = {about.loader for about in catalogue.DATA.values()}
    found = set()
    for path in Path(trs_explorer.data.__file__).parent.glob("*.py"):
        module = importlib.import_module(f"trs_explorer.data.{path.stem}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if list(inspect.signature(function).parameters) == ["train", "data_dir", "seed"]:
                found.add(f"{module.__name__}:{name}")
    of_users = {"trs_explorer.data.custom:custom_split"}  # which the table has once such data is named
    assert found == listed | of_users
