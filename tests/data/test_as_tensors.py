"""Images and labels as a notebook has them become tensors, or an error in words."""

import re

import numpy as np
import pytest
import torch

from trs_explorer.data.as_tensors import as_batch, as_images, as_labels
from trs_explorer.options import UsageError

BYTES = np.arange(2 * 3 * 5 * 4, dtype=np.uint8).reshape(2, 3, 5, 4)
FLOATS = torch.from_numpy(BYTES).float() / 255


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_in_range_are_taken_as_they_are(kind):
    x = FLOATS.to(kind)
    assert as_images(x).data_ptr() == x.data_ptr()
    assert as_images(x).dtype == kind


@pytest.mark.parametrize(
    "given",
    [
        BYTES,
        torch.from_numpy(BYTES),
        BYTES.tolist(),
        BYTES.transpose(0, 2, 3, 1),
        [*BYTES],
        [*torch.from_numpy(BYTES)],
        BYTES.astype(np.int64),
        FLOATS.numpy(),
        FLOATS.double().numpy(),
        FLOATS.numpy().transpose(0, 2, 3, 1),
        FLOATS.permute(0, 2, 3, 1),
        FLOATS.clone().requires_grad_(),
    ],
    ids=lambda given: f"{type(given).__name__}-{getattr(given, 'dtype', '')}",
)
def test_everything_else_becomes_the_same_floats(given):
    x = as_images(given)
    assert (x.dtype, x.requires_grad) == (torch.float32, False)
    assert torch.equal(x, FLOATS)


def test_one_image_is_a_batch_of_one():
    for one in (BYTES[0], FLOATS[0], BYTES[0].transpose(1, 2, 0), BYTES[0].tolist()):
        assert torch.equal(as_images(one), FLOATS[:1])
        assert torch.equal(as_batch(one, 7)[0], FLOATS[:1])
    assert torch.equal(as_images(BYTES[0, 0]), FLOATS[:1, :1])


def test_the_labels_tell_one_image_from_several_grey_ones():
    grey = FLOATS[0]  # [3, 5, 4]: one image of three channels, or three images
    assert as_batch(grey, [1])[0].shape == (1, 3, 5, 4)
    assert as_batch(grey, 1)[0].shape == (1, 3, 5, 4)
    assert as_batch(grey, [1, 2, 3])[0].shape == (3, 1, 5, 4)
    assert as_batch(grey[:1], [1])[0].shape == (1, 1, 5, 4)


def test_labels_become_int64():
    for given in (
        [0, 3],
        (0, 3),
        np.array([0, 3], np.uint8),
        torch.tensor([0, 3]),
        torch.tensor([0.0, 3.0]),
        np.array([[0], [3]]),
    ):
        y = as_labels(given)
        assert y.dtype == torch.int64
        assert y.tolist() == [0, 3]
    for one in (3, np.int64(3), torch.tensor(3), np.array(3)):
        assert as_labels(one).tolist() == [3]


WRONG = {
    "x: images must lie in [0, 1], got [0, 119]: divide by 255": (BYTES.astype(float), [0, 1]),
    "x: images must lie in [0, 1], got [-1, -0.533333]: store pixels without normalisation": (FLOATS - 1, [0, 1]),
    "x: image 1 holds NaN or infinity": (FLOATS.clone().index_fill_(0, torch.tensor(1), torch.nan), [0, 1]),
    "x: whole numbers are pixels in 0 .. 255, but these are only 0 and 1": (BYTES % 2, [0, 1]),
    "x: images must be [n, channel, height, width], got 5x4": (BYTES[0, 0], [0, 1]),
    "x: all must have one shape": ([[1, 2], [3]], [0, 1]),
    "x must be a tensor, an array or a list of numbers, got a dict": ({}, [0]),
    "y: labels must be [n], one whole number per image, got 2x2": (BYTES, np.eye(2)),
    "y: labels must be whole numbers, got 0.5": (BYTES, [0.5, 1]),
    "y: labels must be >= 0, got -1": (BYTES, [0, -1]),
    "y: labels must be whole numbers, got text": (BYTES, ["cat", "dog"]),
    "there must be a label for each image, got 2 images and 3 labels": (BYTES, [0, 1, 2]),
}


@pytest.mark.parametrize("text", WRONG)
def test_what_cannot_be_used_is_said_in_words(text):
    with pytest.raises(UsageError, match=re.escape(text)):
        as_batch(*WRONG[text])
