"""Lint, types and import rules, so that one command runs them all; and that the README says what is there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from trs_explorer.config import SETTINGS
from trs_explorer.options import HYPER_PARAMETERS

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PAGES = [ROOT / "README.md", ROOT / "checkpoints" / "README.md", *(ROOT / "trs_explorer").rglob("README.md")]


TOOLS = (["ruff", "check", "."], ["mypy"], ["lint-imports"], ["oxlint", "assets/web"])


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool[0])
def test_rules_hold(tool):
    found = subprocess.run([BIN / tool[0], *tool[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_files_stay_small():
    long = {p.name: n for p in (ROOT / "trs_explorer").rglob("*.py") if (n := len(p.read_text().splitlines())) > 300}
    assert not long


def test_top_level_is_what_it_should_be():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    top = {line.split("/")[0] for line in listed.stdout.splitlines() if not line.startswith(".")}
    assert top == {"pyproject.toml", "README.md", "LICENSE", "trs_explorer", "checkpoints", "tests", "assets"}


@pytest.mark.parametrize("page", sorted(path.relative_to(ROOT).as_posix() for path in PAGES))
def test_pages_name_only_flags_and_files_that_exist(page):
    text = (ROOT / page).read_text()
    source = "".join(p.read_text() for p in (ROOT / "trs_explorer" / "cli").glob("*.py"))
    options = (SETTINGS | HYPER_PARAMETERS).values()
    known = {option.flag for option in options} | {f"--no-{option.flag[2:]}" for option in options if option.type is bool}
    known |= {"--" + name.replace("_", "-") for name in re.findall(r"(\w+): Annotated\[", text)}  # of the page's own examples
    for line in re.findall(r"^.*\btrs [a-z]+ .*$", text, re.M):
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", line):
            assert flag in known or f'"{flag}"' in source, f"{page}: {line}"
    for path in re.findall(r"\]\((?!http|#)([^)]+)\)|src=\"([^\"]+)\"", text):
        assert ((ROOT / page).parent / next(filter(None, path))).exists(), path
