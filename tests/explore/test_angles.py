import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trs_explorer.explore import angles as angles_file
from trs_explorer.explore.angles import Angles, angles, angles_sentence, fooled_sentence
from trs_explorer.models import build
from trs_explorer.models.ensemble import Ensemble

X, Y = torch.full((1, 1, 1, 2), 0.5), torch.tensor([0])


class Margin(nn.Module):
    """Two logits +-w . x / 2: the loss's gradient is -sigmoid(-w . x) w, of known direction and length."""

    def __init__(self, w):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w), requires_grad=False)

    def forward(self, x):
        margin = x.flatten(1) @ self.w / 2
        return torch.stack([margin, -margin], -1)


def test_angles_and_norms_of_linear_members_are_known():
    tilt = math.radians(60)
    ensemble = Ensemble([Margin([1.0, 0.0]), Margin([-3 * math.cos(tilt), -3 * math.sin(tilt)]), Margin([0.0, 2.0])])
    found = angles(ensemble, X, Y, eps=0.2, samples=200, seed=0)
    expected = np.abs(np.array([[1, 0.5, 0], [0.5, 1, math.sin(tilt)], [0, math.sin(tilt), 1]]))
    for matrix in (found.at_x, found.mean, found.largest):
        assert matrix == pytest.approx(expected, abs=1e-6)
    assert found.deviation == pytest.approx(np.zeros((3, 3)), abs=1e-6)
    assert found.norms[0] == pytest.approx(1 / (1 + math.exp(0.5)), abs=1e-6)
    assert found.norms[2] == pytest.approx(2 / (1 + math.exp(1.0)), abs=1e-6)
    supremum = 1 / (1 + math.exp(0.3))  # at the side of the ball where the first pixel is 0.3
    assert supremum - 0.005 < found.steepest[0] <= supremum
    assert found.vanishing.tolist() == [0, 0, 0]


def test_statistics_are_those_of_the_sampled_points():
    """Against one autograd call a point, for the points that the seed draws."""
    ensemble = build("mlp", "bars", 3, seed=1)
    x = torch.tensor([0.05, 0.9]).view(1, 1, 1, 2)
    found = angles(ensemble, x, Y, eps=0.3, samples=20, seed=5)
    noise = torch.rand(20, 1, 1, 2, generator=torch.Generator().manual_seed(5))
    low, high = torch.tensor([0.0, 0.6]).view(1, 1, 2), torch.tensor([0.35, 1.0]).view(1, 1, 2)
    cosines, lengths = [], []
    for point in [x[0], *(low + noise * (high - low))]:
        rows = []
        for member in ensemble.members:
            image = point[None].clone().requires_grad_()
            F.cross_entropy(member(image), Y).backward()
            rows.append(image.grad.flatten().double())
        rows = torch.stack(rows)
        lengths.append(rows.norm(dim=-1))
        cosines.append((F.normalize(rows, dim=-1) @ F.normalize(rows, dim=-1).T).abs())
    cosines, lengths = torch.stack(cosines), torch.stack(lengths)
    assert found.at_x == pytest.approx(cosines[0].numpy(), abs=1e-5)
    assert found.mean == pytest.approx(cosines[1:].mean(0).numpy(), abs=1e-5)
    assert found.deviation == pytest.approx(cosines[1:].std(0, correction=0).numpy(), abs=1e-5)
    assert found.largest == pytest.approx(cosines[1:].amax(0).numpy(), abs=1e-5)
    assert found.norms == pytest.approx(lengths[0].numpy(), rel=1e-4)
    assert found.steepest == pytest.approx(lengths.amax(0).numpy(), rel=1e-4)
    assert found.deviation[0, 1] > 0.01
    again = angles(ensemble, x, Y, eps=0.3, samples=20, seed=5)
    assert np.array_equal(again.mean, found.mean)
    assert not np.array_equal(angles(ensemble, x, Y, eps=0.3, samples=20, seed=6).mean, found.mean)
    assert all(module.training for module in ensemble.modules())


def test_a_gradient_of_rounding_has_no_angle():
    """Zero everywhere, or not a number: neither may look orthogonal."""
    ensemble = Ensemble([Margin([1.0, 0.0]), Margin([0.0, 0.0]), Margin([math.nan, 0.0])])
    found = angles(ensemble, X, Y, eps=0.1, samples=4, seed=0)
    assert found.vanishing.tolist() == found.undirected.tolist() == [0, 5, 5]
    assert np.isnan(found.at_x[0, 1])
    assert np.isnan(found.mean[0, 1])
    assert np.isnan(found.largest[0, 1])
    assert found.norms[1] == 0
    assert "the gradients of F1 and F2 is undefined" in angles_sentence(found)
    assert "some gradient is not finite" in angles_sentence(found)


