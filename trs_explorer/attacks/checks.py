"""Checks of an attack's inputs and options. Every message names the bad value and the way out."""

import math

import torch
from torch import Tensor, nn

from trs_explorer.gradients import Images

IMAGE_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
LARGEST = 1e10  # radius, weight or constant: beyond it, squares overflow in float32
ROUNDING = 1e-3  # this far outside [0, 1] is the rounding of some arithmetic on images, not a normalisation


def check_images(x: Tensor, y: Tensor) -> None:
    """Raise unless x are images [batch, channel, height, width] in [0, 1] and y holds one whole number for each.

    Raises: TypeError for anything but tensors, otherwise ValueError.
    """
    for name, given in (("images", x), ("labels", y)):
        if not isinstance(given, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(given).__name__}: convert them by torch.as_tensor")
    if x.dtype not in IMAGE_TYPES:
        way_out = "" if x.is_floating_point() or x.is_complex() else ": divide bytes by 255"
        raise ValueError(f"images must be floating point in [0, 1], of 16 to 64 bits, got {x.dtype}{way_out}")
    if x.ndim != 4:
        way_out = ": make one image a batch by x[None]" if x.ndim == 3 else ""
        raise ValueError(f"images must be [batch, channel, height, width], got {list(x.shape)}{way_out}")
    if y.ndim != 1 or len(x) != len(y):
        raise ValueError(f"one label an image: got {tuple(x.shape)} images and {tuple(y.shape)} labels")
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise ValueError(f"labels must be whole numbers, got {y.dtype}")
    if not x.numel():
        return
    low, high = torch.stack(x.aminmax()).tolist()  # one number after the other, the CPU would wait for a GPU twice
    if math.isnan(low) or math.isnan(high):
        bad = int(x.flatten(1).isnan().any(-1).sum())
        raise ValueError(f"images must lie in [0, 1], but {bad} of {len(x)} have NaN pixels")
    if low < 0 or high > 1:
        rounding = low > -ROUNDING and high < 1 + ROUNDING
        way_out = "cut what rounding has added by x.clamp(0, 1)" if rounding else "put normalisation in the model"
        raise ValueError(f"images must lie in [0, 1], got [{_enough_digits(low)}, {_enough_digits(high)}]: {way_out}")


def _enough_digits(pixel: float) -> str:
    """The pixel in the fewest digits, at least 4, that show on which side of 0 and 1 it lies."""
    texts = (f"{pixel:.{digits}g}" for digits in range(4, 18))
    return next(text for text in texts if (float(text) < 0, float(text) > 1) == (pixel < 0, pixel > 1))


def check_radius(eps: float) -> None:
    """Raise ValueError unless eps is finite, >= 0 and at most LARGEST."""
    if not math.isfinite(eps) or eps < 0:
        raise ValueError(f"eps must be a finite radius >= 0 in [0, 1] pixels, got {eps}")
    check_number("eps", eps)


def check_number(name: str, value: float, *, positive: bool = False) -> None:
    """Raise ValueError unless the option's value lies in [0, LARGEST], and above 0 if positive is set."""
    if not math.isfinite(value) or value < 0 or (positive and value == 0):
        raise ValueError(f"{name} must be finite and {'>' if positive else '>='} 0, got {value}")
    if value > LARGEST:
        raise ValueError(f"{name} must be at most {LARGEST:g}, got {value:g}")


def check_labels(model: nn.Module, x: Tensor, y: Tensor) -> None:
    """Raise unless the model has two classes at least and every label is one of them.

    Runs the model on the first image of x, in the mode that it is in. Without this check, a GPU would stop with an assertion
    that does not say what is wrong.
    Raises: TypeError for a model that does not return a tensor. ValueError for everything else: labels out of range, labels or
    a model on another device than the images, a model of another type.
    """
    if y.device != x.device:
        raise ValueError(f"images and labels must be on one device, got {x.device} and {y.device}")
    try:
        with torch.no_grad():
            outputs = model(x[:1])
    except (AttributeError, RuntimeError, TypeError) as error:
        _raise_plain_cause(model, x, error)
        raise
    if not isinstance(outputs, Tensor):
        kind = type(outputs).__name__
        raise TypeError(f"the model must return a tensor [batch, class], got {kind}: wrap it in a module that returns its logits")
    shape = tuple(outputs.shape)
    if len(shape) != 2 or shape[0] != 1:
        raise ValueError(f"the model must return [batch, class], got {list(shape)} for one image")
    if shape[1] < 2:
        raise ValueError(
            f"the model must tell 2 classes at least, it has {shape[1]}: of one logit z for two classes, return [0, z]"
        )
    low, high = torch.stack(y.aminmax()).tolist()
    if low < 0 or high >= shape[1]:
        raise ValueError(f"labels must lie in [0, {shape[1] - 1}] for a model of {shape[1]} classes, got [{low}, {high}]")


def _raise_plain_cause(model: nn.Module, x: Images, error: Exception) -> None:
    """Raise ValueError in words where the model's error comes from its device or type; otherwise do nothing."""
    weight = next(model.parameters(), None)
    if weight is not None and weight.device != x.device:
        raise ValueError(f"the model is on {weight.device}, the images on {x.device}: move one to the other") from error
    if weight is not None and weight.is_floating_point() and weight.dtype != x.dtype:
        raise ValueError(f"the model is of {weight.dtype}, the images of {x.dtype}: x.to({weight.dtype})") from error
