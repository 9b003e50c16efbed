"""Format numbers, marks, colours and sparklines in the same way for all panels."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from time import localtime, strftime

import numpy as np
from rich.text import Span, Text

from trs_explorer import files
from trs_explorer.values import number

_STATES = {
    "starting": ("…", "~", "muted"),
    "running": ("●", "*", "good"),
    "paused": ("‖", "=", "warn"),
    "finished": ("✓", "+", "good"),
    "stopped": ("■", "#", "warn"),
    "failed": ("✗", "x", "bad"),
    "crashed": ("✗", "x", "bad"),
    "no trainer": ("○", "o", "muted"),
    "replay": ("◀", "<", "warn"),
}
_GLYPHS = {
    "dot": ("·", "|"),
    "up": ("↑", "rising"),
    "down": ("↓", "falling"),
    "flat": ("→", "steady"),
    "alarm": ("▲", "!"),
    "log": ("▸", ">"),
    "about": ("±", "+-"),
    "norm": ("max ‖∇ℓ‖", "max |grad|"),
    "lambda_a": ("λa", "lambda_a"),
    "lambda_b": ("λb", "lambda_b"),
    "delta": ("δ", "delta"),
    "eps": ("ε", "eps"),
    "play": ("▶", ">"),
    "still": ("‖", "="),
    "times": ("×", "x"),
    "line": ("─", "-"),
    "knob": ("█", "#"),
    "save": ("◆", "+"),
    "change": ("▲", "^"),
}
_BARS = "▁▂▃▄▅▆▇█"
_ASCII_BARS = "_.-=+*#@"


@dataclass(frozen=True)
class Format:
    """How text is drawn in the present theme.

    ascii: use only ASCII characters.
    colours: rich styles by role (good, warn, bad, mark, muted, reference, and 0, 1, 2, ... for curves).
    shades: backgrounds of a heat map, from cold to hot; empty where the theme has none.
    """

    ascii: bool = False
    colours: Mapping[str, str] = field(default_factory=dict)
    shades: tuple[str, ...] = ()

    def glyph(self, name: str) -> str:
        """The sign of that name, in ASCII if need be."""
        return _GLYPHS[name][self.ascii]

    def weight(self, name: str) -> str:
        """The displayed name of a loss weight: λa for lambda_a, λ entropy for lambda_entropy."""
        return self.glyph(name) if name in _GLYPHS else name.replace("lambda_", "lambda " if self.ascii else "λ ")

    def colour(self, role: str) -> str:
        """The rich style of a role, empty where the theme has none."""
        return self.colours.get(role, "")

    def heat(self, share: float | None) -> str:
        """The rich style of a heat-map cell for a share in [0, 1]; empty where the theme has no shades."""
        if share is None or not self.shades:
            return ""
        return self.shades[min(int(min(max(share, 0.0), 1.0) * len(self.shades)), len(self.shades) - 1)]

    def state(self, state: str) -> tuple[str, str]:
        """Sign and name of a run's state, and its style."""
        sign, ascii_sign, role = _STATES.get(state, ("?", "?", "muted"))
        return f"{ascii_sign if self.ascii else sign} {state.upper()}", f"bold {self.colour(role)}".strip()

    def arrow(self, trend: int) -> str:
        """The arrow of a trend of -1, 0 or 1."""
        return self.glyph(("flat", "up", "down")[trend])

    def sparkline(self, values: np.ndarray, width: int) -> str:
        """At most `width` bars, scaled between the minimum and maximum of the values; each bar is the mean of a bucket."""
        if len(values) == 0 or width < 1:
            return ""
        parts = np.array_split(np.asarray(values, dtype=float), min(width, len(values)))
        heights = np.array([(part / len(part)).sum() for part in parts])
        levels = np.round(shares(heights, heights.min(), heights.max()) * 7).astype(int)
        return "".join((_ASCII_BARS if self.ascii else _BARS)[level] for level in levels)


def shares(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Positions of the values in [low, high] as 0 to 1, clipped to it. Works for any finite numbers."""
    span = high / 2 - low / 2  # halves, because the difference may overflow
    if not span > 0:
        return np.zeros(len(values))
    return ((values / 2 - low / 2) / span).clip(0, 1)


def printable(text: Text) -> Text:
    """Escape what is not printable, so that a stranger's log cannot send commands to this terminal."""
    if all(c.isprintable() or c == "\n" for c in text.plain):
        return text
    escaped = [c if c == "\n" else files.printable(c) for c in text.plain]
    offsets = list(accumulate(map(len, escaped), initial=0))
    spans = [
        Span(offsets[span.start], offsets[min(span.end, len(escaped))], span.style)
        for span in text.spans
        if span.start < len(escaped)
    ]
    return Text("".join(escaped), text.style, spans=spans)


def clock(time: float) -> str:
    """A time as 14:03:59; dashes if it is outside the calendar's range."""
    try:
        return strftime("%H:%M:%S", localtime(time))
    except (OverflowError, OSError, ValueError):
        return "--:--:--"


def short(value: float | None) -> str:
    """Three significant digits without a leading zero: .512, 3.1, 1.2e-05; - for None."""
    if (finite := number(value)) is None:
        return "-"
    size = abs(finite)
    if size == 0:
        return "0"
    if size < 1e-3 or size >= 1e5:
        return f"{finite:.1e}"
    if size >= 100:
        return f"{finite:.0f}"
    if size >= 0.9995:
        return f"{finite:.3g}"
    return f"{finite:.3f}".replace("0.", ".", 1)


def plain(value: float | None) -> str:
    """A setting or a tick, as short as possible: .3, 1, .01; - for None."""
    if (finite := number(value)) is None:
        return "-"
    text = f"{finite:.3g}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def cosine(value: float | None) -> str:
    """A number in [0, 1] with two digits: .08; - for None."""
    if (finite := number(value)) is None:
        return "-"
    return f"{finite:.2f}".removeprefix("0") if abs(finite) < 1e4 else f"{finite:.0e}"


def percent(share: float | None) -> str:
    """A share as a whole percentage without the % sign; - for None."""
    if (finite := number(share)) is None:
        return "-"
    return f"{100 * finite:.0f}" if abs(finite) < 1e4 else f"{100 * finite:.0e}"


def grouped(value: int) -> str:
    """A whole number in groups of three digits."""
    return f"{value:,}".replace(",", " ") if abs(value) < 1e15 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """Seconds as 04:12 or 3:04:12; "years" for more than three of them."""
    if not 0 <= seconds < 1e8:
        return "years"
    hours, rest = divmod(int(seconds), 3600)
    return (f"{hours}:" if hours else "") + f"{rest // 60:02d}:{rest % 60:02d}"


def letters(names: list[str]) -> dict[str, str]:
    """A different letter for every name, taken from the name where possible: total t, smoothness s, similarity i."""
    letter_of: dict[str, str] = {}
    for name in names:
        free = [
            c for c in name.lower() + "abcdefghijklmnopqrstuvwxyz" if c.isascii() and c.isalpha() and c not in letter_of.values()
        ]
        letter_of[name] = free[0] if free else "?"
    return letter_of
