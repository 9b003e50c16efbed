"""MNIST from files that the test writes, and the embedded files against known facts about them."""

import gzip

import pytest
import torch
from data_files import idx

from trs_explorer.data import load, mnist
from trs_explorer.options import UsageError

IMAGES = (torch.arange(3 * 28 * 28) % 251).view(3, 28, 28).to(torch.uint8)
LABELS = torch.tensor([7, 0, 9], dtype=torch.uint8)


@pytest.fixture
def folder(tmp_path):
    for split in ("train", "t10k"):
        (tmp_path / f"{split}-images-idx3-ubyte").write_bytes(idx(IMAGES))
        (tmp_path / f"{split}-labels-idx1-ubyte").write_bytes(idx(LABELS))
    return tmp_path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("train", [False, True])
def test_a_folder_of_the_users(folder, packed, train):
    if packed:
        for path in list(folder.iterdir()):
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    data = load("mnist", train=train, data_dir=str(folder))
    assert torch.equal(data.x, IMAGES[:, None])
    assert torch.equal(data.y, LABELS.long())


@pytest.mark.parametrize("keep", [0, 3, 4, 9, 15, 16, 2367])
def test_a_truncated_file_is_named(folder, keep):
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(idx(IMAGES)[:keep])
    with pytest.raises(UsageError, match=r"train-images-idx3-ubyte .*get the file again"):
        load("mnist", train=True, data_dir=str(folder))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train-images-idx3-ubyte", idx(IMAGES) + b"\0", "should hold 3 x 28 x 28 bytes after its header but holds 2353"),
        ("train-images-idx3-ubyte", idx(LABELS), "first bytes are 00000801"),
        ("train-images-idx3-ubyte", b"\0\0\x0d\x03" + idx(IMAGES)[4:], "first bytes are 00000d03"),
        ("train-images-idx3-ubyte", idx(IMAGES[:, :27]), "27 x 28 pixels"),
        ("train-images-idx3-ubyte", idx(IMAGES[:2]), "2 images but .* 3 labels"),
        ("train-images-idx3-ubyte", idx(IMAGES[:0]), "holds nothing"),
        ("train-labels-idx1-ubyte", idx(LABELS + 1), "holds the label 10"),
        ("train-labels-idx1-ubyte", b"", "first bytes are missing"),
        ("train-labels-idx1-ubyte.gz", b"not gzip", "cannot be read"),
    ],
)
def test_a_wrong_file_is_named(folder, name, content, message):
    if name.endswith(".gz"):
        (folder / name.removesuffix(".gz")).unlink()
    (folder / name).write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        load("mnist", train=True, data_dir=str(folder))
    assert name in str(caught.value)


def test_what_is_missing_is_named(folder):
    with pytest.raises(UsageError, match=r"there is no folder .*nowhere: correct --data-dir"):
        load("mnist", train=True, data_dir=str(folder / "nowhere"))
    (folder / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(UsageError, match=r"neither train-labels-idx1-ubyte nor train-labels-idx1-ubyte\.gz"):
        load("mnist", train=True, data_dir=str(folder))


def test_embedded_files_are_checked_and_found_in_a_wheel(folder, monkeypatch):
    monkeypatch.setattr(mnist, "EMBEDDED", folder)
    assert mnist.embedded() == folder
    with pytest.raises(UsageError, match=r"SHA-256 differs\): reinstall"):
        load("mnist", train=True)
    (folder / "train-images-idx3-ubyte").unlink()
    with pytest.raises(UsageError, match=r"neither .*: reinstall"):
        load("mnist", train=True)
    monkeypatch.setattr(mnist, "EMBEDDED", folder / "nowhere")
    with pytest.raises(UsageError, match=r"looked in .*nowhere\): reinstall"):
        load("mnist", train=True)


@pytest.mark.slow
def test_the_embedded_mnist():
    train = load("mnist", train=True)
    test = load("mnist", train=False)
    assert (train.x.shape, test.x.shape) == ((60_000, 1, 28, 28), (10_000, 1, 28, 28))
    assert (train.x.dtype, train.y.dtype) == (torch.uint8, torch.int64)
    assert train.y[:5].tolist() == [5, 0, 4, 1, 9]
    assert test.y[:5].tolist() == [7, 2, 1, 0, 4]
    assert train.y.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    mean = int(train.x.sum(dtype=torch.int64)) / train.x.numel() / 255
    assert mean == pytest.approx(0.1307, abs=1e-4)
