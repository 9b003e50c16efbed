"""What `trs` says about itself: every flag, and at once."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import trs_explorer
from trs_explorer.attack_catalogue import RADIUS_ATTACKS
from trs_explorer.catalogue import DATA, METHODS, MODELS
from trs_explorer.config import SETTINGS
from trs_explorer.options import HYPER_PARAMETERS, Option

OPTIONS = list((SETTINGS | HYPER_PARAMETERS).values())
COMMANDS = (
    "train",
    "watch",
    "explore",
    "lesson",
    "evaluate",
    "transfer",
    "bounds",
    "compare",
    "sweep",
    "export",
    "bench",
    "data",
)


KNOWN: list[str] = []  # the help, once it was printed


@pytest.fixture
def train_help(trs, monkeypatch: pytest.MonkeyPatch) -> str:
    import typer.rich_utils

    if KNOWN:
        return KNOWN[0]
    monkeypatch.setattr(typer.rich_utils, "MAX_WIDTH", 400, raising=False)
    monkeypatch.setenv("COLUMNS", "400")
    result = trs("train", "--help")
    assert (result.status, result.err) == (0, "")
    KNOWN.append(result.out)
    return result.out


def _row(text: str, option: Option) -> str:
    return next(line for line in text.splitlines() if re.match(rf"\W*{option.flag}\s", line))


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_is_a_flag_with_its_help_and_its_range(train_help: str, option: Option) -> None:
    said = " ".join(_row(train_help, option).split())
    assert " ".join(option.help.split()) in said
    for part in option.choices or [part for part in [option.range_text] if part]:
        assert part in said


def test_the_flags_of_the_command_itself_are_there(train_help: str) -> None:
    for flag in ("--out", "--resume", "--config", "--tui", "--plain", "--json"):
        assert re.search(rf"{flag}\s", train_help)
    shipped = [name for name, about in DATA.items() if not about.custom]  # other tests may have named data of their own
    for name in (*METHODS, *shipped, *MODELS):
        assert name in train_help


def test_the_defaults_in_the_help_are_those_that_a_training_gets(train_help: str) -> None:
    from trs_explorer.config import resolve

    config = resolve({})
    for option in OPTIONS:
        takers = [method.defaults[option.name] for method in METHODS.values() if option.name in method.defaults]
        value = takers[0] if takers else getattr(config, option.name)
        assert f"Default: {value}." in _row(train_help, option) or value == ""


@pytest.mark.parametrize("line", ["--help", "-h", *(f"{command} --help" for command in COMMANDS), *(f"{c} -h" for c in COMMANDS)])
def test_help_is_status_0_and_on_stdout(trs, line: str) -> None:
    result = trs(*line.split())
    assert result.status == 0
    assert "Usage" in result.out
    assert result.err == ""


def test_the_commands_the_version_and_the_attacks_are_named(trs) -> None:
    said = trs("--help").out
    assert all(re.search(rf"\b{command}\b", said) for command in COMMANDS)
    assert trs("--version").out == f"trs-explorer {trs_explorer.__version__}\n"
    assert all(name in trs("evaluate", "--help").out for name in RADIUS_ATTACKS)


def test_data_list_names_every_set(trs) -> None:
    result = trs("data", "list")
    assert result.status == 0
    assert [line.split()[0] for line in result.out.splitlines()] == list(DATA)


def test_help_and_wrong_usage_import_nothing_heavy() -> None:
    code = """
import sys
from trs_explorer.cli import main
helps = [[], ["train"], ["evaluate"], ["sweep"]]
for line in (*([*one, "--help"] for one in helps), ["train", "--members", "1"], ["data", "list"]):
    sys.argv = ["trs", *line]
    try:
        main()
    except SystemExit:
        pass
    heavy = {"torch", "numpy", "textual", "dash", "plotly", "safetensors"} & set(sys.modules)
    assert not heavy, (line, heavy)
print("light")
"""
    root = Path(trs_explorer.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=False)
    assert done.stdout.endswith("light\n"), done.stderr
