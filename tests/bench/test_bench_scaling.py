"""`trs bench scaling`: growth is worked out from the times, and drawn; the released step computes its authors' objective."""

import math

import pytest
import torch
import torch.nn.functional as F

from trs_explorer.bench import scaling
from trs_explorer.bench.published import released_trs
from trs_explorer.data import load
from trs_explorer.figures.scaling_figure import scaling_figure
from trs_explorer.models import Ensemble, build
from trs_explorer.models.stored import load_ensemble
from trs_explorer.runs import open_run
from trs_explorer.shipped import folder


@pytest.fixture
def rows(monkeypatch):
    """Linear in the members but for one measurement; with twice the side images take twice the time."""
    times = {"members 2": 0.01, "members 4": 0.022, "members 8": 0.04, "members 16": 0.08}
    times |= {f"pixels {side**2}": side / 1000 for side in scaling.SIZES}
    monkeypatch.setattr(scaling, "_step", lambda *what: what)
    monkeypatch.setattr(scaling, "interleaved", lambda variants, rounds: {name: times[name] for name in variants})
    return scaling.bench_scaling("patch", 3)


def test_growth_is_relative_to_the_first_row_and_the_row_above(rows):
    assert [row["against linear"] for row in rows] == pytest.approx([1, 1.1, 1, 1, 1, 1 / 2, 1 / 4, 1 / 8])
    slopes = [row["slope"] for row in rows]
    assert (slopes[0], slopes[4]) == (None, None)
    assert slopes[1:4] == pytest.approx([math.log2(2.2), math.log2(40 / 22), 1])
    assert slopes[5:] == pytest.approx([0.5] * 3)
    assert [row["ms per unit"] for row in rows[:4]] == pytest.approx([5, 5.5, 5, 5])


def test_the_figure_has_what_was_measured_beside_proportion(rows):
    figure = scaling_figure(rows, title="here")
    proportional, measured = figure.data[:2]
    assert list(measured.x) == [2, 4, 8, 16]
    assert list(measured.y) == pytest.approx([10, 22, 40, 80])
    assert list(proportional.y) == pytest.approx([10, 20, 40, 80])
    assert list(figure.data[3].y) == pytest.approx([28, 56, 112, 224])
    assert (figure.layout.xaxis.type, figure.layout.yaxis2.type) == ("log", "log")


def test_a_step_computes_the_loss_of_those_members_and_images():
    assert 1 < scaling._step("patch", 2, 28, 4)() < 4  # near ln 10


def test_the_released_step_has_its_authors_objective():
    """At delta 0 support points are the images themselves: cross-entropies summed, cosines and squared norms of mean losses."""
    ensemble: Ensemble = build("patch", "mnist", 3, seed=0).double()
    x, y = torch.rand(6, 1, 28, 28, dtype=torch.float64), torch.arange(6)
    gradients, ce = [], 0.0
    for member in ensemble.members:
        images = x.clone().requires_grad_()
        loss = F.cross_entropy(member(images), y)
        gradients.append(torch.autograd.grad(loss, images)[0].flatten(1))
        ce += loss.item()
    cosines = [F.cosine_similarity(gradients[i], gradients[j]).abs().mean() for i, j in ((0, 1), (0, 2), (1, 2))]
    norms = [gradient.square().sum(1).mean() for gradient in gradients]
    expected = ce + 2 * sum(cosines) / 3 + 500 * sum(norms) / 3
    found = released_trs(ensemble, x, y, lambda_a=2.0, lambda_b=500.0, delta=0.0, inner_steps=2)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)  # losses are computed in float32


def test_the_released_search_finds_larger_gradients():
    ensemble, test = load_ensemble(open_run(folder("checkpoints") / "mnist-trs"))[0], load("mnist", train=False)
    x, y = test.images(slice(0, 40)), test.y[:40]
    only_norms = {"lambda_a": 0.0, "lambda_b": 1e6, "inner_steps": 6}
    clean, moved = (released_trs(ensemble, x, y, delta=delta, **only_norms).item() for delta in (0.0, 0.1))
    assert moved > 2 * clean
