"""The TRS objective against an explicit loop over pairs, in float64, and its gradients against finite differences."""

import inspect
import itertools
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from defences_plain import plain_gradients, turned

from trs_explorer import defences
from trs_explorer.catalogue import METHODS, STEP_CONTEXT, load
from trs_explorer.defences.beta import gradient_change
from trs_explorer.defences.standard import standard
from trs_explorer.defences.support_search import batch_statistics_only, support_points
from trs_explorer.defences.trs import trs
from trs_explorer.gradients import gradient_norms, input_gradients, pair_mean, pairwise_cosine
from trs_explorer.models import images
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.stacked import Stacked

OPTIONS = {
    "lambda_a": 0.7,
    "lambda_b": 0.3,
    "delta": 0.2,
    "delta_start": 0.1,
    "inner_steps": 3,
    "inner_order": "first",
    "smoothness": "norm",
    "support_fraction": 0.5,
}


def run(ensemble, batch, *, progress=1.0, **changes):
    kept = {**OPTIONS, **changes}
    return trs(ensemble, *batch, **kept, progress=progress, generator=torch.Generator(), x_ce=batch[0])


def half_moved(ensemble, x, y, *, delta):
    """The images, every second one at its support point."""
    support, _ = support_points(ensemble, x[1::2], y[1::2], delta=delta, steps=3, order="first")
    points = x.clone()
    points[1::2] = support.detach()
    return points


def explicit(ensemble, clean, points, y, *, lambda_a, lambda_b, squared=False) -> float:
    """The paper's formula: 2/(N(N-1)) times the sum over pairs."""
    n, gradients = len(ensemble), plain_gradients(ensemble, points, y)
    ce = sum(F.cross_entropy(one(clean), y) for one in ensemble.members) / n
    power = 2 if squared else 1
    regulariser = 0.0
    for i, j in itertools.combinations(range(n), 2):
        cosine = (gradients[i] * gradients[j]).sum(1) / (gradients[i].norm(dim=1) * gradients[j].norm(dim=1))
        smooth = gradients[i].norm(dim=1) ** power + gradients[j].norm(dim=1) ** power
        regulariser += lambda_a * cosine.abs().mean() + lambda_b * smooth.mean()
    return (ce + 2 / (n * (n - 1)) * regulariser).item()


@pytest.mark.parametrize("squared", [False, True])
def test_total_is_the_papers_formula_at_the_support_points(ensemble, batch, squared):
    x, y = batch
    points = half_moved(ensemble, x, y, delta=0.2)
    total = run(ensemble, batch, smoothness="squared-norm" if squared else "norm")["total"].item()
    assert total == pytest.approx(explicit(ensemble, x, points, y, lambda_a=0.7, lambda_b=0.3, squared=squared), abs=1e-9)


def test_delta_zero_is_cos_l2_at_x_itself(ensemble, batch):
    total = run(ensemble, batch, delta=0.0, delta_start=0.0)["total"].item()
    assert total == pytest.approx(explicit(ensemble, batch[0], *batch, lambda_a=0.7, lambda_b=0.3), abs=1e-9)


def test_cos_only_has_no_smoothness_and_smooth_only_no_similarity(ensemble, batch):
    cos_only = run(ensemble, batch, lambda_b=0.0, delta=0.0, delta_start=0.0)
    assert "smoothness" not in cos_only
    assert cos_only["total"].item() == pytest.approx(explicit(ensemble, batch[0], *batch, lambda_a=0.7, lambda_b=0), abs=1e-9)
    smooth_only = run(ensemble, batch, lambda_a=0.0)
    assert smooth_only["similarity"].item() == 0
    torch.autograd.grad(smooth_only["total"], list(ensemble.parameters()))


def test_adversarial_images_take_the_cross_entropy_and_leave_the_regularisers(ensemble, batch):
    x, y = batch
    terms = run(ensemble, batch)
    moved = trs(ensemble, x, y, **OPTIONS, progress=1.0, generator=torch.Generator(), x_ce=(x + 0.1).clamp(0, 1))
    expected = sum(F.cross_entropy(one(x + 0.1), y).item() for one in ensemble.members) / len(ensemble)
    assert moved["ce"].item() == pytest.approx(expected, abs=1e-12)
    assert [moved[name].item() for name in ("similarity", "smoothness")] == [
        terms[name].item() for name in ("similarity", "smoothness")
    ]


def test_terms_sum_to_total_and_do_not_depend_on_member_order(ensemble, batch):
    terms = run(ensemble, batch)
    assert terms["total"].item() == pytest.approx(sum(terms[k].item() for k in ("ce", "similarity", "smoothness")), abs=1e-12)
    assert run(turned(ensemble), batch)["total"].item() == pytest.approx(terms["total"].item(), abs=1e-12)


