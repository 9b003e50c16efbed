"""The TOML file of --config: its tables, its fractions, and files beside it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from custom_code import forgotten, write_mine

from trs_explorer.cli.config_file import values_from_toml
from trs_explorer.options import UsageError


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the TOML file, beside the working directory."""
    (tmp_path / "work").mkdir()
    (tmp_path / "config").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "config"


def read(place: Path, text: str, *overridden: str) -> dict[str, object]:
    (place / "run.toml").write_text(text)
    return values_from_toml(Path("../config/run.toml"), overridden)


@pytest.mark.parametrize(
    ("key", "value", "file"),
    [
        ("data", "data.npz", "data.npz"),
        ("data", "sub/data.npz", "sub/data.npz"),
        ("data", "pictures", "pictures/"),
        ("data", "mine.py:points", "mine.py"),
        ("data_dir", "files", "files/"),
        ("data-dir", "files", "files/"),
        ("method", "sub/mine.py:loss", "sub/mine.py"),
        ("model", "mine.py:Net", "mine.py"),
        ("start_from", "run", "run/"),
    ],
)
def test_a_file_is_that_beside_the_toml_file_else_that_in_the_working_directory(
    place: Path, key: str, value: str, file: str
) -> None:
    def make(folder: Path) -> None:
        path = folder / file
        path.parent.mkdir(exist_ok=True)
        path.mkdir() if file.endswith("/") else path.write_text("")

    make(Path.cwd())
    name, text = key.replace("-", "_"), f'{key} = "{value}"'
    assert read(place, text)[name] == value  # as a flag's value
    make(place)
    assert read(place, text)[name] == str(place / value)


@pytest.mark.parametrize(("key", "value"), [("data", "data.npz"), ("method", "mine.py:loss"), ("data_dir", "files")])
def test_where_neither_exists_both_places_are_named(place: Path, key: str, value: str) -> None:
    with pytest.raises(UsageError) as error:
        read(place, f'{key} = "{value}"')
    file = value.partition(":")[0]
    assert str(Path.cwd() / file) in str(error.value)
    assert str(place / file) in str(error.value)
    assert read(place, f'{key} = "{value}"', key) == {}  # a flag takes its place


@pytest.mark.parametrize(
    ("key", "value"), [("data", "mnist"), ("method", "trs"), ("method", "package.module:loss"), ("device", "cpu")]
)
def test_a_name_is_no_file(place: Path, key: str, value: str) -> None:
    (place / value.replace(":", "_")).mkdir()
    assert read(place, f'{key} = "{value}"') == {key: value}


def test_options_may_have_a_table(place: Path) -> None:
    assert read(place, "epochs = 3\n[options]\nlambda-a = 2\n") == {"epochs": 3, "lambda_a": 2}


def test_a_training_by_a_file_elsewhere(place: Path, trs: Callable[..., Any]) -> None:
    write_mine(place)
    lines = ['data = "mine.py:points"', 'method = "mine.py:spread"', "epochs = 1", "members = 2", "[options]", 'weight = "1/4"']
    (place / "run.toml").write_text("\n".join(lines))
    with forgotten():
        shown = trs("train", "--config", "../config/run.toml", "--model", "mlp", "--device", "cpu", "--plain", "--out", "run")
    assert shown.status == 0, shown.err
    config = json.loads(Path("run/config.json").read_text())
    assert (config["options"]["weight"], config["data_dir"]) == (0.25, f"{place}/mine.py:points")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('epochs = "two"', "--epochs takes a whole number, got 'two'"),
        ("lambda_a = -1", "--lambda-a must be >= 0"),
        ("[options]\nlambda-a = true", "--lambda-a takes a number"),
    ],
)
def test_a_value_of_the_wrong_type_or_range_is_said_with_the_file(place: Path, line: str, words: str) -> None:
    with pytest.raises(UsageError, match=f"^--config ../config/run.toml: {words}"):
        read(place, line)
