"""Draws pictures: in braille, or with letters for ASCII and NO_COLOR."""

import math
from collections.abc import Sequence

import numpy as np
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container
from textual.widgets import Static
from textual_plot import AxisFormatter, HiResMode, PlotWidget

from trs_explorer.tui.look import plain, shares
from trs_explorer.tui.pictures import Curve, Picture

NEAR_THE_EDGE = 0.1  # of the axis


class LogTicks(AxisFormatter):
    """Ticks at 1, 10, 100 ... (and 2, 5 between them on a short axis) of an axis that holds decimal logarithms."""

    def get_ticks(self, min_: float, max_: float, max_ticks: int = 8) -> list[float]:
        """Where the ticks are."""
        steps = (1, 2, 5) if max_ - min_ < 2 else (1,)
        powers = range(max(-323, math.floor(min_)), min(307, math.ceil(max_)) + 1)  # beyond, 10 ** power is no float
        ticks = [p + math.log10(s) for p in powers for s in steps if min_ <= p + math.log10(s) <= max_]
        return ticks[:: 1 + len(ticks) // max_ticks]

    def get_labels_for_ticks(self, ticks: Sequence[float]) -> list[str]:
        """What stands beside them."""
        return [plain(10**tick) for tick in ticks]


class LinearTicks(AxisFormatter):
    """About `most` ticks at round numbers; along: they stand below an axis, not beside it."""

    def __init__(self, most: int, *, along: bool = False) -> None:
        """Set how many there may be, and where."""
        self._most, self._along = most, along

    def get_ticks(self, min_: float, max_: float, max_ticks: int = 8) -> list[float]:
        """Where the ticks are."""
        if not max_ > min_:
            return [min_]
        rough = (max_ - min_) / self._most
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * s for s in (1, 2, 5, 10) if power * s >= rough * 0.999)
        return [i * step for i in range(math.ceil(min_ / step - 1e-9), math.floor(max_ / step + 1e-9) + 1)]

    def get_labels_for_ticks(self, ticks: Sequence[float]) -> list[str]:
        """What stands beside them; nothing where the digits do not tell one from the one before."""
        labels = [f"{tick:g}" if abs(tick) >= 1 else plain(tick) for tick in (round(t, 10) for t in ticks)]
        return ["" if i and label == labels[i - 1] else label for i, label in enumerate(labels)]

    def get_ticks_and_labels(self, min_: float, max_: float, max_ticks: int = 8) -> tuple[list[float], list[str]]:
        """Both. Of a label under its tick the canvas would cut what lies beyond the right edge, and 100000 be read as 1000."""
        ticks, labels = super().get_ticks_and_labels(min_, max_, max_ticks)
        if self._along and ticks and max_ - ticks[-1] < NEAR_THE_EDGE * (max_ - min_):
            labels[-1] += " " * len(labels[-1])  # it is centred: blanks move it to the left
        return ticks, labels


class Plot(PlotWidget, can_focus=False):
    """A braille plot of a Picture."""

    def draw(self, picture: Picture) -> None:
        """Replace what is shown."""
        ticks = LogTicks() if picture.log else LinearTicks(4)
        self.margin_top, self.margin_bottom, self.margin_left = 0, 1, 1 + _label_width(ticks, picture)
        self.clear()
        self.set_xlimits(*picture.x_limits)
        self.set_ylimits(*picture.y_limits)
        self.set_x_formatter(_ticks_below(picture, self.size.width - self.margin_left - 2))
        self.set_y_formatter(ticks)
        for curve in picture.curves:
            if curve.joined:
                self.plot(curve.x, curve.y, line_style=curve.colour, hires_mode=HiResMode.BRAILLE)
        for i, curve in enumerate(picture.curves):
            few = _few(curve, picture, i) if curve.joined else slice(None)
            if curve.letter != ".":
                self.scatter(curve.x[few], curve.y[few], marker=curve.letter, marker_style=f"bold {curve.colour}")


def _label_width(ticks: AxisFormatter, picture: Picture) -> int:
    """Columns for what stands beside the y axis: a label that is cut is another number."""
    return max(6, *map(len, ticks.get_labels_for_ticks(ticks.get_ticks(*picture.y_limits))), 0)


