"""Runs on files of the user's, whose folder moves or gets other files: no figure without a word on other images."""

import json
from pathlib import Path

import pytest
from data_files import idx_files

from trs_explorer import data, runs
from trs_explorer.config import resolve
from trs_explorer.explore.library import Library
from trs_explorer.options import UsageError
from trs_explorer.run_config import change_config

COMMANDS = {
    "evaluate": ("evaluate", "run", "--attacks", "fgsm", "--eps", 0.1, "--limit", 5),
    "transfer": ("transfer", "run", "--attack", "fgsm", "--limit", 5),
    "blackbox": ("blackbox", "run", "--surrogates", "maker", "--attacks", "fgsm", "--eps", 0.1, "--limit", 5),
}


def made(path: Path, folder: Path, seed: int = 0) -> runs.Run:
    """A run with weights as they are before training, whose config knows the files in a folder."""
    from trs_explorer.models import build
    from trs_explorer.training import checkpoints

    settings = {"data": "fashion-mnist", "data_dir": str(folder), "method": "standard", "members": 2, "device": "cpu"}
    run = runs.create(path, resolve(settings))
    splits = {"train": True, "test": False}
    known = {name: data.load("fashion-mnist", train=train, data_dir=str(folder)).fingerprint for name, train in splits.items()}
    run = change_config(run, data_fingerprint=known)
    checkpoints.save(run, build("patch", "fashion-mnist", 2, seed=seed), {}, epoch=1, step_in_epoch=0)
    return run


@pytest.fixture
def run(tmp_path: Path) -> runs.Run:
    return made(tmp_path / "run", idx_files(tmp_path / "data", seed=1))


def _stored(what: str) -> list[dict]:
    return [json.loads(file.read_text()) for file in sorted(Path("run/results").glob(f"{what}-*.json"))]


@pytest.mark.parametrize("name", COMMANDS)
def test_figures_are_of_the_runs_own_images_or_refused(trs, run: runs.Run, name: str) -> None:
    made(Path("maker"), Path("data"), seed=1)
    command = COMMANDS[name]
    assert trs(*command).status == 0
    (first,) = _stored(name)
    assert first["data_fingerprint"] == run.config.data_fingerprint["test"]

    Path("elsewhere").mkdir()
    Path("data").rename("elsewhere/data")
    gone = trs(*command)
    assert (gone.status, len(_stored(name))) == (2, 1)
    assert "there is no folder" in gone.err
    assert "--data-dir" in gone.err

    idx_files(Path("data"), seed=2)
    other = trs(*command)
    assert (other.status, len(_stored(name))) == (2, 1)
    assert f"the fashion-mnist in {Path('data').resolve()} is not the one of this run" in other.err

    assert trs(*command, "--data-dir", "elsewhere/data").status == 0
    assert _stored(name) == [first, first]


@pytest.mark.slow
def test_a_relative_folder_is_the_same_from_every_working_directory(trs, tmp_path: Path, monkeypatch) -> None:
    idx_files(Path("data"), seed=1)
    idx_files(Path("other/data"), seed=2)
    trained = ("train", "--method", "standard", "--data", "fashion-mnist", "--data-dir", "data", "--epochs", 1, "--plain")
    assert trs(*trained, "--out", "run").status == 0
    config = json.loads(Path("run/config.json").read_text())
    assert config["data_dir"] == str((tmp_path / "data").resolve())
    assert set(config["data_fingerprint"]) == {"train", "test"}
    asked = ("--attacks", "fgsm", "--eps", 0.1)
    trs("evaluate", "run", *asked)
    monkeypatch.chdir("other")
    assert trs("evaluate", "../run", *asked).status == 0
    monkeypatch.chdir("..")
    first, second = _stored("evaluate")
    assert first["rates"] == second["rates"]
    assert first["data_fingerprint"] == config["data_fingerprint"]["test"]


@pytest.mark.parametrize("changes", [{"data_fingerprint": "0" * 64}, {"data_fingerprint": ""}, {"data_fingerprint": None}, {}])
def test_what_is_stored_of_other_images_or_nobody_knows_which_is_not_shown(trs, run: runs.Run, changes: dict) -> None:
    command = ("compare", "run", "--stored", "--csv", "t.csv", "--limit", 5)
    trs("evaluate", "run", "--attacks", "fgsm", "--limit", 5)
    trs(*command)
    assert len(Path("t.csv").read_text().splitlines()) > 1
    (file,) = Path("run/results").glob("evaluate-*.json")
    stored = json.loads(file.read_text())
    del stored["data_fingerprint"]
    file.write_text(json.dumps(stored | changes))
    trs(*command)
    assert len(Path("t.csv").read_text().splitlines()) == 1


