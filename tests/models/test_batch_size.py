"""How many images a pass takes: by what autograd keeps, and halved once memory is not enough."""

import pytest
import torch
from torch import nn

from trs_explorer import memory
from trs_explorer.attacks.pgd import pgd
from trs_explorer.evaluation.accuracy import evaluate
from trs_explorer.evaluation.transfer import transfer_matrix
from trs_explorer.models import batch_size
from trs_explorer.models.batch_size import COPIES, SHARE, Batches, fitting_batch
from trs_explorer.models.ensemble import Ensemble

SIDE, CHANNELS = 64, 5  # 16,384 bytes a plane


class Wide(nn.Module):
    """Keeps its input (for the convolution) and the output of the convolution (for the ReLU and the mean of squares)."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, CHANNELS, 1)

    def forward(self, x):
        return self.conv(x).relu().flatten(1)[:, :3]


def test_the_estimate_is_what_autograd_keeps_and_copies_of_the_image():
    """The convolution keeps its input, the ReLU its output."""
    plane = 4 * SIDE**2
    each = COPIES * 4 * plane + 4 * plane + CHANNELS * plane
    x = torch.rand(3, 4, SIDE, SIDE)
    for fits in (1, 4, 32):
        free = int(fits * each / SHARE) + 8
        assert fitting_batch(Wide(), x, free=free) == fits
        assert fitting_batch(Wide(), x, free=free - 64) == max(1, fits // 2)
    assert fitting_batch(Wide(), x, free=1 << 60) == 256
    assert fitting_batch(Wide(), x, most=100, free=1 << 60) == 100
    assert fitting_batch(Wide(), x, free=0) == 1


def test_the_estimate_changes_nothing_of_a_model_in_training_mode():
    model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.LazyLinear(3), nn.BatchNorm1d(3)).eval()
    x = torch.rand(1, 4, SIDE, SIDE)
    model(x)
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert fitting_batch(model, x) >= 1
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())


def test_a_pass_takes_a_bounded_number_of_operations():
    """A convolution of 1 x 1: two operations for each of its weights and places; three times for the way back."""
    flops = 3 * 2 * 4 * CHANNELS * SIDE**2
    with pytest.MonkeyPatch.context() as patch:
        for fits in (8, 64):
            patch.setitem(batch_size.MOST_FLOPS, "cpu", fits * flops)
            assert fitting_batch(Wide(), torch.rand(1, 4, SIDE, SIDE), free=1 << 60) == fits


def test_small_models_are_not_measured():
    class Counts(nn.Linear):
        passes = 0

        def forward(self, x):
            self.passes += 1
            return super().forward(x.flatten(1))

    model = Counts(784, 10)
    assert fitting_batch(model, torch.rand(2, 1, 28, 28)) == 256
    assert model.passes == 0
    assert fitting_batch(model, torch.rand(0, 1, 28, 28)) == 256


def test_batches_halve_until_they_fit_and_noise_stays_with_its_image():
    generator = torch.Generator().manual_seed(0)
    expected = torch.rand(23, generator=torch.Generator().manual_seed(0))
    seen = []

    def work(places):
        n = places.stop - places.start
        drawn = torch.rand(n, generator=generator)
        if n > 3:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes")
        seen.append(places)
        return drawn

    batches = Batches(16)
    drawn = torch.cat([done for _, done in batches.over(0, 23, work, generator)])
    assert batches.size == 2
    assert [(one.start, one.stop) for one in seen] == [(k, min(23, k + 2)) for k in range(0, 23, 2)]
    assert torch.equal(drawn, expected)


def test_other_errors_and_too_little_for_one_image_are_raised():
    def broken(places):
        raise RuntimeError("shapes differ")

    def large(places):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(RuntimeError, match="shapes differ"):
        list(Batches(4).over(0, 9, broken))
    with pytest.raises(torch.OutOfMemoryError):
        list(Batches(4).over(0, 9, large))
    assert list(Batches(4).over(5, 5, broken)) == []


@pytest.mark.parametrize(
    ("error", "out"),
    [
        (MemoryError(), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("could not allocate memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_the_lack_of_memory_looks_like(error, out):
    assert memory.is_out_of_memory(error) == out


def test_free_memory_is_a_part_of_the_total():
    assert 0 < memory.free_memory() <= memory.total_memory()


class Tight(nn.Module):
    """Has memory for 5 images only."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.layer = nn.Linear(16, 3)

    def forward(self, x):
        if len(x) > 5 and torch.is_grad_enabled():
            raise RuntimeError("out of memory")
        return self.layer(x.flatten(1))


def test_measurements_end_in_the_same_figures_with_smaller_batches():
    x = torch.rand(13, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    y = torch.arange(13) % 3
    tight = Ensemble([Tight(0), Tight(1)])
    roomy = Ensemble([nn.Sequential(nn.Flatten(), one.layer) for one in tight.members])
    attacks = [("pgd", pgd, {"eps": 0.2, "steps": 3})]
    ours, theirs = (evaluate(one, x, y, attacks=attacks, batch_size=8) for one in (tight, roomy))
    assert [rate.outcomes for rate in ours] == [rate.outcomes for rate in theirs]
    assert ours[1].perturbation == theirs[1].perturbation
    ours, theirs = (
        transfer_matrix(one, x, y, attack=lambda *args, **kwargs: pgd(*args, eps=0.2, steps=3, **kwargs), batch_size=8)
        for one in (tight, roomy)
    )
    assert ours == theirs
