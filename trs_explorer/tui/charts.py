"""Draw charts: in braille, or with letters for ASCII and NO_COLOR."""

import math
from collections.abc import Sequence

import numpy as np
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container
from textual.widgets import Static
from textual_plot import AxisFormatter, HiResMode, PlotWidget

from trs_explorer.tui.chart_data import ChartData, Curve
from trs_explorer.tui.formatting import plain, shares

NEAR_THE_EDGE = 0.1  # as a share of the axis


class LogTicks(AxisFormatter):
    """Ticks at 1, 10, 100 ... (and 2, 5 between them on a short axis) of an axis that holds decimal logarithms."""

    def get_ticks(self, min_: float, max_: float, max_ticks: int = 8) -> list[float]:
        """Positions of the ticks."""
        steps = (1, 2, 5) if max_ - min_ < 2 else (1,)
        powers = range(max(-323, math.floor(min_)), min(307, math.ceil(max_)) + 1)  # otherwise 10 ** power overflows
        ticks = [p + math.log10(s) for p in powers for s in steps if min_ <= p + math.log10(s) <= max_]
        return ticks[:: 1 + len(ticks) // max_ticks]

    def get_labels_for_ticks(self, ticks: Sequence[float]) -> list[str]:
        """Labels of the ticks."""
        return [plain(10**tick) for tick in ticks]


class LinearTicks(AxisFormatter):
    """About `most` ticks at round numbers. below: they are below a horizontal axis, not beside a vertical one."""

    def __init__(self, most: int, *, below: bool = False) -> None:
        """Set the number of ticks and their side."""
        self._most, self._below = most, below

    def get_ticks(self, min_: float, max_: float, max_ticks: int = 8) -> list[float]:
        """Positions of the ticks."""
        if not max_ > min_:
            return [min_]
        rough = (max_ - min_) / self._most
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * s for s in (1, 2, 5, 10) if power * s >= rough * 0.999)
        return [i * step for i in range(math.ceil(min_ / step - 1e-9), math.floor(max_ / step + 1e-9) + 1)]

    def get_labels_for_ticks(self, ticks: Sequence[float]) -> list[str]:
        """Labels of the ticks; empty where the digits do not differ from the label before."""
        labels = [f"{tick:g}" if abs(tick) >= 1 else plain(tick) for tick in (round(t, 10) for t in ticks)]
        return ["" if i and label == labels[i - 1] else label for i, label in enumerate(labels)]

    def get_ticks_and_labels(self, min_: float, max_: float, max_ticks: int = 8) -> tuple[list[float], list[str]]:
        """Both. The canvas cuts a label at its right edge, and 100000 would read 1000: keep the last label away from the edge."""
        ticks, labels = super().get_ticks_and_labels(min_, max_, max_ticks)
        if self._below and ticks and max_ - ticks[-1] < NEAR_THE_EDGE * (max_ - min_):
            labels[-1] += " " * len(labels[-1])  # the label is centred, so blanks move it to the left
        return ticks, labels


class Plot(PlotWidget, can_focus=False):
    """A chart in braille."""

    def draw(self, data: ChartData) -> None:
        """Replace the chart."""
        ticks = LogTicks() if data.log else LinearTicks(4)
        self.margin_top, self.margin_bottom, self.margin_left = 0, 1, 1 + _label_width(ticks, data)
        self.clear()
        self.set_xlimits(*data.x_limits)
        self.set_ylimits(*data.y_limits)
        self.set_x_formatter(_ticks_below(data, self.size.width - self.margin_left - 2))
        self.set_y_formatter(ticks)
        for curve in data.curves:
            if curve.joined:
                self.plot(curve.x, curve.y, line_style=curve.colour, hires_mode=HiResMode.BRAILLE)
        for i, curve in enumerate(data.curves):
            lettered = _lettered_points(curve, data, i) if curve.joined else slice(None)
            if curve.letter != ".":
                self.scatter(curve.x[lettered], curve.y[lettered], marker=curve.letter, marker_style=f"bold {curve.colour}")


def _label_width(ticks: AxisFormatter, data: ChartData) -> int:
    """Columns for the labels of the y axis, wide enough that none is cut to another number."""
    return max(6, *map(len, ticks.get_labels_for_ticks(ticks.get_ticks(*data.y_limits))), 0)


def _ticks_below(data: ChartData, columns: int) -> LinearTicks:
    """Ticks of the x axis, few enough that labels do not overlap."""
    for most in (5, 4, 3, 2):
        ticks = LinearTicks(most, below=True)
        at, labels = ticks.get_ticks_and_labels(*data.x_limits)
        longest = max(map(len, labels), default=0)
        if len(at) < 2 or (at[1] - at[0]) / (data.x_limits[1] - data.x_limits[0]) * columns > longest + 1:
            return ticks
    return LinearTicks(1, below=True)


def _lettered_points(curve: Curve, data: ChartData, shift: int) -> np.ndarray:
    """The points that carry the curve's letter: about six over the axis, at different places for each curve."""
    low, high = data.x_limits
    wanted = low + (high - low) * (np.arange(6) + 0.3 + 0.13 * (shift % 5)) / 6
    inside = wanted[wanted <= curve.x[-1]]
    return np.unique(np.searchsorted(curve.x, inside).clip(max=len(curve.x) - 1)) if len(inside) else np.array([len(curve.x) - 1])


def letters_plot(data: ChartData, width: int, height: int) -> str:
    """The chart without braille and colours: every curve is drawn with its letter, later curves over earlier ones."""
    ticks = LogTicks() if data.log else LinearTicks(4)
    (x0, x1), (y0, y1) = data.x_limits, data.y_limits
    margin = _label_width(ticks, data)
    columns, rows = max(4, width - margin - 2), max(2, height - 1)
    cells = [[" "] * columns for _ in range(rows)]

    def row_of(up: np.ndarray) -> np.ndarray:
        return np.round((1 - up) * (rows - 1)).astype(int)

    for curve in data.curves:
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
    lines = [f"{label:>{margin}} |{''.join(cell)}" for label, cell in zip(labels, cells, strict=True)]
    first, last = (f"{x:.0f}" if 10 <= x1 < 1e15 else plain(x) for x in (x0, x1))
    return "\n".join([*lines, " " * (margin + 2) + first.ljust(columns - len(last)) + last])


class Chart(Container):
    """A caption above a chart that is redrawn only when it has changed."""

    def __init__(self, id: str, lettered: bool) -> None:
        """Create an empty chart. lettered: draw with letters instead of coloured braille."""
        super().__init__(id=id, classes="panel")
        self._caption = Static(classes="caption")
        self._canvas: Static | Plot = Static(classes="canvas") if lettered else Plot(classes="canvas")

    def compose(self) -> ComposeResult:
        """The caption above, the chart below."""
        yield self._caption
        yield self._canvas

    @property
    def ready(self) -> bool:
        """Whether it can be drawn: not before it is composed, and not while the app closes."""
        return not isinstance(self._canvas, Plot) or bool(self._canvas.query("#legend"))

    def show(self, caption: Text, data: ChartData | None) -> None:
        """Show the caption and the chart, or the caption alone while there is no data."""
        self._caption.update(caption)
        self._canvas.display = data is not None
        if data is None:
            return
        if isinstance(self._canvas, Plot):
            self._canvas.draw(data)
        else:
            self._canvas.update(Text(letters_plot(data, self._canvas.size.width, self._canvas.size.height)))
