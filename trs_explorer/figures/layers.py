"""What a slice's pixels can show besides the predicted classes: margins, confidence, disagreement; and gradients as arrows."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from trs_explorer.figures.boundaries import Gapped, gapped
from trs_explorer.figures.pixels import PALETTE, PIXELS, class_picture, palette_png, refined

LAYERS = {
    "class": "class",
    "margin": "margin",
    "confidence": "confidence",
    "disagreement": "disagreement",
    "arrows": "class and arrows",
}
KEYS = {
    "class": "Paler: the model is less confident.",
    "margin": "Blue where the true class leads, orange where another one does.",
    "confidence": "",
    "disagreement": "The same in every panel.",
    "arrows": "Arrows: where the loss of the true class grows fastest within the plane.",
}
MARGIN = 5.0  # logits, from which on the colour is full
WHITE, BLUE, ORANGE, DARK = (255, 255, 255), (0, 92, 160), (214, 104, 0), (40, 44, 60)
ARROWS = 13  # per side

Outputs = Float[np.ndarray, "row column model class"]


@dataclass(frozen=True)
class Scale:
    """What the colours of a layer stand for that does not show classes.

    name: of what is shown.
    low, high: what its ends mean.
    colours: from low to high.
    """

    name: str
    low: str
    high: str
    colours: tuple[tuple[int, int, int], ...]

    def css(self) -> str:
        """Return the scale as a CSS gradient."""
        return f"linear-gradient(to right, {', '.join(map(css_colour, self.colours))})"


SCALES = {
    "margin": Scale("margin of the true class", f"-{MARGIN:g} logits or less", f"{MARGIN:g} or more", (ORANGE, WHITE, BLUE)),
    "confidence": Scale("probability of the predicted class", "1 / number of classes", "1", (WHITE, DARK)),
    "disagreement": Scale("members whose class is not the ensemble's", "no member differs", "all differ", (WHITE, DARK)),
}


def css_colour(rgb: tuple[int, int, int]) -> str:
    """Return a colour as plotly and browsers write it."""
    return f"rgb{rgb}"


def layer_pictures(outputs: Outputs, layer: str, y: int) -> list[str]:
    """Return every model's pixels as the data URI of a PNG. layer: one of LAYERS.  y: the true class."""
    models = range(outputs.shape[2])
    if layer == "margin":
        return [_scaled(margins(outputs[:, :, m], y) / MARGIN / 2 + 0.5, layer) for m in models]
    if layer == "confidence":
        return [_scaled(_confidence(outputs[:, :, m]), layer) for m in models]
    if layer == "disagreement":
        return [_scaled(disagreement(outputs), layer)] * len(models)
    return [class_picture(outputs[:, :, m]) for m in models]


def margins(outputs: Float[np.ndarray, "row column class"], y: int) -> Float[np.ndarray, "row column"]:
    """Return z_y - max of the others: positive where a model predicts y."""
    return outputs[..., y] - np.delete(outputs, y, axis=-1).max(-1)


def disagreement(outputs: Outputs) -> Float[np.ndarray, "row column"]:
    """Return the share of the members whose class is not the ensemble's."""
    predicted = outputs.argmax(-1)
    return (predicted[..., :-1] != predicted[..., -1:]).mean(-1)


def arrows(outputs: Float[np.ndarray, "row column class"], y: int, low: float, high: float) -> Gapped:
    """Return arrows along which the log-odds against the true class grow, as one line with gaps."""
    n = len(outputs)
    logits = outputs.astype(float)
    shifted = logits - logits.max(-1, keepdims=True)
    others = np.log(np.exp(np.delete(shifted, y, axis=-1)).sum(-1) + 1e-300)
    up, right = np.gradient(others - shifted[..., y])
    at = np.linspace(0, n - 1, ARROWS + 2).round().astype(int)[1:-1]
    length, lines = 0.6 * (high - low) / (ARROWS + 1), []
    for row in at:
        for column in at:
            direction = np.array([right[row, column], up[row, column]])
            size = np.hypot(*direction)
            if not np.isfinite(size) or size == 0:
                continue
            direction *= length / size
            tail = low + (high - low) * np.array([column, row]) / (n - 1) - direction / 2
            tip, side = tail + direction, np.array([-direction[1], direction[0]])
            lines.append(np.array([tail, tip, tip - 0.35 * direction + 0.2 * side, tip, tip - 0.35 * direction - 0.2 * side]))
    return gapped(lines)


def _confidence(outputs: Float[np.ndarray, "row column class"]) -> Float[np.ndarray, "row column"]:
    confidence = 1 / np.exp(outputs - outputs.max(-1, keepdims=True)).sum(-1)
    lowest = 1 / outputs.shape[-1]
    return (confidence - lowest) / (1 - lowest)


def _scaled(values: Float[np.ndarray, "row column"], layer: str) -> str:
    """Colour values from 0 to 1 along a layer's scale; those that are not finite are grey."""
    colours = SCALES[layer].colours
    fine = refined(values.astype(np.float32), max(1, PIXELS // (len(values) - 1)))
    steps = PALETTE - 2
    place = np.where(np.isfinite(fine), fine.clip(0, 1) * steps, PALETTE - 1).astype(np.uint8)
    at = np.linspace(0, 1, len(colours))
    palette = np.stack([np.interp(np.linspace(0, 1, PALETTE - 1), at, [c[k] for c in colours]) for k in range(3)], -1)
    return palette_png(place[::-1], np.concatenate([palette, [[128, 128, 128]]]).round().astype(np.uint8))