def test_the_weights_gradient_is_that_of_finite_differences(ensemble, batch):
    options = {"delta": 0.0, "delta_start": 0.0}  # at fixed points, so that the whole objective is differentiable
    weight = ensemble.members[0][1].weight
    (gradient,) = torch.autograd.grad(run(ensemble, batch, **options)["total"], weight)
    for index in [(0, 0), (3, 2), (5, 1)]:
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                weight[index] += sign * 1e-6
            values.append(run(ensemble, batch, **options)["total"].item())
            with torch.no_grad():
                weight[index] -= sign * 1e-6
        assert gradient[index].item() == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5, abs=1e-8)


def test_delta_grows_with_progress(ensemble, batch):
    x, y = batch
    for progress, radius in ((0.0, 0.1), (0.5, 0.15), (1.0, 0.2)):
        wanted = explicit(ensemble, x, half_moved(ensemble, x, y, delta=radius), y, lambda_a=0.7, lambda_b=0.3)
        assert run(ensemble, batch, progress=progress)["total"].item() == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("order", ["first", "weighted", "second"])
def test_support_points_stay_in_the_ball_and_find_larger_gradients(ensemble, batch, order):
    x, y = batch
    support, losses = support_points(ensemble, x, y, delta=0.15, steps=4, order=order)
    assert (support - x).abs().max() <= 0.15 + 1e-12
    assert support.min() >= 0
    assert support.max() <= 1
    at_x, _ = input_gradients(ensemble, x, y)
    assert torch.allclose(losses, at_x)
    assert losses.requires_grad
    before, after = (gradient_norms(input_gradients(ensemble, p, y)[1]).sum() for p in (x, support.detach()))
    assert after > before


def test_second_order_climbs_the_gradient_norm_itself(ensemble):
    """One member with a known gradient norm: of the quadratic-in-x margin, the norm grows away from the centre."""
    ensemble = Ensemble(list(ensemble.members[:2]))
    x, y = torch.full((1, 1, 2, 2), 0.5, dtype=torch.float64), torch.tensor([1])
    support, _ = support_points(ensemble, x, y, delta=1e-4, steps=1, order="second")
    moved = (support - x).flatten().sign()
    for k in range(4):
        values = []
        for sign in (1, -1):
            shifted = x.clone()
            shifted.view(-1)[k] += sign * 1e-5
            values.append(gradient_norms(input_gradients(ensemble, shifted, y)[1]).sum().item())
        assert moved[k] == torch.tensor(values[0] - values[1]).sign()


def test_weighted_search_is_the_second_order_one_where_there_are_two_classes():
    """Linear members of different steepness: plain first order follows whoever is wrong, the norm's slope does not."""
    torch.manual_seed(0)
    linear = [torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2)).double() for _ in range(3)]
    for k, one in enumerate(linear):
        one[1].weight.data *= 3.0**k
    x, y = torch.rand(64, 1, 2, 2, dtype=torch.float64) * 0.6 + 0.2, torch.randint(0, 2, (64,))
    points = {o: support_points(Ensemble(linear), x, y, delta=0.1, steps=2, order=o)[0] for o in ("first", "weighted", "second")}
    assert torch.equal(points["weighted"], points["second"])
    assert not torch.equal(points["first"], points["second"])


def test_beta_takes_the_images_as_they_are():
    ensemble = Ensemble([images.patch((1, 16, 16), 3).double() for _ in range(2)])
    terms = run(ensemble, (torch.rand(4, 1, 16, 16, dtype=torch.float64), torch.tensor([0, 1, 2, 0])), smoothness="beta")
    assert terms["smoothness"].isfinite()


@pytest.mark.parametrize("order", ["first", "weighted", "second"])
def test_members_as_one_network_find_the_same_support_points(order):
    """The closed form of the norms' slope against autograd's, on nets of linear pieces."""
    torch.manual_seed(2)
    ensemble = Ensemble([images.patch((1, 16, 16), 3).double() for _ in range(3)])
    x, y = torch.rand(6, 1, 16, 16, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2])
    together = ensemble.stacked()
    assert isinstance(together, Stacked)
    expected, expected_losses = support_points(ensemble, x, y, delta=0.2, steps=3, order=order)
    found, losses = support_points(together, together.arrange(x), y, delta=0.2, steps=3, order=order)
    assert torch.equal(found, together.arrange(expected))
    assert torch.allclose(losses, expected_losses)
    weights = torch.autograd.grad(losses.sum(), list(ensemble.parameters()))
    assert all(weight.abs().max() > 0 for weight in weights), "the losses keep their graph"


def test_gradient_of_all_members_equals_one_at_a_time_and_passes_do_not_grow_with_pairs(ensemble, batch):
    x, y = batch
    calls = []
    for one in ensemble.members:
        one.register_forward_hook(lambda *_: calls.append(1))
    _, gradients = input_gradients(ensemble, x, y)
    assert len(calls) == len(ensemble)
    for mine, plain in zip(gradients, plain_gradients(ensemble, x, y), strict=True):
        assert torch.allclose(mine.flatten(1), plain)