def test_points_without_direction_are_left_out_of_the_mean():
    class Half(Margin):
        def forward(self, x):
            return super().forward(x) * (x.flatten(1)[:, :1] > 0.5)

    found = angles(Ensemble([Margin([1.0, 1.0]), Half([1.0, 0.0])]), X, Y, eps=0.4, samples=50, seed=0)
    assert 10 < found.vanishing[1] < 40
    assert found.mean[0, 1] == pytest.approx(math.sqrt(0.5), abs=1e-6)


def test_the_steepest_gradient_may_be_the_one_at_x():
    ensemble = Ensemble([Margin([1.0, 0.0])])
    few = [angles(ensemble, X, Y, eps=0.3, samples=1, seed=seed) for seed in range(8)]
    assert all(found.steepest[0] >= found.norms[0] for found in few)
    assert 0 < sum(found.steepest[0] == found.norms[0] for found in few) < 8


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_neighbours_fill_the_ball_of_the_norm_that_is_asked_for(norm):
    seen = []

    class Watched(Margin):
        def forward(self, x):
            seen.append(x.detach().clone())
            return super().forward(x)

    x = torch.full((1, 1, 4, 4), 0.5)
    angles(Ensemble([Watched([1.0] * 16)]), x, Y, eps=0.4, norm=norm, samples=200, seed=0)
    shift = (seen[0] - x).flatten(1)
    assert not shift[0].any()
    sizes = shift.abs().amax(-1) if norm == "linf" else shift.norm(dim=-1)
    assert 0.39 < sizes.max() <= 0.4 + 1e-6
    # the radius of the median of a uniform ball in 16 dimensions, max norm or L2 alike: .5 ** (1 / 16)
    assert sizes[1:].median() == pytest.approx(0.4 * 0.5 ** (1 / 16), rel=0.01)
    assert "(L2)" in angles_sentence(some([[1, 0.1], [0.1, 1]], norm="l2"))


@pytest.mark.parametrize("bad", [{"eps": -1.0}, {"eps": math.nan}, {"eps": 0.1, "samples": 0}, {"eps": 0.1, "norm": "l1"}])
def test_bad_options(bad):
    with pytest.raises(ValueError, match=r"eps|samples|norm"):
        angles(Ensemble([Margin([1.0, 0.0])]), X, Y, seed=0, **bad)


def some(at_x, mean=0.09, eps=0.3, steepest=8.1, norm="linf", vanishing=0, loss_shift=0.0):
    members = len(at_x)
    full = np.full((members, members), mean)
    return Angles(
        eps=eps,
        norm=norm,
        samples=32,
        at_x=np.abs(np.array(at_x, dtype=float)),
        signed=np.array(at_x, dtype=float),
        mean=full,
        deviation=np.full((members, members), 0.05),
        largest=full,
        norms=np.ones(members),
        steepest=np.full(members, steepest),
        undirected=np.zeros(members, dtype=np.int64),
        vanishing=np.full(members, vanishing),
        loss_at_x=np.abs(np.array(at_x, dtype=float)) + loss_shift,
        loss_mean=full,
    )


TWO = some([[1, 0.07], [0.07, 1]])
HERE = "Here the gradients of F1 and F2 are 86 degrees apart (|cos| 0.07)"


def test_confident_members_have_angles_where_their_cross_entropy_has_none():
    """Margins of 1000: float32 has p = 1, so the cross-entropy's gradient is 0; the log-odds' is w."""
    tilt = math.radians(60)
    ensemble = Ensemble([Margin([2000.0, 0.0]), Margin([2000 * math.cos(tilt), 2000 * math.sin(tilt)])])
    found = angles(ensemble, X, Y, eps=0.1, samples=4, seed=0)
    assert found.at_x[0, 1] == pytest.approx(0.5, abs=1e-6)
    assert found.mean[0, 1] == pytest.approx(0.5, abs=1e-6)
    assert found.undirected.tolist() == [0, 0]
    assert found.vanishing.tolist() == [5, 5]
    assert np.isnan(found.loss_at_x[0, 1])
    assert np.isnan(found.loss_mean[0, 1])
    assert found.norms.tolist() == [0, 0]  # lengths stay the cross-entropy's
    sentence = angles_sentence(found)
    assert sentence.startswith("Here the gradients of F1 and F2 are 60 degrees apart (|cos| 0.50)")
    assert "cross-entropy's gradient of F1 at 5 and of F2 at 5 of 5 points is too small for float32" in sentence


