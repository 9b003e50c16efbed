"""Random shifts and mirror images against a plain loop, and how they are distributed."""

import numpy as np
import torch

from trs_explorer.data.augment import crop_and_flip


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_it_is_what_a_plain_loop_over_the_images_does():
    x = torch.rand(40, 3, 12, 17, generator=seeded(1))
    draws = seeded(7)
    top, left = torch.randint(9, (2, 40), generator=draws).tolist()
    mirrored = (torch.rand(40, generator=draws) < 0.5).tolist()
    expected = np.zeros_like(x.numpy())
    for k in range(40):
        canvas = np.zeros((3, 12 + 8, 17 + 8), np.float32)
        canvas[:, 4:16, 4:21] = x[k].numpy()
        crop = canvas[:, top[k] : top[k] + 12, left[k] : left[k] + 17]
        expected[k] = crop[:, :, ::-1] if mirrored[k] else crop
    before = x.clone()
    np.testing.assert_array_equal(crop_and_flip(x, seeded(7)).numpy(), expected)
    assert torch.equal(x, before)


def test_every_shift_and_both_directions_are_equally_frequent():
    """A bright pixel left of a dim one tells where an image went, and whether it was mirrored."""
    each, n = 50, 50 * 9 * 9 * 2
    x = torch.zeros(n, 1, 11, 12)
    x[:, 0, 5, 5], x[:, 0, 5, 6] = 1, 0.5
    moved = crop_and_flip(x, seeded()).flatten(1)
    bright, dim = moved.argmax(1), (moved == 0.5).int().argmax(1)
    mirrored = bright > dim
    assert torch.equal((bright - dim).abs(), torch.ones(n, dtype=torch.int64))
    row, column = bright // 12, torch.where(mirrored, 11 - bright % 12, bright % 12)
    assert (row.min(), row.max(), column.min(), column.max()) == (1, 9, 1, 9)
    counts = torch.bincount((mirrored * 9 + row - 1) * 9 + column - 1, minlength=162).double()
    chi_squared = ((counts - each) ** 2 / each).sum()
    assert abs(chi_squared - 161) < 4 * (2 * 161) ** 0.5, "161 degrees of freedom, within 4 standard deviations"


def test_the_generator_alone_decides():
    x = torch.rand(16, 1, 28, 28, generator=seeded(1))
    state = torch.get_rng_state()
    first = crop_and_flip(x, seeded(3))
    assert torch.equal(crop_and_flip(x, seeded(3)), first)
    assert not torch.equal(crop_and_flip(x, seeded(4)), first)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.shape == x.shape
    assert 0 <= first.min() <= first.max() <= 1