def test_cosine_survives_small_and_leaves_out_rounding_and_zero_gradients():
    rows = [[2e-6, 4e-6], [1e12, 2e12], [-4e-6, 2e-6], [0.0, 0.0], [1e-7, 2e-7]]
    tiny = torch.tensor(rows).view(5, 1, 1, 1, 2).requires_grad_()
    cosine = pairwise_cosine(tiny)[..., 0]
    assert cosine[0, 1].item() == pytest.approx(1, abs=1e-5)
    assert cosine[0, 2].item() == pytest.approx(0, abs=1e-5)
    assert cosine[0, 3].item() == cosine[0, 4].item() == 0
    (slope,) = torch.autograd.grad(cosine.sum() + gradient_norms(tiny).sum(), tiny)
    assert slope[3].isfinite().all()
    (slope,) = torch.autograd.grad(pairwise_cosine(tiny).sum(), tiny)
    assert slope[4].abs().max() == 0


def test_pair_mean_is_the_mean_over_pairs():
    matrix = torch.tensor([[9.0, 1, 2], [1, 9, 6], [2, 6, 9]])
    assert pair_mean(matrix).item() == 3


def test_beta_of_a_quadratic_margin_is_its_curvature():
    class Bowl(torch.nn.Module):
        """Margin 3 |x|^2: its gradient is 6x, so |change| / |d| = 6 everywhere."""

        def forward(self, x):
            square = 3 * x.flatten(1).square().sum(1)
            return torch.stack([square, torch.zeros_like(square)], 1)

    x = torch.rand(5, 1, 1, 2)
    change = gradient_change(
        Ensemble([Bowl(), Bowl()]), x, torch.zeros(5, dtype=torch.long), radius=0.3, draws=2, generator=torch.Generator()
    )
    assert torch.allclose(change, torch.full((2, 5), 36.0), rtol=1e-3)


def test_batch_norm_averages_see_no_support_points():
    norm = torch.nn.BatchNorm2d(1)
    model = torch.nn.Sequential(norm, torch.nn.Flatten(), torch.nn.Linear(4, 3))
    before = norm.running_mean.clone()
    with batch_statistics_only(Ensemble([model])):
        model(torch.rand(8, 1, 2, 2))
    assert torch.equal(norm.running_mean, before)
    model(torch.rand(8, 1, 2, 2))
    assert not torch.equal(norm.running_mean, before)


def test_standard_is_the_mean_cross_entropy(ensemble, batch):
    x, y = batch
    total = standard(ensemble, x, y, x_ce=x)["total"]
    assert total.item() == pytest.approx(sum(F.cross_entropy(m(x), y).item() for m in ensemble.members) / 4, abs=1e-12)


MOMENT = {*STEP_CONTEXT}  # what the loop can give


def test_every_defence_is_in_the_table_and_takes_just_its_options():
    in_table = {method.function for method in METHODS.values()}
    for path in Path(defences.__file__).parent.glob("*.py"):
        if "return with_total(" in path.read_text() or "{**with_total(" in path.read_text():
            assert f"trs_explorer.defences.{path.stem}:{path.stem}" in in_table, f"{path.name} is missing from catalogue.METHODS"
    for name, method in METHODS.items():
        keywords = {p.name for p in inspect.signature(load(method.function)).parameters.values() if p.kind is p.KEYWORD_ONLY}
        assert set(method.defaults) <= keywords <= {*method.defaults, *MOMENT}, name
        assert "x_ce" in keywords, f"{name} cannot be trained adversarially"
        assert set(method.fixed) <= set(method.defaults), name


@pytest.mark.parametrize("order", ["first", "second"])
def test_every_step_of_the_support_search_climbs_from_where_the_last_one_led(ensemble, batch, order):
    """A plain loop; its path bends, so that the slope at x alone would lead elsewhere."""
    (x, y), steps = batch, 5
    for one in ensemble.members:
        one[1].weight.data *= 6
    point = x
    for _ in range(steps):
        leaf = point.clone().requires_grad_()
        losses = [F.cross_entropy(one(leaf), y, reduction="none") for one in ensemble.members]
        if order == "second":
            slopes = [torch.autograd.grad(loss.sum(), leaf, create_graph=True)[0] for loss in losses]
            losses = [slope.flatten(1).norm(dim=-1) for slope in slopes]
        (climb,) = torch.autograd.grad(sum(loss.sum() for loss in losses), leaf)
        straight = climb if torch.equal(point, x) else straight
        point = (x + (point + 2 * 0.4 / steps * climb.sign() - x).clamp(-0.4, 0.4)).clamp(0, 1)
    assert not torch.equal(climb.sign(), straight.sign())
    torch.testing.assert_close(support_points(ensemble, x, y, delta=0.4, steps=steps, order=order)[0], point)