def test_where_nothing_vanishes_both_losses_have_the_same_angles():
    found = angles(build("mlp", "bars", 2, seed=1), torch.tensor([0.05, 0.9]).view(1, 1, 1, 2), Y, eps=0.3, samples=20, seed=5)
    assert found.loss_at_x == pytest.approx(found.at_x, abs=1e-5)
    assert found.loss_mean == pytest.approx(found.mean, abs=1e-5)
    assert "cross-entropy" not in angles_sentence(found)


def test_gradients_that_oppose_each_other_are_more_than_90_degrees_apart():
    assert "are 120 degrees apart (|cos| 0.50)" in angles_sentence(some([[1, -0.5], [-0.5, 1]]))
    ensemble = Ensemble([Margin([1.0, 0.0]), Margin([-1.0, 0.0])])
    assert angles(ensemble, X, Y, eps=0.0, seed=0).signed[0, 1] == pytest.approx(-1, abs=1e-6)


def test_the_sentence_about_angles():
    assert angles_sentence(TWO) == f"{HERE}, within ε 0.3 (max norm) |cos| is 0.09 ± 0.05; the largest gradient norm is 8.1."
    assert angles_sentence(some([[1, 0.07], [0.07, 1]], eps=0.0)) == f"{HERE}; the largest gradient norm is 8.1."
    assert "within ε 0.0314 (max norm) |cos|" in angles_sentence(some([[1, 0.07], [0.07, 1]], eps=8 / 255))
    assert angles_sentence(some([[1]])) == "A single member has no angle to another; the largest gradient norm is 8.1."
    assert angles_sentence(some([[1, 0.07], [0.07, 1]], vanishing=3)).endswith(
        "F1 at 3 and of F2 at 3 of 33 points is too small for float32, so the angles are the log-odds'."
    )
    assert angles_sentence(some([[1, 0.07], [0.07, 1]], loss_shift=0.1)).endswith("which float32 rounds, |cos| would be 0.17.")
    three = some([[1, 0.07, 0.1], [0.07, 1, 0.99985], [0.1, 0.99985, 1]], steepest=0.0412)
    assert angles_sentence(three).startswith(
        "Here the gradients of F2 and F3, the closest pair, are 1 degree apart (|cos| 1.00),"
    )
    assert angles_sentence(three).endswith("norm is 0.041.")
    assert angles_sentence(three, pair=(0, 1)).startswith(HERE)


@pytest.mark.parametrize(
    ("fooled", "wrong", "sentence"),
    [
        (["F1", "F2", "F3", "the ensemble"], [], "the attack on F1 also fools F2, F3 and the ensemble."),
        (["F1", "F2", "F3"], [], "the attack on F1 also fools F2 and F3."),
        (["F2", "F1"], [], "the attack on F1 also fools F2."),
        (["F1"], [], "the attack on F1 fools no other model."),
        ([], [], "the attack on F1 fools no model at all."),
        (["F3"], [], "the attack on F1 fools F3, but not F1 itself."),
        ([], ["F1", "F2"], "F1 and F2 are wrong without an attack."),
        (["F3"], ["F1"], "F1 is wrong without an attack; the attack on F1 fools F3."),
        (["F1"], ["F3"], "F3 is wrong without an attack; the attack on F1 fools no other model."),
    ],
)
def test_the_sentence_about_an_attack(fooled, wrong, sentence):
    assert fooled_sentence("F1", fooled, wrong) == sentence


def test_of_a_heavy_model_few_points_are_in_one_pass_with_the_same_angles(monkeypatch):
    torch.manual_seed(0)
    ensemble = Ensemble([torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3)) for _ in range(2)])
    x, y, between = torch.rand(1, 1, 2, 2), torch.tensor([1]), []
    whole = angles(ensemble, x, y, eps=0.1, seed=3, samples=9)
    monkeypatch.setattr(angles_file, "fitting_batch", lambda model, x: 4)
    monkeypatch.setattr(angles_file, "is_heavy", lambda model, x: True)
    parts = angles(ensemble, x, y, eps=0.1, seed=3, samples=9, between=lambda: between.append(1))
    assert len(between) == 2 * 3  # of 10 points, for the directions and for the norms
    for name in ("signed", "mean", "norms", "steepest", "loss_mean"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-5)
