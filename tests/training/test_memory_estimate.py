"""The estimate of a GPU's memory, on tensors without values."""

from dataclasses import replace

import pytest
import torch

from trs_explorer.catalogue import METHODS
from trs_explorer.config import resolve
from trs_explorer.models.factory import build_for
from trs_explorer.training import memory_estimate
from trs_explorer.training.memory_estimate import LIBRARIES, SPARE, MemoryEstimate, PeakMemory, estimate


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_peak_counts_what_is_there_at_once(device):
    given = torch.empty(10_000, device=device)
    with PeakMemory() as counted:
        first = given + 1  # 40,000 bytes
        view = first.view(100, 100)[3:]  # of the same bytes
        second = first.double()  # 80,000
        assert counted.now == 120_000
        del first
        assert counted.now == 120_000  # the view needs them
        del view, second
        assert counted.now == 0
        third = given + 1
        third.add_(1)
        assert (counted.now, counted.peak) == (40_000, 120_000)


def test_a_backward_pass_counts_what_autograd_keeps():
    """x -> exp -> exp -> sum: autograd keeps both results, and makes a gradient of each."""
    x = torch.empty(1000, device="meta", requires_grad=True)
    with PeakMemory() as counted:
        y = x.exp().exp().sum()
        assert counted.now == 2 * 4000 + 4
        (gradient,) = torch.autograd.grad(y, x)
        assert counted.now == 4000 + 4
    assert 3 * 4000 + 4 <= counted.peak <= 4 * 4000 + 8
    assert gradient.nbytes == 4000


def test_the_same_as_on_the_cpu():
    """Counted on tensors with values, in the same way: shapes alone lose nothing."""
    config = resolve({"method": "cos-only", "model": "lenet", "batch_size": 4})
    ensemble, counted = build_for(config).train(), PeakMemory()
    x, y, options = torch.rand(4, 1, 28, 28), torch.zeros(4, dtype=torch.long), dict(config.options)
    from trs_explorer.defences.trs import trs

    with counted:
        terms = trs(ensemble, x, y, **options, progress=1.0, generator=torch.Generator(), x_ce=x)
        gradients = torch.autograd.grad(terms["total"], list(ensemble.parameters()))
        del terms, gradients
    assert estimate(config, 4).step == pytest.approx(counted.peak, rel=0.05)


FAST = ("trs", "igat", "fasten")


@pytest.mark.parametrize("method", [pytest.param(name, marks=[] if name in FAST else pytest.mark.slow) for name in METHODS])
def test_every_method_has_an_estimate(method):
    config = resolve({"method": method, "model": "patch", "members": 2, "batch_size": 8, "epochs": 2})
    estimated, twice = (estimate(one) for one in (config, replace(config, batch_size=16)))
    weights = sum(weight.nbytes for weight in build_for(config).state_dict().values())
    kept = 28 * 28 if method == "fasten" else 0
    assert estimated.weights == weights * (2 if config.optimizer == "sgd" else 3)
    assert estimated.data == 60_000 * (28 * 28 + 8 + kept)
    assert estimated.step < twice.step < 2 * estimated.step


def test_a_warning_says_the_way_out():
    estimated = MemoryEstimate(weights=100 << 20, data=100 << 20, step=800 << 20)
    assert estimated.total == int(SPARE * (1000 << 20)) + LIBRARIES
    assert estimated.warning(estimated.total, 128) == ""
    free = LIBRARIES + int(SPARE * (600 << 20))
    assert estimated.warning(free, 128).endswith("are free: take --batch-size 64 or less, or fewer --members")
    assert estimated.warning(LIBRARIES, 128).endswith("take fewer --members or a smaller --model")


def test_a_note_before_the_first_step_on_a_gpu(monkeypatch):
    config, gpu = resolve({"method": "standard", "members": 2}), torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 0)
    for free, notes in ((1 << 40, 0), (1 << 20, 1)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, free))
        assert len(memory_estimate.warnings(config, gpu, 100)) == notes
    assert memory_estimate.warnings(config, torch.device("cpu"), 100) == []
