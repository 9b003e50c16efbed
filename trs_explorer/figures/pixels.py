"""The coloured pixels of a slice as small palette PNGs."""

import base64
import io

import numpy as np
from jaxtyping import Float
from PIL import Image

from trs_explorer.figures.theme import UNDEFINED, class_colours

SHADES = 12  # of a class, by confidence
PALEST = 0.6  # of the way to white, where a model is least confident
PALETTE = 256  # colours of a PNG; the last one is for outputs that are not finite
PIXELS = 384  # per side, about: the edges of the pixels' colours then follow the boundaries' lines

FINEST = 8  # pixels from one point to the next: a coarse picture soon gives way to a finer one

Outputs = Float[np.ndarray, "row column class"]


def class_picture(outputs: Outputs) -> str:
    """Return a PNG (a data URI) of the classes that one model predicts, with the lowest row at the bottom.

    A class has its colour of `class_colours`, paler where the model is less confident, and grey where an output is not finite.
    Between the grid's points, outputs are interpolated. The picture covers the square from the first point to the last. Of more
    than 255 classes that occur, all beyond are grey.
    """
    factor = max(1, min(FINEST, PIXELS // (len(outputs) - 1)))
    defined = np.isfinite(outputs).all(-1)
    values = np.where(defined[..., None], outputs, 0).astype(np.float32)
    classes = np.unique(values.argmax(-1))[: PALETTE - 1]
    predicted = refined(values[..., classes], factor).argmax(-1)
    highest = values.max(-1)
    confidence = 1 / np.exp(values - highest[..., None]).sum(-1)
    lowest = 1 / outputs.shape[-1]
    shades = min(SHADES, (PALETTE - 1) // len(classes))
    shade = (refined((confidence - lowest) / (1 - lowest), factor) * shades).astype(int).clip(0, shades - 1)
    seen = refined(defined.astype(np.float32), factor) == 1
    pixels = np.where(seen, predicted * shades + shade, PALETTE - 1).astype(np.uint8)
    colours = class_colours(outputs.shape[-1])
    palette = np.zeros((PALETTE, 3), np.uint8)
    for k, c in enumerate(classes.tolist()):
        for step in range(shades):
            palette[k * shades + step] = _paler(colours[c], PALEST * (1 - step / max(1, shades - 1)))
    palette[-1] = _paler(UNDEFINED, 0)
    return palette_png(pixels[::-1], palette)


def refined(values: Float[np.ndarray, "row column *rest"], factor: int) -> Float[np.ndarray, "fine_row fine_column *rest"]:
    """Interpolate linearly between a grid's points, in `factor` steps from one to the next."""
    for axis in (0, 1):
        n = values.shape[axis]
        place = np.arange((n - 1) * factor + 1)
        below = np.minimum(place // factor, n - 2)
        share = (place / factor - below).astype(values.dtype).reshape([-1 if k == axis else 1 for k in range(values.ndim)])
        first, second = np.take(values, below, axis), np.take(values, below + 1, axis)
        values = first + share * (second - first)
    return values


def palette_png(pixels: np.ndarray, palette: np.ndarray) -> str:
    """Encode palette indices [row, column], uint8, the upper row first, as a PNG's data URI. palette: [colour, 3], uint8."""
    picture = Image.fromarray(pixels, "P")
    picture.putpalette(palette.tobytes())
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=3)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _paler(colour: str, share: float) -> np.ndarray:
    """Mix a colour (#rrggbb) with white."""
    rgb = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)])
    return np.round(rgb + share * (255 - rgb)).astype(np.uint8)
