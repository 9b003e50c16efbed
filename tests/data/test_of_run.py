"""The data of a run: found again, and refused when it is other data."""

import dataclasses
import json
from pathlib import Path

import pytest
from data_files import idx_files

from trs_explorer import data, runs
from trs_explorer.catalogue import DATA
from trs_explorer.config import resolve
from trs_explorer.data import Dataset
from trs_explorer.options import UsageError
from trs_explorer.run_config import change_config
from trs_explorer.training.state import prepare


@pytest.fixture
def run(tmp_path: Path) -> runs.Run:
    """A run on files of the user's, before its training has read them."""
    folder = idx_files(tmp_path / "data", seed=1)
    return runs.create(tmp_path / "run", resolve({"data": "fashion-mnist", "data_dir": str(folder), "limit": 9, "device": "cpu"}))


def _read(run: runs.Run) -> runs.Run:
    prepare(run)
    return runs.open_run(run.path)


def test_the_first_training_notes_the_fingerprints_and_nothing_else_changes(run: runs.Run) -> None:
    before = json.loads((run.path / "config.json").read_text())
    whole = {
        split: data.load("fashion-mnist", train=split == "train", data_dir=run.config.data_dir) for split in ("train", "test")
    }
    known = _read(run)
    assert known.config.data_fingerprint == {split: found.fingerprint for split, found in whole.items()}
    assert json.loads((run.path / "config.json").read_text()) == before | {"data_fingerprint": known.config.data_fingerprint}
    assert (len(data.load_for(known, train=True)), len(data.load_for(known, train=False))) == (9, 40)


def test_what_an_older_run_was_trained_on_is_not_made_up(run: runs.Run) -> None:
    (run.path / "epoch-0001.safetensors").touch()
    assert _read(run).config.data_fingerprint == {}


@pytest.mark.parametrize("train", [True, False])
def test_other_files_in_the_same_folder_are_refused(run: runs.Run, train: bool) -> None:
    known = _read(run)
    idx_files(Path(run.config.data_dir), seed=2)
    split = "train" if train else "test"
    words = rf"run: the fashion-mnist in {run.config.data_dir} is not .*SHA-256 of its {split} split differs.*--data-dir"
    with pytest.raises(UsageError, match=words):
        data.load_for(known, train=train)
    with pytest.raises(UsageError, match="SHA-256"):
        prepare(known)


def test_files_that_have_moved_are_found_by_data_dir(run: runs.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = _read(run)
    Path(run.config.data_dir).rename(tmp_path / "moved")
    with pytest.raises(UsageError, match=r"run: there is no folder .*--data-dir"):
        data.load_for(known, train=False)
    monkeypatch.chdir(tmp_path)
    assert len(data.load_for(known, train=False, data_dir="moved")) == 40
    idx_files(tmp_path / "other", seed=2)
    with pytest.raises(UsageError, match=rf"in {tmp_path / 'other'} is not the one"):
        data.load_for(known, train=False, data_dir="other")


def test_a_relative_folder_of_an_older_config_is_not_looked_up(run: runs.Run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    older = change_config(run, data_dir="data")
    with pytest.raises(UsageError, match=r"was in data, relative to .*--data-dir"):
        data.load_for(older, train=False)
    assert len(data.load_for(older, train=False, data_dir="data")) == 40
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data.folder_of(change_config(run, data_dir="~/data")) == str(tmp_path.resolve() / "data")
    with pytest.raises(UsageError, match="--data-dir"):
        data.folder_of(change_config(run, data_dir="~nobody-has-this-name/data"))


def test_what_is_computed_has_no_folder_and_is_taken_as_it_is(tmp_path: Path) -> None:
    run = runs.create(tmp_path / "run", resolve({"data": "bars", "device": "cpu"}))
    assert data.folder_of(run, "/nowhere") == ""
    assert _read(run).config.data_fingerprint == {}
    tampered = dataclasses.replace(run, config=dataclasses.replace(run.config, data_fingerprint={"test": "1"}))
    assert len(data.load_for(tampered, train=False, data_dir="/nowhere")) == 400


def test_the_message_says_which_files_where_there_is_no_folder(tmp_path: Path) -> None:
    run = runs.create(tmp_path / "run", resolve({"data": "mnist"}))
    small = data.load("mnist", train=False, limit=1)
    with pytest.raises(UsageError, match="the mnist that comes with trs is not the one"):
        data.check_same(run, dataclasses.replace(small, fingerprint="1"), train=False, folder="")
    run = runs.create(
        tmp_path / "fashion", dataclasses.replace(resolve({"data": "fashion-mnist"}), data_fingerprint={"test": "1"})
    )
    other = Dataset("fashion-mnist", small.x, small.y, 10, "2")
    with pytest.raises(UsageError, match=f"the fashion-mnist in {DATA['fashion-mnist'].source.folder} is not"):
        data.check_same(run, other, train=False, folder="")


def test_a_change_of_the_config_keeps_what_made_the_run(run: runs.Run) -> None:
    """The versions and the day are those of its creation, whoever changes something later; so is what a later trs says."""
    path = run.path / "config.json"
    stored = json.loads(path.read_text()) | {"created": "2001-01-01T00:00:00+0000", "versions": {"torch": "1.0"}, "later": 1}
    path.write_text(json.dumps(stored))
    changed = change_config(runs.open_run(run.path), data_fingerprint={"train": "a", "test": "b"})
    assert json.loads(path.read_text()) == stored | {"data_fingerprint": {"train": "a", "test": "b"}}
    assert runs.open_run(run.path).config == changed.config
