"""Images and labels as a notebook has them (tensors, arrays, lists, one image alone), as the tensors that measurements take."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from trs_explorer.data.array_values import CHANNELS, to_images, to_labels
from trs_explorer.options import UsageError


def as_images(images: object) -> Tensor:
    """Return images as a tensor [batch, channel, height, width] of floats in [0, 1], on the device that they are on.

    - images: a tensor, an array or a (nested) list: [batch, channel, height, width], or one image, [channel, height, width]. Also
      with the channels (1, 3 or 4) last. Whole numbers and booleans are pixels in 0 .. 255 and false or true.
    - Tensors of floating point keep their type; everything else becomes float32.

    Three axes are one image if the first or the last are channels, else grey images [batch, height, width]; `as_batch` knows
    from the labels. Raises: UsageError for other shapes, types and values.
    """
    values = _array_or_tensor(images, "x")
    one = values.ndim == 3 and (values.shape[0] in CHANNELS or values.shape[-1] in CHANNELS)
    return _images(values, one or values.ndim == 2)


def as_labels(labels: object) -> Tensor:
    """Return labels as a tensor [batch] of int64: from a tensor, an array or a list of whole numbers, or one number.

    Raises: UsageError for anything else.
    """
    values = _array_or_tensor(labels, "y")
    if isinstance(values, Tensor):
        y, _ = to_labels(values.cpu().reshape(-1 if values.ndim == 0 else values.shape).numpy(), "y")
        return torch.from_numpy(y).to(values.device)
    return torch.from_numpy(to_labels(values.reshape(-1) if values.ndim == 0 else values, "y")[0])


def as_batch(images: object, labels: object) -> tuple[Tensor, Tensor]:
    """Return images and their labels as `as_images` and `as_labels` do, on the images' device. One label: one image.

    Raises: UsageError, also if there are more images than labels or the other way round.
    """
    y = as_labels(labels)
    values = _array_or_tensor(images, "x")
    one = len(y) == 1 and values.ndim in (2, 3)
    x = _images(values, one)
    if len(x) != len(y):
        raise UsageError(f"there must be a label for each image, got {len(x)} images and {len(y)} labels")
    return x, y.to(x.device)


def _images(values: Any, one: bool) -> Tensor:
    if one:
        values = values[None, None] if values.ndim == 2 else values[None]
    if isinstance(values, Tensor) and values.is_floating_point() and _is_plain(values):
        return values
    device = values.device if isinstance(values, Tensor) else None
    array = values.float().cpu().numpy() if isinstance(values, Tensor) and values.is_floating_point() else values
    array = array.cpu().numpy() if isinstance(array, Tensor) else array
    pixels, _ = to_images(array, "x")
    x = torch.from_numpy(pixels)
    return (x.float() / 255 if x.dtype == torch.uint8 else x).to(device)


def _is_plain(values: Tensor) -> bool:
    """Whether images can be used as they are: so they keep their type, and their bits."""
    if values.ndim != 4 or not values.numel():
        return False
    first, last = (values.shape[axis] in CHANNELS for axis in (1, 3))
    low, high = (float(bound) for bound in values.aminmax())
    return (first or not last) and 0 <= low <= high <= 1


def _array_or_tensor(values: object, what: str) -> Any:
    """Return values as a tensor or an array of numbers."""
    if isinstance(values, Tensor):
        return values.detach()
    if isinstance(values, list | tuple) and values and all(isinstance(one, Tensor) for one in values):
        try:
            return torch.stack(list(values)).detach()
        except RuntimeError as error:
            raise UsageError(f"{what}: all must have one shape: {str(error).splitlines()[0]}") from error
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{what}: all must have one shape: {error}") from error
    if array.dtype == object:
        raise UsageError(f"{what} must be a tensor, an array or a list of numbers, got a {type(values).__name__}")
    return array
