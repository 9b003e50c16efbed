"""What the attacks without a ball promise: CW and EAD."""

import copy
import math
from functools import partial

import pytest
import torch
from torch import nn

from trs_explorer.attacks.cw import cw
from trs_explorer.attacks.ead import ead
from trs_explorer.attacks.losses import margin
from trs_explorer.attacks.minimal import NearestSearch
from trs_explorer.models.ensemble import Ensemble

both = pytest.mark.parametrize(
    "attack",
    [
        partial(cw, c=5.0, steps=60, lr=0.05),
        partial(cw, c=0.5, steps=60, lr=0.05, searches=3, early_stop=True),
        partial(ead, c=2.0, steps=60, searches=2),
    ],
    ids=["cw", "cw-searches", "ead"],
)


@pytest.fixture(scope="module")
def problem():
    """A net, images with pixels at 0 and 1, and labels of which most are the net's own answers."""
    g = torch.Generator().manual_seed(1)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = nn.Sequential(nn.Flatten(), nn.Linear(9, 24), nn.ReLU(), nn.Linear(24, 3))
        with torch.no_grad():
            for p in model.parameters():
                p *= 2.5
    x = torch.rand(40, 1, 3, 3, generator=g).mul(1.2).sub(0.1).clamp(0, 1)
    y = model(x).argmax(-1)
    y[::7] = (y[::7] + 1) % 3
    return model, x, y


def wrong(model, x, y):
    return model(x).argmax(-1) != y


@both
def test_images_stay_in_the_pixel_range_and_change_only_where_that_fools(attack, problem):
    model, x, y = problem
    x_adv = attack(model, x, y)
    changed = (x_adv != x).flatten(1).any(-1)
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    assert not (changed & ~wrong(model, x_adv, y)).any()
    at_once = margin(model(x), y) > attack.keywords.get("confidence", 0.1)
    assert at_once.sum() > 3
    assert torch.equal(x_adv[at_once], x[at_once])  # nothing is nearer than x itself
    assert changed.sum() > 5


@both
def test_a_result_depends_on_nothing_but_the_image(attack, problem):
    model, x, y = problem
    attack = partial(attack, steps=30)
    whole = attack(model, x, y)
    assert (whole != x).flatten(1).any(-1).sum() > 3
    parts = [attack(model, a, b) for a, b in zip(x.split(17), y.split(17), strict=True)]
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-4, rtol=1e-3)
    assert torch.equal(attack(model, x, y), whole)
    assert attack(model, x[:0], y[:0]).shape == (0, 1, 3, 3)
    torch.testing.assert_close(attack(Ensemble([model]), x, y), whole, atol=1e-4, rtol=1e-3)
    with torch.inference_mode():
        assert torch.equal(attack(model, x.clone(), y.clone()), whole)


@both
def test_targeted_images_are_seen_as_the_wanted_class(attack, problem):
    model, x, _ = problem
    wanted = (model(x).argmax(-1) + 1) % 3
    x_adv = attack(model, x, wanted, targeted=True)
    changed = (x_adv != x).flatten(1).any(-1)
    assert changed.sum() > 3
    assert not wrong(model, x_adv, wanted)[changed].any()


@both
def test_modes_buffers_and_gradients_are_left_alone(attack, problem):
    _, x, y = problem
    net = nn.Sequential(nn.Conv2d(1, 4, 2), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 3)).train()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    attack(net, x, y)
    assert all(module.training for module in net.modules())
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in net.parameters())


def test_a_larger_c_fools_more_and_more_searches_come_nearer(problem):
    model, x, y = problem
    fooled = [wrong(model, cw(model, x, y, c=c, steps=60), y).sum() for c in (1e-3, 1.0, 30.0)]
    assert fooled[0] < fooled[1] < fooled[2]
    few, many = (cw(model, x, y, c=10.0, steps=60, searches=searches) for searches in (1, 6))
    size = [(x_adv - x).flatten(1).norm(dim=-1).mean() for x_adv in (few, many)]
    assert size[1] < 0.95 * size[0]


