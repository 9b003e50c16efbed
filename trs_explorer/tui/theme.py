"""Convert a textual theme to a Format: colours by role, and shades for heat maps."""

import contextlib
from collections.abc import Mapping

from textual.color import Color, ColorParseError

from trs_explorer.tui.formatting import Format

SERIES_COLOURS = ("foreground", "primary", "warning", "success", "accent", "secondary", "error")
SHADES = 6


def format_of(theme: Mapping[str, str], *, ascii_only: bool, no_color: bool) -> Format:
    """The Format of a theme's variables. ANSI themes (the terminal's own colours) and NO_COLOR get no shades, only numbers."""
    named = {name: value.removeprefix("ansi_") for name, value in theme.items()}
    roles = {str(i): named[name] for i, name in enumerate(SERIES_COLOURS) if name in named}
    roles |= {"good": named["success"], "warn": named["warning"], "bad": named["error"], "mark": named["accent"]}
    roles |= {"muted": "dim", "reference": "bright_black"}
    shades: tuple[str, ...] = ()
    if not no_color:
        with contextlib.suppress(KeyError, ColorParseError):
            ink, cold, hot = (Color.parse(theme[name]) for name in ("foreground", "background", "warning"))
            if cold.ansi is None and hot.ansi is None:
                if cold.brightness > 0.5:  # orange and green on white are hard to read: make them darker
                    roles |= {
                        role: Color.parse(roles[role]).blend(ink, 0.4).hex for role in roles if role not in ("muted", "reference")
                    }
                roles["reference"] = cold.blend(ink, 0.5).hex
                mixed = [cold.blend(hot, 0.08 + 0.72 * i / (SHADES - 1)) for i in range(SHADES)]
                shades = tuple(f"{colour.get_contrast_text(1).hex} on {colour.hex}" for colour in mixed)
    return Format(ascii_only, roles, shades)
