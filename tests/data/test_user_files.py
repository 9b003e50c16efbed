"""Which values of --data are paths, and paths at which there is nothing to read."""

import os

import pytest

from trs_explorer.data.user_data import check_fits
from trs_explorer.data.user_files import read_user_data
from trs_explorer.options import UsageError
from trs_explorer.sources import is_data_path


@pytest.mark.parametrize("name", ["a.npz", "A.PT", "b.pth", "c.safetensors", "d.parquet", "some/where", "~/x", "./mnist", "here"])
def test_paths(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    assert is_data_path(name)


@pytest.mark.parametrize(
    "name", ["", "mnist", "cifar10", "here", "mine.py:data", "a/mine.py:data", "a/b.py", "pkg.mod:data", "a\0", "n" * 999]
)
def test_other_values(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not is_data_path(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.npz", r"there is no file none\.npz: correct --data"),
        ("none.parquet", r"there is no file none\.parquet: correct --data"),
        ("none", "there is no file or folder none"),
        ("n" * 999, "nnn cannot be a file or folder"),
        ("a\0.npz", r"a\\x00\.npz cannot be"),
        ("~nobody-of-this-name/x.npz", "cannot be a file or folder"),
        ("text.csv", r"text\.csv is no data that can be read: .* or a file of \.npz, "),
        ("empty.npz", r"empty\.npz is empty"),
        ("empty.parquet", r"empty\.parquet is empty"),
        ("pointer.npz", r"pointer\.npz is a Git LFS pointer, not the file itself: .*git lfs pull"),
        ("pointer.parquet", r"pointer\.parquet is a Git LFS pointer"),
        ("pipe.npz", r"pipe\.npz cannot be read: it is not a regular file"),
        ("text.npz", r"text\.npz is damaged, or no \.npz file"),
        ("text.parquet", r"text\.parquet is damaged, or no \.parquet file"),
        ("text.safetensors", r"text\.safetensors is damaged, or no \.safetensors file"),
        ("text.pt", r"text\.pt is not a zip file of torch\.save"),
    ],
)
def test_paths_that_cannot_be_read(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for suffix in ("csv", "npz", "parquet", "safetensors", "pt"):
        (tmp_path / f"text.{suffix}").write_text("words, words")
        (tmp_path / f"empty.{suffix}").touch()
        (tmp_path / f"pointer.{suffix}").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(UsageError, match=message):
        read_user_data(name, train=True)


def test_a_size_without_pixels():
    with pytest.raises(UsageError, match="at least 1 x 1, got 0 x 5"):
        read_user_data("x", train=True, size=(0, 5))


def test_half_of_the_memory_can_be_used():
    check_fits(50, "x", memory=101)
    with pytest.raises(UsageError, match="x: 51 bytes of memory are needed, more than half of the 101 here: give fewer"):
        check_fits(51, "x", memory=101)
    check_fits(1 << 20, "x")  # of this machine
    with pytest.raises(UsageError, match="here: give fewer"):
        check_fits(1 << 60, "x")