SEVERAL = [
    partial(cw, c=5.0, steps=60, lr=0.05),
    partial(cw, c=0.5, steps=60, lr=0.05, searches=3),
    partial(cw, c=0.5, steps=60, lr=0.05, searches=3, early_stop=True),
    partial(ead, c=2.0, steps=60, searches=2),
    partial(ead, c=0.5, steps=60, searches=3, early_stop=True),
]


SEARCHES = [pytest.param(attack, marks=pytest.mark.slow if k in (1, 4) else ()) for k, attack in enumerate(SEVERAL)]


@pytest.mark.parametrize("attack", SEARCHES)
def test_a_confidence_chooses_images_that_fool_by_so_much_and_loses_none_that_fool_by_less(attack, problem):
    model, x, y = problem
    margins = {k: margin(model(attack(model, x, y, confidence=k)), y) for k in (0.0, 0.5, 1e3)}
    sure = margins[0.5] >= 0.5
    assert sure.sum() > 7
    assert (margins[0.0][sure] < 0.5).sum() > 2  # without it, the nearest image is a barely fooling one
    for k in (0.5, 1e3):
        assert ((margins[0.0] > 0) <= (margins[k] > 0)).all()


def test_of_all_that_it_is_offered_the_search_keeps_the_nearest_sure_one_else_the_surest_that_fools():
    """Against a loop over the definition."""
    g = torch.Generator().manual_seed(0)
    gaps, distances = torch.randn(12, 30, generator=g) * 2, torch.rand(12, 30, generator=g)
    gaps[:, ::5] = torch.nan
    gaps[:, 1::5] -= 9  # nothing ever fools
    gaps[:, 2::5] = gaps[:, 2::5].tanh()  # fools, but never surely
    x = torch.zeros(30, 1, 1, 1)
    for confidence in (0.0, 1.0):
        search = NearestSearch(x, c=1.0, steps=1, searches=1, confidence=confidence, lr=1.0, early_stop=True)
        for step in range(12):
            search.update(search.all_rows, torch.full_like(x, step + 1), gaps[step], distances[step])
        for i in range(30):
            pairs = list(zip(gaps[:, i].tolist(), distances[:, i].tolist(), range(1, 13), strict=True))
            sure = [(distance, k) for gap, distance, k in pairs if gap > 0 and gap >= confidence]
            fooling = [(gap, k) for gap, _, k in pairs if gap > 0]
            assert search.x_adv[i].item() == (min(sure)[1] if sure else max(fooling)[1] if fooling else 0)
            assert search.fooled[i] == bool(sure)
        assert torch.equal(search.drop_fooled(search.all_rows, 0)[0], search.all_rows[~search.fooled])


@pytest.mark.parametrize("attack", SEVERAL[1::2])
def test_other_types_fool_as_often_and_about_as_near(attack, problem):
    model, x, y = problem
    attack = partial(attack, steps=30)
    expected = attack(model, x, y)
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        other = copy.deepcopy(model).to(dtype)
        x_adv = attack(other, x.to(dtype), y)
        assert x_adv.dtype == dtype
        fools = wrong(other, x_adv, y)
        assert (fools != wrong(model, expected, y)).sum() <= 2
        sizes = [(found.double() - x.double())[fools].flatten(1).norm(dim=-1).mean().item() for found in (x_adv, expected)]
        assert sizes[0] == pytest.approx(sizes[1], rel=0.1)


def test_pure_black_and_white_pixels_can_move():
    class Sum(nn.Module):
        def forward(self, x):
            s = x.flatten(1).sum(-1) - 0.5
            return torch.stack([-s, s], -1)

    black, y = torch.zeros(1, 1, 2, 2), torch.tensor([0])
    assert wrong(Sum(), cw(Sum(), black, y, c=10.0, steps=100, lr=0.05), y).all()
    assert wrong(Sum(), ead(Sum(), black, y, searches=2), y).all()


