"""Convert arrays of a user's file to images and labels, or say what is wrong with their layout, type or range."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trs_explorer.data.user_data import MOST_CLASSES
from trs_explorer.options import UsageError

CHANNELS = (1, 3, 4)  # by which a channel axis is recognised: grey, RGB, RGBA
_ROUNDING = 1e-5  # how far rounding may carry a float out of [0, 1]

Array = NDArray[Any]


def to_images(values: Array, where: str) -> tuple[Array, list[str]]:
    """The values as images [n, channel, height, width], uint8 or float32 in [0, 1], and notes on what was done.

    - values: [n, channel, height, width], [n, height, width, channel] or [n, height, width]; booleans, whole numbers in 0 .. 255
      or floats in [0, 1].
    - where: file and array, for messages.

    Raises: UsageError for any other shape, type or value.
    """
    images, notes = _channel_first(values, where)
    kind = images.dtype.kind
    if kind == "b":
        return _contiguous(images.astype(np.uint8) * np.uint8(255)), [*notes, "true and false became 255 and 0"]
    if kind in "ui":
        return _from_whole_numbers(images, where), notes
    if kind == "f":
        images, more = _from_floats(images, where)
        return images, notes + more
    raise UsageError(f"{where}: images must be numbers, got {values.dtype}: store uint8, or floats in [0, 1]")


def _channel_first(values: Array, where: str) -> tuple[Array, list[str]]:
    """A view with the axes [n, channel, height, width]."""
    text = "x".join(map(str, values.shape)) or "a single number"
    if values.ndim not in (3, 4):
        way = "reshape them" if values.ndim == 2 else "store them so"
        raise UsageError(f"{where}: images must be [n, channel, height, width], got {text}: {way}")
    if not values.size:
        raise UsageError(f"{where}: there are no images, the shape is {text}")
    if values.ndim == 3:
        return values[:, None], []
    first, last = values.shape[1] in CHANNELS, values.shape[3] in CHANNELS
    if last and not first:
        return values.transpose(0, 3, 1, 2), ["the last axis was taken as the channels and moved first"]
    if (first and last) or values.shape[1] > max(CHANNELS):
        return values, [f"the second axis of {text} was taken as the channels"]
    return values, []


def _from_whole_numbers(images: Array, where: str) -> Array:
    low, high = int(images.min()), int(images.max())
    if low < 0 or high > 255:
        way = "divide 16-bit values by 65535 and store floats" if low >= 0 and high < 1 << 16 else "store uint8"
        raise UsageError(f"{where}: images of whole numbers must lie in 0 .. 255, got {low} .. {high}: {way}")
    if high == 1:
        way = "multiply by 255, or store floats"
        raise UsageError(f"{where}: whole numbers are pixels in 0 .. 255, but these are only 0 and 1, nearly black: {way}")
    return _contiguous(images.astype(np.uint8, copy=False))


def _from_floats(images: Array, where: str) -> tuple[Array, list[str]]:
    low, high = float(images.min()), float(images.max())
    if not np.isfinite(low + high):
        first = next(k for k, image in enumerate(images) if not np.isfinite(image).all())
        raise UsageError(f"{where}: image {first:,} holds NaN or infinity: remove or replace it")
    span = f"images must lie in [0, 1], got [{low:g}, {high:g}]"
    if low < -_ROUNDING:
        raise UsageError(f"{where}: {span}: store pixels without normalisation and make it the model's first layer")
    if high > 1 + _ROUNDING:
        way = "divide by 255 or store uint8" if high <= 255 + 255 * _ROUNDING else "divide by the largest possible value"
        raise UsageError(f"{where}: {span}: {way}")
    notes = [f"the largest pixel is {high:.3g}: were they divided by 255 twice?"] if 0 < high < 0.02 else []
    converted = _contiguous(images.astype(np.float32, copy=False))
    if low < 0 or high > 1:
        notes.append(f"values in [{low:.8g}, {high:.8g}] were clipped to [0, 1]")
        converted = converted.clip(0, 1)
    return converted, notes


def _contiguous(images: Array) -> Array:
    return np.ascontiguousarray(images)


def to_labels(values: Array, where: str) -> tuple[Array, list[str]]:
    """The values as labels [n], int64, 0 .. MOST_CLASSES - 1, and notes on what was done.

    - values: [n] or [n, 1]; whole numbers, also as floats, or booleans.
    - where: file and array, for messages.

    Raises: UsageError for any other shape, type or value.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 1 and not values.size:
        raise UsageError(f"{where}: there are no labels: store one whole number per image")
    if values.ndim != 1:
        text = "x".join(map(str, values.shape)) or "a single number"
        way = "one-hot labels become whole numbers by y.argmax(1)" if values.ndim == 2 else "store one whole number per image"
        raise UsageError(f"{where}: labels must be [n], one whole number per image, got {text}: {way}")
    if values.dtype.kind in "US":
        way = "np.unique(labels, return_inverse=True) gives class names and labels"
        raise UsageError(f"{where}: labels must be whole numbers, got text: {way}")
    if values.dtype.kind not in "buif":
        raise UsageError(f"{where}: labels must be whole numbers, got {values.dtype}: store int64")
    notes = []
    if values.dtype.kind == "f":
        fractions = ~np.isfinite(values) | (values != np.floor(values))
        if fractions.any():
            first = int(fractions.argmax())
            raise UsageError(f"{where}: labels must be whole numbers, got {values[first]:g} for image {first:,}: store int64")
        notes.append(f"labels of type {values.dtype} became whole numbers")
    low, high = int(values.min()), int(values.max())
    if low < 0:
        raise UsageError(f"{where}: labels must be >= 0, got {low}: remove images without a label, and count classes from 0")
    if high >= MOST_CLASSES:
        raise UsageError(f"{where}: labels must lie in 0 .. {MOST_CLASSES - 1}, got {high}: number the classes from 0")
    if low == 1:
        notes.append(f"no image has label 0, the labels are 1 .. {high}: if the classes are counted from 1, subtract 1")
    return values.astype(np.int64), notes
