"""A matrix of members as text: its cells become narrower with more members, before only its extremes are left."""

from collections.abc import Callable
from functools import partial

from rich.text import Text

from trs_explorer.matrices import Matrix
from trs_explorer.tui.formatting import Format

CELLS = (5, 4, 3)  # widths of cells, with the space after them
TWO_DIGITS = "two digits, ** is 1.00 or 100 %"
Write = Callable[[float | None], str]


def grid(
    square: Matrix,
    write: Write,
    fmt: Format,
    *,
    alert: Callable[[float], bool] | None = None,
    diagonal: bool = True,
    width: int = 40,
) -> Text:
    """A matrix with named rows and columns. Its cells are narrower where it would be wider than `width`, then only its extremes.

    The narrowest cells have two digits, ** for 1.00 and 100 %, and a line says so.
    square: [member, member].  write: formats a value.  alert: whether a value is highlighted.
    diagonal: whether the diagonal is shown.
    """
    count = len(square)
    cell = next((cell for cell in CELLS if cell * count + max(4, cell) <= width), 0)
    if not cell:
        cells = [(value, i, j) for i, row in enumerate(square) for j, value in enumerate(row) if i != j and value is not None]
        if not cells:
            return Text("not measured yet")
        extremes = [
            f"{what} {write(v)} (F{i + 1}, F{j + 1})" for what, (v, i, j) in (("lowest", min(cells)), ("highest", max(cells)))
        ]
        return Text("\n".join([f"{count} members, {len(cells)} pairs", *extremes]))
    if cell < CELLS[0]:
        write = partial(_narrow, write, cell - 1)
    room = cell - 1
    text = Text(" " * max(4, cell) + "".join(f"{f'F{j + 1}'[-room:]:>{room}} " for j in range(count)), fmt.colour("muted"))
    for i, row in enumerate(square):
        text.append("\n")
        text.append(f"{f'F{i + 1}':>{max(4, cell) - 1}} ", fmt.colour("muted"))
        for j, value in enumerate(row):
            if i == j and not diagonal:
                text.append(f"{'.' if fmt.ascii else '·':>{room}} ", fmt.colour("muted"))
            else:
                hot = i != j and alert is not None and value is not None and alert(value)
                style = fmt.heat(value) or fmt.colour("muted" if i == j else "warn" if hot else "")
                text.append(f"{write(value):>{room}} ", f"bold {style}" if hot else style)
    return text.append(f"\n{TWO_DIGITS}", fmt.colour("muted")) if cell == CELLS[-1] else text


def _narrow(write: Write, most: int, value: float | None) -> str:
    """Write a value in at most so many characters, two or more: 1.0 in three; in two 08 for .08, and ** for 1.00 and 100."""
    text = write(value)
    if len(text) <= most:
        return text
    digits = text.replace(".", "")
    return text[:most] if most > 2 else digits if len(digits) <= most else "*" * most
