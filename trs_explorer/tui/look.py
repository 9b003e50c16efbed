"""How numbers, marks and little curves are written: one place, so that every panel says the same thing alike."""

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
class Look:
    """ASCII or not, the colours of roles (good, warn, bad, muted, ghost, 0, 1, 2, ...), and shades for heat maps."""

    ascii: bool = False
    colours: Mapping[str, str] = field(default_factory=dict)
    shades: tuple[str, ...] = ()

    def glyph(self, name: str) -> str:
        """The sign of that name."""
        return _GLYPHS[name][self.ascii]

    def weight(self, name: str) -> str:
        """How a weight of the loss is called: λa for lambda_a, λ entropy for lambda_entropy."""
        return self.glyph(name) if name in _GLYPHS else name.replace("lambda_", "lambda " if self.ascii else "λ ")

    def colour(self, role: str) -> str:
        """A rich style for a role, empty where the theme has none."""
        return self.colours.get(role, "")

    def heat(self, share: float | None) -> str:
        """A rich style for a share in [0, 1]: the background, from cold to hot; empty where the theme has none."""
        if share is None or not self.shades:
            return ""
        return self.shades[min(int(min(max(share, 0.0), 1.0) * len(self.shades)), len(self.shades) - 1)]

    def state(self, state: str) -> tuple[str, str]:
        """Mark and word of a state, and its style."""
        mark, plain, role = _STATES.get(state, ("?", "?", "muted"))
        return f"{plain if self.ascii else mark} {state.upper()}", f"bold {self.colour(role)}".strip()

    def arrow(self, trend: int) -> str:
        """The sign of a trend of -1, 0 or 1."""
        return self.glyph(("flat", "up", "down")[trend])

    def sparkline(self, values: np.ndarray, width: int) -> str:
        """The values as `width` bars at most, scaled between their own minimum and maximum; each bar is its bucket's mean."""
        if len(values) == 0 or width < 1:
            return ""
        parts = np.array_split(np.asarray(values, dtype=float), min(width, len(values)))
        heights = np.array([(part / len(part)).sum() for part in parts])
        levels = np.round(shares(heights, heights.min(), heights.max()) * 7).astype(int)
        return "".join((_ASCII_BARS if self.ascii else _BARS)[level] for level in levels)


def shares(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Where in [low, high] the values lie, from 0 to 1; those outside at the nearer end. Any finite numbers will do."""
    span = high / 2 - low / 2  # halves: the whole may be beyond all floats
    if not span > 0:
        return np.zeros(len(values))
    return ((values / 2 - low / 2) / span).clip(0, 1)


def printable(text: Text) -> Text:
    """The text with escapes for what is not printable: somebody else's log must not command this terminal."""
    if all(c.isprintable() or c == "\n" for c in text.plain):
        return text
    shown = [c if c == "\n" else files.printable(c) for c in text.plain]
    at = list(accumulate(map(len, shown), initial=0))
    spans = [Span(at[span.start], at[min(span.end, len(shown))], span.style) for span in text.spans if span.start < len(shown)]
    return Text("".join(shown), text.style, spans=spans)


def clock(time: float) -> str:
    """A moment as 14:03:59; dashes for one that no calendar has."""
    try:
        return strftime("%H:%M:%S", localtime(time))
    except (OverflowError, OSError, ValueError):
        return "--:--:--"


def short(value: float | None) -> str:
    """Three significant digits, without a leading zero: .512, 3.1, 1.2e-05; - for nothing."""
    if (known := number(value)) is None:
        return "-"
    size = abs(known)
    if size == 0:
        return "0"
    if size < 1e-3 or size >= 1e5:
        return f"{known:.1e}"
    if size >= 100:
        return f"{known:.0f}"
    if size >= 0.9995:
        return f"{known:.3g}"
    return f"{known:.3f}".replace("0.", ".", 1)


def plain(value: float | None) -> str:
    """A setting or a tick, as short as it can be: .3, 1, 0.01 as .01; - for nothing."""
    if (known := number(value)) is None:
        return "-"
    text = f"{known:.3g}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def cosine(value: float | None) -> str:
    """Two digits of a number in [0, 1]: .08; - for nothing."""
    if (known := number(value)) is None:
        return "-"
    return f"{known:.2f}".removeprefix("0") if abs(known) < 1e4 else f"{known:.0e}"


def percent(share: float | None) -> str:
    """A share as a whole percentage without the sign; - for nothing."""
    if (known := number(share)) is None:
        return "-"
    return f"{100 * known:.0f}" if abs(known) < 1e4 else f"{100 * known:.0e}"


def grouped(value: int) -> str:
    """A number of steps, in groups of three digits."""
    return f"{value:,}".replace(",", " ") if abs(value) < 1e15 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """As 04:12 or 3:04:12; years for what nobody waits for."""
    if not 0 <= seconds < 1e8:
        return "years"
    hours, rest = divmod(int(seconds), 3600)
    return (f"{hours}:" if hours else "") + f"{rest // 60:02d}:{rest % 60:02d}"


def letters(names: list[str]) -> dict[str, str]:
    """A letter of its own for every name, taken from the name where possible: total t, smoothness s, similarity i."""
    taken: dict[str, str] = {}
    for name in names:
        spare = [
            c for c in name.lower() + "abcdefghijklmnopqrstuvwxyz" if c.isascii() and c.isalpha() and c not in taken.values()
        ]
        taken[name] = spare[0] if spare else "?"
    return taken