def _ticks_below(picture: Picture, columns: int) -> LinearTicks:
    """Ticks of the x axis, so few that no label runs into the next."""
    for most in (5, 4, 3, 2):
        ticks = LinearTicks(most, along=True)
        at, labels = ticks.get_ticks_and_labels(*picture.x_limits)
        longest = max(map(len, labels), default=0)
        if len(at) < 2 or (at[1] - at[0]) / (picture.x_limits[1] - picture.x_limits[0]) * columns > longest + 1:
            return ticks
    return LinearTicks(1, along=True)


def _few(curve: Curve, picture: Picture, shift: int) -> np.ndarray:
    """Which points carry the curve's letter: about six over the whole axis, elsewhere for each curve."""
    low, high = picture.x_limits
    wanted = low + (high - low) * (np.arange(6) + 0.3 + 0.13 * (shift % 5)) / 6
    inside = wanted[wanted <= curve.x[-1]]
    return np.unique(np.searchsorted(curve.x, inside).clip(max=len(curve.x) - 1)) if len(inside) else np.array([len(curve.x) - 1])


def letters_plot(picture: Picture, width: int, height: int) -> str:
    """The same without braille and colours: every curve drawn with its letter; later curves lie over earlier ones."""
    ticks = LogTicks() if picture.log else LinearTicks(4)
    (x0, x1), (y0, y1) = picture.x_limits, picture.y_limits
    beside = _label_width(ticks, picture)
    columns, rows = max(4, width - beside - 2), max(2, height - 1)
    cells = [[" "] * columns for _ in range(rows)]

    def row_of(up: np.ndarray) -> np.ndarray:
        return np.round((1 - up) * (rows - 1)).astype(int)

    for curve in picture.curves:
        across, up = shares(curve.x, x0, x1), shares(curve.y, y0, y1)
        if curve.joined and len(across) > 1:
            between = np.linspace(across[0], across[-1], 2 * columns)
            across, up = between, np.nan_to_num(np.interp(between, across, up)).clip(0, 1)
        for column, row in zip(np.round(across * (columns - 1)).astype(int), row_of(up), strict=True):
            cells[row][column] = "*" if curve.joined and curve.letter == "." else curve.letter
    labels = [""] * rows
    y_ticks = np.array(ticks.get_ticks(y0, y1), dtype=float)
    for row, label in zip(row_of(shares(y_ticks, y0, y1)), ticks.get_labels_for_ticks(y_ticks.tolist()), strict=True):
        labels[row] = label
    lines = [f"{label:>{beside}} |{''.join(cell)}" for label, cell in zip(labels, cells, strict=True)]
    first, last = (f"{x:.0f}" if 10 <= x1 < 1e15 else plain(x) for x in (x0, x1))
    return "\n".join([*lines, " " * (beside + 2) + first.ljust(columns - len(last)) + last])


class Chart(Container):
    """A line of words above a picture that is redrawn only when it changed."""

    def __init__(self, id: str, lettered: bool) -> None:
        """Make an empty chart; a lettered one draws with letters, not with braille in colours."""
        super().__init__(id=id, classes="panel")
        self._caption = Static(classes="caption")
        self._canvas: Static | Plot = Static(classes="canvas") if lettered else Plot(classes="canvas")

    def compose(self) -> ComposeResult:
        """Words above, picture below."""
        yield self._caption
        yield self._canvas

    @property
    def ready(self) -> bool:
        """Whether there is something to draw on: not before it is composed, and not while the app closes."""
        return not isinstance(self._canvas, Plot) or bool(self._canvas.query("#legend"))

    def show(self, caption: Text, picture: Picture | None) -> None:
        """Show both, or the caption alone while there is nothing to draw."""
        self._caption.update(caption)
        self._canvas.display = picture is not None
        if picture is None:
            return
        if isinstance(self._canvas, Plot):
            self._canvas.draw(picture)
        else:
            self._canvas.update(Text(letters_plot(picture, self._canvas.size.width, self._canvas.size.height)))
