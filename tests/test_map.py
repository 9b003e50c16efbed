"""trs_explorer/README.md is the map of the package: one line for every module, with what its docstring says first.

`python tests/test_map.py` writes it anew.
"""

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "trs_explorer"
HEADING = "## The map"


def summary(path: Path) -> str:
    """The first sentence of a module's docstring, in one line."""
    return " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0].split())


def lines() -> list[str]:
    """A heading for every subpackage, the package itself first; below it a line for every module."""
    made = []
    rooms = sorted({path.parent for path in PACKAGE.rglob("*.py")}, key=lambda room: room.relative_to(PACKAGE).as_posix())
    for room in rooms:
        name = room.relative_to(PACKAGE.parent).as_posix()
        start = summary(room / "__init__.py")
        made += ["", f"### `{name}/`" + (f": {start}" if room != PACKAGE else ""), ""]
        made += [f"- `{path.name}` - {summary(path)}" for path in sorted(room.glob("*.py")) if path.name != "__init__.py"]
    return made


def with_map(text: str) -> str:
    """The file's text with a map that is up to date."""
    return "\n".join([text[: text.index(HEADING)] + HEADING, *lines()]) + "\n"


def test_every_module_has_its_line() -> None:
    text = (PACKAGE / "README.md").read_text()
    assert text == with_map(text), "python tests/test_map.py writes it anew"


def test_every_module_says_in_a_sentence_what_it_is() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert 10 < len(summary(path)) <= 220, path


if __name__ == "__main__":
    (PACKAGE / "README.md").write_text(with_map((PACKAGE / "README.md").read_text()))