@pytest.mark.parametrize(
    ("attack", "options", "message"),
    [
        (cw, {"c": 0.0}, "c must be finite and > 0, got 0"),
        (cw, {"lr": float("nan")}, "lr must be finite"),
        (cw, {"confidence": -1.0}, "confidence must be finite and >= 0"),
        (cw, {"c": 1e300}, r"c must be at most 1e\+10, got 1e\+300"),
        (ead, {"c": 1e300}, r"c must be at most 1e\+10, got 1e\+300"),
        (ead, {"steps": 0}, "steps must be >= 1, got 0"),
        (ead, {"searches": 0}, "searches must be >= 1"),
        (ead, {"beta": -0.1}, "beta must be finite and >= 0"),
    ],
)
def test_bad_options_are_refused_in_words(attack, options, message, problem):
    model, x, y = problem
    with pytest.raises(ValueError, match=message):
        attack(model, x, y, **options)


def cw_points(loss, x, c, steps, lr):
    """What CW visits: Adam over w, as in its own source (Kingma and Ba 2015, Algorithm 1)."""
    w, m, v = torch.atanh((2 * x - 1) * 0.999999), 0.0, 0.0
    for t in range(1, steps + 1):
        leaf = w.clone().requires_grad_()
        point = (torch.tanh(leaf) + 1) / 2
        yield point.detach()
        (slope,) = torch.autograd.grad((point - x).square().sum() + c * loss(point), leaf)
        m, v = 0.9 * m + 0.1 * slope, 0.999 * v + 0.001 * slope**2
        w = w - lr * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
    yield (torch.tanh(w) + 1) / 2


def ead_points(loss, x, c, steps, lr, beta=0.01):
    """What EAD visits: FISTA as in Algorithm 1 of its source, with its code's fall of the rate."""
    before, ahead = x, x
    for k in range(steps):
        leaf = ahead.clone().requires_grad_()
        (slope,) = torch.autograd.grad((leaf - x).square().sum() + c * loss(leaf), leaf)
        moved = ahead - lr * math.sqrt(1 - k / steps) * slope
        after = torch.where(
            moved - x > beta, (moved - beta).clamp_max(1), torch.where(x - moved > beta, moved + beta, x)
        ).clamp_min(0)
        ahead = after + k / (k + 3) * (after - before)
        before = after
        yield after


@pytest.mark.parametrize(
    ("attack", "points", "order", "lr"), [(cw, cw_points, 2, 0.5), (ead, ead_points, 1, 0.1)], ids=["cw", "ead"]
)
def test_image_by_image_it_is_the_nearest_of_all_that_the_published_search_visits(attack, points, order, lr, problem):
    model, x, y = copy.deepcopy(problem[0]).double(), problem[1][:6].double(), problem[2][:6]
    options, searches, kept, weights = {"steps": 20, "lr": lr}, 4, [], set()
    for image, label in zip(x.split(1), y.tolist(), strict=True):

        def ahead(point, label=label):
            """How far the true class is before the others."""
            z = model(point)[0]
            return z[label] - torch.cat([z[:label], z[label + 1 :]]).max()

        c, low, high = 1.0, 0.0, math.inf
        best = (math.inf if ahead(image) >= 0 else 0.0, image)
        for _ in range(searches):
            fell = False
            for point in points(lambda at: ahead(at).clamp_min(0), image, c, **options):
                if ahead(point) < 0:
                    fell, best = True, min(best, ((point - image).norm(order).item(), point), key=lambda pair: pair[0])
            low, high = (low, min(high, c)) if fell else (max(low, c), high)
            weights.add(c)
            c = c * 10 if high == math.inf else (low + high) / 2
        kept.append(best[1])
    found = attack(model, x, y, c=1.0, searches=searches, confidence=0.0, **options)
    torch.testing.assert_close(found, torch.cat(kept), atol=1e-6, rtol=0)
    assert (found != x).flatten(1).any(1).sum() > 2
    assert len(weights) > 4, "c goes both ways"
