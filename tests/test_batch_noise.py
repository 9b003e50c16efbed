"""Random numbers of a batch are the same in any number of parts, and plain draws of the parts are independent."""

import itertools

import pytest
import torch

from trs_explorer.batch_noise import PartGenerator, rand, randint, randn, shared
from trs_explorer.defences.trs import moved_last

SPLITS = [[range(7)], [range(3), range(3, 7)], [range(1), range(1, 2), range(2, 7)]]


def seeded(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("split", SPLITS, ids=len)
def test_parts_draw_what_the_whole_batch_draws(split):
    """Against plain torch, several draws in turn; the last one is a member that is common to all images."""

    def draws(size, generator):
        return (
            rand((size, 2), generator=generator),
            randn((3, size), generator=generator, dim=1, dtype=torch.float64),
            randint(9, (2, size, 4), generator=generator, dim=1),
            torch.randperm(5, generator=shared(generator)),
        )

    plain = seeded()
    expected = (
        torch.rand(7, 2, generator=plain),
        torch.randn(3, 7, generator=plain, dtype=torch.float64),
        torch.randint(9, (2, 7, 4), generator=plain),
        torch.randperm(5, generator=plain),
    )
    parts = [draws(len(places), PartGenerator(places, 7, seeded(), 100 + k)) for k, places in enumerate(split)]
    for k, dim in enumerate((0, 1, 1)):
        assert torch.equal(torch.cat([part[k] for part in parts], dim), expected[k])
    assert all(torch.equal(part[3], expected[3]) for part in parts)
    assert all(torch.equal(one, other) for one, other in zip(draws(7, seeded()), expected, strict=True)), "an ordinary generator"


def test_plain_draws_are_of_the_part_alone():
    one, other = (PartGenerator(places, 7, seeded(), seed) for seed, places in ((1, range(3)), (2, range(3, 7))))
    drawn = [torch.rand(1000, generator=generator) for generator in (one, other, seeded())]
    for i in range(3):
        for j in range(i):
            assert abs(torch.corrcoef(torch.stack([drawn[i], drawn[j]]))[0, 1]) < 0.15  # 4.7 standard errors
    assert torch.equal(rand((3,), generator=one), torch.rand(7, generator=seeded())[:3]), "and do not disturb the common ones"


def test_numbers_for_another_number_of_images_are_refused():
    with pytest.raises(ValueError, match="the part has 3 images, numbers are drawn for 4"):
        rand((4,), generator=PartGenerator(range(3), 7, seeded(), 1))


@pytest.mark.parametrize("fraction", [0.0, 0.29, 0.5, 2 / 3, 1.0])
def test_the_same_images_move_in_any_number_of_parts_and_every_part_has_its_share(fraction):
    device, whole = torch.device("cpu"), range(40)
    order, number = moved_last(whole, fraction, device)
    moved = set(order.tolist()[40 - number :])
    assert number == int(40 * fraction + 1e-9)
    assert sorted(order.tolist()) == [*whole]
    for cuts in ((0, 20, 40), (0, 7, 18, 40)):
        parts = [range(a, b) for a, b in itertools.pairwise(cuts)]
        own = [moved_last(places, fraction, device) for places in parts]
        there = [
            {places.start + k for k in order.tolist()[len(places) - n :]} for places, (order, n) in zip(parts, own, strict=True)
        ]
        assert set.union(*there) == moved
        for places, (_, n) in zip(parts, own, strict=True):
            assert abs(n - fraction * len(places)) < 1
