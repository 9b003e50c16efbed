"""Fashion-MNIST in a folder of the user's and where the Debian package puts it."""

import dataclasses
import gzip

import pytest
import torch
from data_files import idx

from trs_explorer.data import fashion, load
from trs_explorer.options import UsageError
from trs_explorer.sources import FASHION_MNIST

IMAGES = (torch.arange(2 * 2 * 28 * 28) % 251).view(2, 2, 28, 28).to(torch.uint8)
LABELS = torch.tensor([[9, 0], [3, 4]], dtype=torch.uint8)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The files, packed as the package has them, in the package's place."""
    for k, split in enumerate(("train", "t10k")):
        (tmp_path / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(IMAGES[k])))
        (tmp_path / f"{split}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(LABELS[k])))
    monkeypatch.setattr(fashion, "FASHION_MNIST", dataclasses.replace(FASHION_MNIST, folder=tmp_path))
    return tmp_path


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("given", [True, False])
def test_it_is_read_from_the_package_or_a_folder_of_the_users(folder, train, given):
    data = load("fashion-mnist", train=train, data_dir=str(folder) if given else "")
    assert torch.equal(data.x, IMAGES[1 - train, None].transpose(0, 1))
    assert torch.equal(data.y, LABELS[1 - train].long())


def test_without_the_package_the_message_says_how_to_get_it(folder):
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UsageError, match=rf"the files are not in {folder}: .*apt install dataset-fashion-mnist.*--data-dir"):
        load("fashion-mnist", train=True)


def test_messages_name_this_set_and_not_mnist(folder):
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(LABELS[0] + 1)))
    with pytest.raises(UsageError, match="holds the label 10; Fashion-MNIST's are 0"):
        load("fashion-mnist", train=True)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(b"damaged")
    with pytest.raises(UsageError, match=r"cannot be read .*install dataset-fashion-mnist again"):
        load("fashion-mnist", train=True)
    (folder / "t10k-labels-idx1-ubyte").mkdir()
    with pytest.raises(UsageError, match=r"t10k-labels-idx1-ubyte is not a file: .*install dataset-fashion-mnist again"):
        load("fashion-mnist", train=False)
    with pytest.raises(UsageError, match="there is no folder"):
        load("fashion-mnist", train=True, data_dir=str(folder / "nowhere"))


@pytest.mark.skipif(not FASHION_MNIST.is_here, reason="the Debian package is not installed")
def test_the_package_against_known_facts():
    train, test = load("fashion-mnist", train=True), load("fashion-mnist", train=False)
    assert train.y.bincount().tolist() == [6000] * 10
    assert test.y.bincount().tolist() == [1000] * 10
    assert float(train.x.sum(dtype=torch.int64)) / train.x.numel() / 255 == pytest.approx(0.2860, abs=1e-4)
