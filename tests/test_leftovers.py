"""Folders that hold nothing of anybody's, and what killed processes leave."""

import os
from pathlib import Path

import pytest

from trs_explorer.leftovers import abandoned, is_empty, remove_abandoned

GONE = 4_194_999  # above every number that a process can have
OTHERS = os.getppid()  # a process that lives


@pytest.mark.parametrize(
    "name", [".gitkeep", ".gitignore", ".DS_Store", "._x", f".config.json.{GONE}.tmp", ".config.json.OWN.tmp"]
)
def test_marks_and_what_a_killed_process_left_are_nothing(tmp_path: Path, name: str) -> None:
    assert is_empty(tmp_path)
    (tmp_path / name.replace("OWN", str(os.getpid()))).touch()
    assert is_empty(tmp_path)


@pytest.mark.parametrize("name", [".hidden", "notes.txt", ".git", ".config.json.OTHERS.tmp", ".config.json.tmp", f"x.{GONE}.tmp"])
def test_anything_else_is_somebodys(tmp_path: Path, name: str) -> None:
    (tmp_path / ".gitkeep").touch()
    (tmp_path / name.replace("OTHERS", str(OTHERS))).touch()
    assert not is_empty(tmp_path)


def test_only_files_of_processes_that_are_gone_are_removed(tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    (tmp_path / f".a.json.{OTHERS}.tmp").touch()
    (tmp_path / f".b.json.{GONE}.tmp").symlink_to("kept")
    (tmp_path / f".c.json.{GONE}.tmp").mkdir()
    before = set(tmp_path.iterdir())
    (tmp_path / f".d.json.{GONE}.tmp").touch()
    remove_abandoned(tmp_path)
    assert set(tmp_path.iterdir()) == before
    remove_abandoned(tmp_path / "nowhere")


def test_nothing_is_removed_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / f".a.{GONE}.tmp").touch()
    (tmp_path / "link").symlink_to("folder")
    assert abandoned(tmp_path / "folder")
    remove_abandoned(tmp_path / "link")
    assert abandoned(tmp_path / "folder")
