"""Colours of the charts that are still plain dictionaries; everything else is in `trs_explorer.figures`."""

from trs_explorer.figures.theme import CLASS_COLOURS, LOOKS, Look, as_label

__all__ = ["CLASS_COLOURS", "as_label", "ink"]


def ink(dark: bool) -> Look:
    """Return the colours of the dark or the light look."""
    return LOOKS["dark" if dark else "light"]
