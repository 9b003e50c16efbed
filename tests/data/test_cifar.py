"""CIFAR's binary version, from files that the test writes."""

import dataclasses

import numpy as np
import pytest
import torch
from data_files import records

from trs_explorer.data import cifar, load
from trs_explorer.options import UsageError
from trs_explorer.sources import CIFAR10, CIFAR100

TRAIN10 = [[(k,), (9 - k,)] for k in range(5)]  # labels of the five files
TEST10 = [(3,), (0,), (9,)]
TRAIN100, TEST100 = [(19, 99), (0, 1)], [(4, 7)]


@pytest.fixture
def folder(tmp_path):
    """Both sets' files side by side; their names differ."""
    for k, labels in enumerate(TRAIN10):
        (tmp_path / f"data_batch_{k + 1}.bin").write_bytes(records(labels, seed=k)[0])
    (tmp_path / "test_batch.bin").write_bytes(records(TEST10, seed=5)[0])
    (tmp_path / "train.bin").write_bytes(records(TRAIN100, seed=6)[0])
    (tmp_path / "test.bin").write_bytes(records(TEST100, seed=7)[0])
    return tmp_path


def check(data, labels, images):
    assert data.y.tolist() == [label[-1] for label in labels]
    assert data.x.dtype == torch.uint8
    for (k, row, column, channel), pixel in np.ndenumerate(images[:, ::5, ::3]):
        assert data.x[k, channel, 5 * row, 3 * column] == pixel


def test_cifar10_is_the_files_in_their_order(folder):
    images = np.concatenate([records(labels, seed=k)[1] for k, labels in enumerate(TRAIN10)])
    check(load("cifar10", train=True, data_dir=str(folder)), [label for labels in TRAIN10 for label in labels], images)
    check(load("cifar10", train=False, data_dir=str(folder)), TEST10, records(TEST10, seed=5)[1])


def test_cifar100_has_the_fine_labels(folder):
    check(load("cifar100", train=True, data_dir=str(folder)), TRAIN100, records(TRAIN100, seed=6)[1])
    check(load("cifar100", train=False, data_dir=str(folder)), TEST100, records(TEST100, seed=7)[1])


@pytest.mark.parametrize(("name", "inside"), [("cifar10", "cifar-10-batches-bin"), ("cifar100", "cifar-100-binary")])
def test_the_folder_above_will_do(folder, tmp_path_factory, name, inside):
    above = tmp_path_factory.mktemp("above")
    folder.rename(above / inside)
    assert len(load(name, train=False, data_dir=str(above))) == len(load(name, train=False, data_dir=str(above / inside)))


def test_without_a_folder_the_cache_is_read_if_every_file_has_its_size(folder, tmp_path_factory, monkeypatch):
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr("trs_explorer.sources.user_cache_path", lambda *_, **__: cache)
    asked = []
    monkeypatch.setattr(cifar, "obtain", lambda archive: asked.append(archive) or archive.folder)
    folder.rename(CIFAR10.folder)
    assert load("cifar10", train=False).y.tolist() == [3, 0, 9]
    assert asked == [CIFAR10]
    assert CIFAR10.folder == cache / "cifar-10-batches-bin"
    assert not CIFAR10.is_here
    sizes = {name: (CIFAR10.folder / name).stat().st_size for name in CIFAR10.files}
    small = dataclasses.replace(CIFAR10, files=sizes)
    assert small.is_here
    assert not dataclasses.replace(small, files={**sizes, "test_batch.bin": 3 * 3073 - 1}).is_here
    (small.folder / "test_batch.bin").unlink()
    assert not small.is_here


def test_the_sizes_of_the_real_files_are_whole_records():
    assert {size / 3073 for size in CIFAR10.files.values()} == {10_000}
    assert [size / 3074 for size in CIFAR100.files.values()] == [50_000, 10_000]


@pytest.mark.parametrize(
    ("data", "name", "content", "message"),
    [
        (
            "cifar10",
            "data_batch_3.bin",
            records(TEST10)[0][:-1],
            r"data_batch_3\.bin holds 9,218 bytes, .*records of 3,073 bytes",
        ),
        ("cifar10", "data_batch_1.bin", b"", r"data_batch_1\.bin holds 0 bytes"),
        ("cifar10", "data_batch_5.bin", records([(10,)])[0], r"data_batch_5\.bin holds the label 10 where 0 \.\. 9 can be"),
        ("cifar100", "train.bin", records(TEST10)[0], r"train\.bin holds 9,219 bytes, .*records of 3,074 bytes"),
        ("cifar100", "train.bin", records([(20, 0)])[0], r"train\.bin holds the label 20 where 0 \.\. 19"),
        ("cifar100", "train.bin", records([(0, 100)])[0], r"train\.bin holds the label 100 where 0 \.\. 99"),
        ("cifar10", "data_batch_4.bin", None, r"data_batch_4\.bin cannot be read \(No such file"),
    ],
)
def test_a_wrong_file_is_named(folder, data, name, content, message):
    path = folder / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        load(data, train=True, data_dir=str(folder))


def test_a_wrong_folder_is_named_and_nothing_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "obtain", lambda archive: pytest.fail("it downloads"))
    with pytest.raises(UsageError, match=r"has neither test\.bin nor a folder cifar-100-binary with them: correct --data-dir"):
        load("cifar100", train=False, data_dir=str(tmp_path))
    with pytest.raises(UsageError, match="nowhere is not there: correct --data-dir"):
        load("cifar10", train=True, data_dir=str(tmp_path / "nowhere"))