def test_runs_on_other_images_of_one_name_are_no_rows_of_one_table(trs, run: runs.Run) -> None:
    other = made(Path("theirs"), idx_files(Path("other"), seed=2))
    said = trs("compare", "run", "theirs", "--stored", "--json", "tables.json")
    tables = json.loads(Path("tables.json").read_text())
    assert [[row["run"] for row in table["rows"]] for table in tables] == [["run"], ["theirs"]]
    for one in (run, other):
        assert f"on the fashion-mnist whose test split has the SHA-256 {one.config.data_fingerprint['test']}:" in said.out
    made(Path("mine"), Path("data"), seed=3)
    said = trs("compare", "run", "mine", "--stored", "--json", "tables.json")
    assert len(json.loads(Path("tables.json").read_text())) == 1
    assert "SHA-256" not in said.out


def test_images_are_shared_by_runs_on_the_same_images_only(trs, run: runs.Run) -> None:
    made(Path("theirs"), idx_files(Path("other"), seed=2))
    both = trs("blackbox", "run", "theirs", "--surrogates", "run", "--limit", 5)
    assert both.status == 2
    assert "run and theirs have other images or labels" in both.err
    made_on = trs("blackbox", "run", "--surrogates", "theirs", "--limit", 5)
    assert made_on.status == 2
    assert "the fashion-mnist of theirs is not that of run" in made_on.err


def test_a_training_for_another_commands_sake_is_on_the_same_images(run: runs.Run, tmp_path: Path) -> None:
    from trs_explorer.training.cached_training import cached_training

    run.write_status(state="finished")
    assert cached_training(run.path, run.config, purpose="", flag="--from").config == run.config
    other = made(tmp_path / "theirs", idx_files(tmp_path / "other", seed=2))
    with pytest.raises(runs.RunError, match=r"is on other images or labels than is needed here: .*--from"):
        cached_training(run.path, other.config, purpose="", flag="--from")
    older = change_config(run, data_fingerprint={})
    with pytest.raises(runs.RunError, match="is on other images"):  # unknown, and from another folder
        cached_training(older.path, other.config, purpose="", flag="--from")
    assert cached_training(older.path, run.config, purpose="", flag="--from").path == run.path


def test_a_start_on_other_images_is_refused_and_leaves_no_folder(trs, run: runs.Run) -> None:
    idx_files(Path("other"), seed=2)
    wanted = ("train", "--method", "standard", "--data", "fashion-mnist", "--members", 2, "--epochs", 1, "--from", "run")
    refused = trs(*wanted, "--data-dir", "other", "--out", "new", "--plain")
    assert refused.status == 2
    assert "was trained on other fashion-mnist images or labels" in refused.err
    assert not Path("new").exists()


def test_a_training_goes_on_where_its_data_is_now(trs, run: runs.Run) -> None:
    idx_files(Path("other"), seed=2)
    Path("data").rename("moved")
    lost = trs("train", "--resume", "run", "--plain")
    assert lost.status == 2
    assert "--data-dir" in lost.err
    wrong = trs("train", "--resume", "run", "--data-dir", "other", "--plain")
    assert wrong.status == 2
    assert "is not the one of this run" in wrong.err
    assert runs.open_run(run.path).config == run.config
    trs("train", "--resume", "run", "--data-dir", "moved", "--plain")
    assert runs.open_run(run.path).config.data_dir == str(Path("moved").resolve())
    assert "drop --seed" in trs("train", "--resume", "run", "--data-dir", "moved", "--seed", 1).err


def test_the_explorer_looks_where_it_is_told_and_at_the_same_data_only(run: runs.Run) -> None:
    Path("data").rename("moved")
    with pytest.raises(UsageError, match="there is no folder"):
        Library([run.path]).load("run")
    assert Library([run.path], data_dir="moved").load("run").data.fingerprint == run.config.data_fingerprint["test"]
    library = Library([run.path])
    idx_files(Path("data"), seed=2)
    with pytest.raises(UsageError, match="is not the one of this run"):
        library.load("run")
    idx_files(Path("data"), seed=1)
    assert library.load("run").data.fingerprint == run.config.data_fingerprint["test"]


def test_a_disk_that_fails_under_the_data_is_no_full_disk_under_the_run(trs, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, true = idx_files(Path("data"), seed=1), Path.is_file

    def failing(path: Path) -> bool:
        if path.parent == folder.resolve():
            raise OSError(5, "Input/output error", str(path))
        return true(path)

    monkeypatch.setattr(Path, "is_file", failing)
    result = trs("train", "--data", "fashion-mnist", "--data-dir", "data", "--out", "new", "--plain")
    assert result.status == 2
    assert "fashion-mnist cannot be read" in result.err
    assert "train-images-idx3-ubyte: Input/output error" in result.err
    assert "cannot write" not in result.err
    assert not Path("new").exists()
