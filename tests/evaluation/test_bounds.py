import copy
import json
import math
from dataclasses import asdict, replace
from functools import partial

import pytest
import torch
from torch import nn

from trs_explorer.attacks.pgd import pgd
from trs_explorer.evaluation.bounds.measured import measure_bounds, quantities
from trs_explorer.evaluation.bounds.of_pairs import bounds_of, pair_quantities
from trs_explorer.evaluation.bounds.per_image import PerImage, _samples, class_losses, per_image
from trs_explorer.evaluation.bounds.theorems import Quantities, lower_bound, promised_radius, upper_bound
from trs_explorer.evaluation.intervals import of_ratio
from trs_explorer.evaluation.transfer import transfer_matrix
from trs_explorer.models.ensemble import Ensemble


def two_classes(*slope, boundary):
    """A model of two pixels, in float64, whose margin of class 1 is slope . x less its value at a point of the boundary."""
    layer = nn.Linear(2, 2)
    slope, boundary = torch.tensor(slope, dtype=torch.float64), torch.tensor(boundary, dtype=torch.float64)
    layer.weight.data = torch.stack([torch.zeros_like(slope), slope])
    layer.bias.data = torch.stack([torch.zeros_like(slope[0]), -slope @ boundary])
    return nn.Sequential(nn.Flatten(), layer)


def images(*points):
    return torch.tensor(points, dtype=torch.float64).view(len(points), 1, 1, 2)


def noise(seed=0):
    return torch.Generator().manual_seed(seed)


def loss_of_other(margin):
    return math.log1p(math.exp(margin))


def sure(margin):
    return 1 / (1 + math.exp(-margin))


def test_orthogonal_linear_models_in_closed_form():
    f, g = two_classes(8.0, 0.0, boundary=(0.5, 0.5)), two_classes(0.0, 8.0, boundary=(0.5, 0.5))
    x, y, left = images([0.6, 0.7], [0.55, 0.9], [0.8, 0.52]), torch.ones(3, dtype=torch.long), images([0.11, 0.0])
    margins = {"f": (0.8, 0.4, 2.4), "g": (1.6, 3.2, 0.16)}  # a step of 0.11 takes 0.88 from F's, nothing from G's
    found = quantities(f, g, x, y, x - left, eps=0.11, samples=60, generator=noise())
    assert found.n == 3
    assert (found.lowest, found.highest) == pytest.approx((0, 0), abs=1e-9)
    assert found.least == pytest.approx(loss_of_other(0.16))
    assert found.loss_f == pytest.approx(sum(loss_of_other(-m) for m in margins["f"]) / 3)
    assert found.loss_g == pytest.approx(sum(loss_of_other(-m) for m in margins["g"]) / 3)
    assert (found.risk_f, found.risk_g, found.transferred) == (0, 0, 0)
    assert found.alpha == pytest.approx(1 / 3)
    assert 8 * sure(3.2) - 1e-9 <= found.steepest <= 8
    assert 14 < found.beta <= 16  # the logistic loss bends by |slope|^2 / 4 at most
    bend = found.beta * 0.11**2 / 2
    c_f = max((loss_of_other(-m) - loss_of_other(m - 0.88) + bend) / (8 * sure(-m)) for m in margins["f"])
    c_g = min((loss_of_other(-m) - loss_of_other(m) - bend) / (8 * sure(-m)) for m in margins["g"])
    assert (found.c_f, found.c_g) == pytest.approx((c_f, c_g))


def test_bounds_by_hand():
    found = Quantities(
        n=10, eps=0.5, beta=2.0, lowest=0.5, highest=1.0, steepest=1.0, least=3.0, risk_f=0.04, risk_g=0.06, loss_f=0.3,
        loss_g=0.15, alpha=0.2, c_f=-0.2, c_g=0.5, transferred=1,
    )  # fmt: skip
    # eps + c_G = 1, sqrt(2 - 2 S) = 1: .8 - (.04 + .06) - (.5 x 1.2 - .2 x .8) - .5 x .8
    assert lower_bound(found) == pytest.approx(-0.14)
    # 3 - .5 x 1 x (1 + 1) - 2 x .25 = 1.5
    assert upper_bound(found) == pytest.approx(0.45 / 1.5)


def plain(f, g, x, y, x_adv, points, eps, wanted):
    """The definitions and theorems once more, one image, class and model at a time."""

    def loss(model, image, c):
        return -model(image[None]).log_softmax(-1)[0, c].item()

    def slope(model, image, c):
        image = image.clone().requires_grad_()
        return torch.autograd.grad(-model(image[None]).log_softmax(-1)[0, c], image)[0].flatten()

    n, classes = len(x), f(x[:1]).shape[1]
    beta, longest, cosines = 0.0, 0.0, []
    for k in range(n):
        for c in range(classes):
            for model in (f, g):
                here = slope(model, x[k], c)
                for other in [x_adv[k], *(some[k] for some in points)]:
                    beta = max(beta, float((slope(model, other, c) - here).norm() / (other - x[k]).norm()))
            for image in [x[k], x_adv[k], *(some[k] for some in points)]:
                a, b = slope(f, image, c), slope(g, image, c)
                longest = max(longest, float(a.norm()), float(b.norm()))
                cosines.append(float(a @ b / a.norm() / b.norm()))
    c_f, c_g, least = -math.inf, math.inf, math.inf
    for k in range(n):
        aims = [int(wanted[k])] if wanted is not None else [c for c in range(classes) if c != y[k]]
        least = min([least, *(loss(model, x[k], c) for model in (f, g) for c in aims)])
        for model in (f, g):
            at_adv = [loss(model, x_adv[k], c) for c in range(classes)]
            if wanted is not None:
                top, bottom = min(at_adv) - loss(model, x[k], aims[0]), float(slope(model, x[k], aims[0]).norm())
            else:
                top = loss(model, x[k], y[k]) - min(at_adv[c] for c in aims)
                bottom = float(slope(model, x[k], y[k]).norm())
            if model is f:
                c_f = max(c_f, (top + beta * eps**2 / 2) / bottom)
            else:
                c_g = min(c_g, (top - beta * eps**2 / 2) / bottom)
    right = [[int(model(x[k : k + 1]).argmax()) == int(y[k]) for k in range(n)] for model in (f, g)]
    answers = [[int(model(x_adv[k : k + 1]).argmax()) for k in range(n)] for model in (f, g)]
    fooled = [[a != int(y[k]) if wanted is None else a == int(wanted[k]) for k, a in enumerate(row)] for row in answers]
    eta, alpha = [1 - sum(row) / n for row in right], 1 - sum(fooled[0]) / n
    xi = [sum(loss(model, x[k], y[k]) for k in range(n)) / n for model in (f, g)]
    low, high = min(cosines), max(cosines)
    lower = (1 - alpha) - sum(eta) - (eps * (1 + alpha) + c_f * (1 - alpha)) / (c_g + eps)
    lower -= eps * (1 - alpha) / (c_g + eps) * math.sqrt(2 - 2 * low)
    left = least - eps * longest * (1 + math.sqrt((1 + high) / 2)) - beta * eps**2
    return {
        "beta": beta, "lowest": low, "highest": high, "steepest": longest, "least": least, "risk_f": eta[0], "risk_g": eta[1],
        "loss_f": xi[0], "loss_g": xi[1], "alpha": alpha, "c_f": c_f, "c_g": c_g,
        "transferred": sum(all(row[k] for row in (*right, *fooled)) for k in range(n)),
    }, lower if c_g + eps > 0 else None, sum(xi) / left if left > 0 else None  # fmt: skip


@pytest.mark.parametrize(("eps", "aimed"), [(0.8, False), (0.8, True), (0.001, False), (0.001, True)])
def test_what_a_loop_over_the_definitions_finds(eps, aimed):
    generator = noise(3)
    f, g = (nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double() for _ in range(2))
    for of_f, of_g in zip(f.parameters(), g.parameters(), strict=True):
        of_f.data = torch.randn(of_f.shape, generator=generator, dtype=torch.float64)
        of_g.data = of_f.data + 0.3 * torch.randn(of_f.shape, generator=generator, dtype=torch.float64)
    x = torch.rand(5, 1, 2, 2, generator=generator, dtype=torch.float64)
    y = (f(x) + g(x)).argmax(-1)
    wanted = (y + 1) % 3 if aimed else None
    goal = y if wanted is None else wanted
    x_adv = pgd(f, x, goal, eps=eps, steps=20, norm="l2", targeted=aimed, for_transfer=True, random_start=False)
    # No point of the ball is drawn, so that the loop looks at the same.
    found = quantities(f, g, x, y, x_adv, eps=eps, wanted=wanted, samples=0)
    wants, lower, upper = plain(f, g, x, y, x_adv, [], eps, wanted)
    assert {name: asdict(found)[name] for name in wants} == pytest.approx(wants, rel=1e-6, nan_ok=True)
    assert lower_bound(found) == (None if lower is None else pytest.approx(lower))
    assert upper_bound(found) == (None if upper is None else pytest.approx(upper))
    if eps == 0.8:
        assert upper is None
        assert 0 < wants["transferred"] < 5
    else:
        assert upper is not None


def members_like(first, count, generator):
    """Networks whose weights are those of the first, and noise."""
    others = []
    for _ in range(count):
        other = copy.deepcopy(first)
        for weight in other.parameters():
            weight.data += 0.3 * torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        others.append(other)
    return others


def same_values(a, b):
    return torch.allclose(a.double(), b.double(), equal_nan=True)


def same(a, b):
    return all(same_values(value, getattr(b, name)) for name, value in vars(a).items())


@pytest.mark.parametrize("aimed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_all_pairs_share_gradients_and_find_what_a_loop_over_pairs_finds(aimed):
    generator, radii = noise(5), (0.2, 0.5)
    first = nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    for weight in first.parameters():
        weight.data = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
    ensemble = Ensemble([first, *members_like(first, 2, generator)])
    x = torch.rand(2, 1, 2, 2, generator=generator, dtype=torch.float64)
    y = ensemble(x).argmax(-1)
    y[0] = (y[0] + 1) % 3
    wanted = (y + 1) % 3 if aimed else None
    goal = y if wanted is None else wanted
    attack = partial(pgd, steps=9, norm="l2", targeted=aimed, for_transfer=True, random_start=False)
    made = [[attack(f, x, goal, eps=eps) for f in ensemble.members] for eps in radii]
    seeds = [[1], [3]]
    measured = per_image(ensemble, x, y, made, eps=radii, wanted=wanted, seeds=seeds)
    points = []
    for k, eps in enumerate(radii):
        points += [*made[k], *_samples(x, seeds, eps)]  # with those of all smaller radii
        for i, j in ((0, 1), (2, 0)):
            f, g = ensemble.members[i], ensemble.members[j]
            wants, lower, upper = plain(f, g, x, y, made[k][i], points, eps, wanted)
            found = pair_quantities(measured, k, eps, i, j)
            assert {name: asdict(found)[name] for name in wants} == pytest.approx(wants, rel=1e-6), (k, i, j)
            assert lower_bound(found) == (None if lower is None else pytest.approx(lower))
            assert upper_bound(found) == (None if upper is None else pytest.approx(upper))


def test_batches_interruptions_and_the_order_of_members_change_nothing(problem):
    ensemble, x, y = problem
    ensemble, x, y = ensemble.double(), x[:10].double(), y[:10]
    what = {"attack": partial(pgd, norm="l2", steps=3), "eps": [0.1, 0.4], "samples": 2, "seed": 7}
    *_, whole = measure_bounds(ensemble, x, y, **what)
    [_, half, *_] = measure_bounds(ensemble, x, y, **what, batch_size=4)
    assert len(half) == 4
    restored = PerImage.from_json(json.loads(json.dumps(half.to_json())), 2, 3, 10)
    *_, joined = measure_bounds(ensemble, x, y, **what, batch_size=3, done=restored)
    *_, rest = measure_bounds(ensemble, x[6:], y[6:], **what, first=6)
    assert same(joined, whole)
    assert all(same_values(getattr(rest, name), value[6:]) for name, value in vars(whole).items())
    *_, reversed_ = measure_bounds(Ensemble([*ensemble.members][::-1]), x, y, **what)
    for k, eps in enumerate(what["eps"]):
        a, b = pair_quantities(whole, k, eps, 0, 1), pair_quantities(reversed_, k, eps, 2, 1)
        assert asdict(a) == pytest.approx(asdict(b), nan_ok=True)
        assert asdict(a) != pytest.approx(asdict(pair_quantities(reversed_, k, eps, 1, 2)), nan_ok=True)


def test_fewer_classes_see_no_more(problem):
    ensemble, x, y = problem
    what = {"attack": partial(pgd, norm="l2", steps=3), "eps": [0.3], "samples": 1}
    (few, every, more) = ([*measure_bounds(ensemble, x[:9], y[:9], **what, classes=k)][-1] for k in (2, 3, 50))
    assert same(every, more)
    assert (few.beta <= every.beta).all()
    assert (few.steepest <= every.steepest).all()
    assert (few.beta < every.beta).any()
    for name in ("loss", "slope", "least", "rise", "fooled"):
        assert same_values(getattr(few, name), getattr(every, name))


def test_of_a_thousand_classes_the_true_one_and_the_likeliest_are_taken():
    generator = noise(1)
    members = [nn.Sequential(nn.Flatten(), nn.Linear(16, 1000)) for _ in range(2)]
    for weight in (weight for member in members for weight in member.parameters()):
        weight.data = torch.randn(weight.shape, generator=generator)
    ensemble, x, y = Ensemble(members), torch.rand(3, 1, 4, 4, generator=generator), torch.tensor([5, 999, 0])
    *_, measured = measure_bounds(ensemble, x, y, attack=partial(pgd, norm="l2", steps=2), eps=[0.1], samples=1)
    logits = ensemble.member_logits(x).detach()
    probabilities = logits.softmax(-1)
    for k in range(3):
        likeliest = probabilities[:, k].sum(0).topk(10).indices.tolist()
        taken = {int(y[k]), *likeliest[: 10 if int(y[k]) in likeliest else 9]}
        for m, member in enumerate(members):  # the gradient of -log p_c is the mean weight, by p, less the weight of c
            weight = member[1].weight.data
            slopes = [probabilities[m, k] @ weight - weight[c] for c in taken]
            assert measured.slope[k, m] == pytest.approx(float((probabilities[m, k] @ weight - weight[y[k]]).norm()), rel=1e-4)
            assert measured.steepest[k, 0, m] >= max(float(slope.norm()) for slope in slopes) * (1 - 1e-4)
        least = [-logits[m, k].log_softmax(-1) for m in range(2)]  # over all 1,000 classes
        for m in range(2):
            others = torch.cat([least[m][: y[k]], least[m][y[k] + 1 :]])
            assert measured.least[k, m] == pytest.approx(float(others.min()), rel=1e-4)


def test_classes_in_groups_are_those_at_once(problem, monkeypatch):
    from trs_explorer.evaluation.bounds import per_image as module

    ensemble, x, y = problem
    what = {"attack": partial(pgd, norm="l2", steps=3), "eps": [0.1, 0.3], "samples": 1}
    *_, whole = measure_bounds(ensemble, x[:9], y[:9], **what)
    monkeypatch.setattr(module, "KEPT_BYTES", 1)  # one class at a time
    *_, grouped = measure_bounds(ensemble, x[:9], y[:9], **what)
    assert same(grouped, whole)


def test_a_confident_member_loses_neither_loss_nor_gradient_to_rounding():
    """In float32, 1 - p is 0 at margin 40; the closed form is softplus(-40), and |slope| times sigmoid(-40)."""
    f = two_classes(80.0, 0.0, boundary=(0.5, 0.5)).float()
    x = images([1.0, 0.5]).float()
    measured = per_image(Ensemble([f, f]), x, torch.ones(1, dtype=torch.long), [[x]], eps=[0.1])
    assert measured.loss[0, 0] == pytest.approx(math.log1p(math.exp(-40)), rel=1e-5, abs=0)
    assert measured.slope[0, 0] == pytest.approx(80 * sure(-40), rel=1e-5, abs=0)
    assert measured.lowest[0, 0, 0, 1] == pytest.approx(1)
    losses = class_losses(torch.tensor([[50.0, 0.0, -3.0]]))
    assert losses[0].tolist() == pytest.approx([math.log1p(math.exp(-50) + math.exp(-53)), 50, 53], rel=1e-9, abs=0)


def test_bounds_of_all_pairs_count_as_the_transfer_matrix_does(problem):
    ensemble, x, y = problem
    ensemble.eval()
    attack = partial(pgd, norm="l2", steps=5)
    *_, measured = measure_bounds(ensemble, x, y, attack=attack, eps=[0.1, 0.4], samples=0, seed=3)
    bounds = bounds_of(measured, eps=[0.1, 0.4], targeted=False, samples=0, classes=3, of_classes=3, kinks=False)
    matrix = transfer_matrix(ensemble, x, y, attack=partial(attack, eps=0.4), seed=3)
    for pair in bounds.at(0.4):
        assert pair.quantities.transferred == matrix.fooled[pair.surrogate][pair.target] > 0
        assert pair.eligible == matrix.eligible[pair.surrogate][pair.target]
        assert pair.outcomes == matrix.outcomes[pair.surrogate][pair.target]
        assert pair.quantities.rate == pair.quantities.transferred / 90
    letters = zip(*(pair.outcomes for pair in bounds.at(0.4)), strict=True)
    assert bounds.pooled_interval(0.4) == of_ratio([(image.count("1"), 6) for image in letters])
    assert bounds.pooled(0.4) == (sum(pair.quantities.transferred for pair in bounds.at(0.4)), 6 * 90)
    stored = bounds.to_json()
    assert json.loads(json.dumps(stored, allow_nan=False)) == stored
    assert (stored["points"], stored["classes"], len(stored["pairs"])) == ([4, 7], [3, 3], 12)


def test_a_targeted_attack_is_counted_by_the_wanted_class(problem):
    ensemble, x, y = problem
    ensemble.eval()
    x, y, wanted, attack = x[:30], y[:30], (y[:30] + 1) % 3, partial(pgd, norm="l2", steps=5)
    *_, measured = measure_bounds(ensemble, x, y, attack=attack, eps=[0.6], samples=0, wanted=wanted, classes=2)
    matrix = transfer_matrix(ensemble, x, y, attack=partial(attack, eps=0.6), wanted=wanted)
    assert pair_quantities(measured, 0, 0.6, 0, 1).transferred == matrix.fooled[0][1] > 0
    assert measured.slope.isfinite().all()  # the wanted class is among the two
    with pytest.raises(ValueError, match="a wanted class must be another"):
        next(measure_bounds(ensemble, x, y, attack=attack, eps=[0.6], wanted=y))


@pytest.mark.parametrize(
    "change", [{"loss": "x"}, {"loss": [[0.0]]}, {"right": None}, {"rise": [1] * 7}, {"beta": [[[2]]] * 99}, {"slope": [{}]}]
)
def test_damaged_values_count_as_none(problem, change):
    ensemble, x, y = problem
    *_, measured = measure_bounds(ensemble, x[:3], y[:3], attack=partial(pgd, norm="l2", steps=1), eps=[0.1], samples=0)
    assert len(PerImage.from_json(measured.to_json(), 1, 3, 3)) == 3
    assert len(PerImage.from_json(measured.to_json(), 1, 3, 2)) == 0
    assert len(PerImage.from_json({**measured.to_json(), **change}, 1, 3, 3)) == 0


def test_the_upper_bound_holds_where_it_says_something():
    # One of 200 points is so near the corner of both boundaries that one step crosses them; the others are far away.
    f, g = two_classes(8.0, 0.0, boundary=(0.1, 0.1)), two_classes(0.0, 8.0, boundary=(0.1, 0.1))
    x = torch.cat([images([0.1375, 0.1375]), images([0.95, 0.95]).expand(199, -1, -1, -1)])
    step = images([0.0395, 0.0395])
    found = quantities(f, g, x, torch.ones(200, dtype=torch.long), x - step, eps=0.0562, generator=noise())
    assert found.transferred == 1
    assert found.transferred / found.n <= upper_bound(found) < 0.5
    assert upper_bound(replace(found, eps=0.1)) is None  # its condition fails
    assert upper_bound(found, 0.1) is None
    assert upper_bound(found, 0.01) < upper_bound(found)


def test_the_lower_bound_holds_where_it_says_something():
    # Both look along the same line; G falls a little after the start, F just before the end of the step.
    f, g = two_classes(8.0, 0.0, boundary=(0.5, 0.5)), two_classes(8.0, 0.0, boundary=(0.5111, 0.5))
    x = images(*([0.51125, 0.1 * k] for k in range(1, 10)))
    x_adv = pgd(f, x, torch.ones(9, dtype=torch.long), eps=0.0125, norm="l2", early_stop=False, generator=noise())
    found = quantities(f, g, x, torch.ones(9, dtype=torch.long), x_adv, eps=0.0125, generator=noise())
    assert 0.8 < lower_bound(found) <= found.transferred / found.n == 1
    # Less similar, less sure, rougher: the bound falls.
    assert lower_bound(replace(found, lowest=0.9)) < lower_bound(found)
    assert lower_bound(replace(found, alpha=0.1)) < lower_bound(found)
    assert lower_bound(replace(found, c_g=-0.0126)) is None


def test_of_a_model_and_itself_the_lower_bound_says_nothing():
    f = two_classes(8.0, 0.0, boundary=(0.5, 0.5))
    x, y = images([0.52, 0.3], [0.55, 0.9]), torch.ones(2, dtype=torch.long)
    found = quantities(f, f, x, y, x - images([0.06, 0.0]), eps=0.06, generator=noise())
    assert found.lowest == pytest.approx(1)
    assert found.transferred == 2
    assert lower_bound(found) <= 0


def test_transferred_is_what_the_transfer_matrix_counts(problem):
    ensemble, x, y = problem
    ensemble.eval()
    pair = Ensemble(list(ensemble.members)[:2])
    made = []

    def attack(model, *what, generator):
        made.append(pgd(model, *what, eps=0.2, norm="l2", generator=generator))
        return made[-1]

    matrix = transfer_matrix(pair, x, y, attack=attack, batch_size=len(x))
    found = quantities(*pair.members, x, y, made[0], eps=0.2, samples=1)
    assert found.transferred == matrix.fooled[0][1] > 0
    assert found.beta > 0
    assert all(math.isfinite(getattr(found, name)) for name in ("lowest", "highest", "steepest", "least", "c_f", "c_g"))


def test_the_promised_radius_is_where_the_bound_takes_the_value():
    f, g = two_classes(8.0, 0.0, boundary=(0.1, 0.1)), two_classes(0.0, 8.0, boundary=(0.1, 0.1))
    x = images([0.9, 0.6], [0.7, 0.8])
    found = quantities(f, g, x, torch.ones(2, dtype=torch.long), x, eps=0.2, generator=noise())
    for share in (1.0, 0.2):
        assert upper_bound(found, promised_radius(found, share)) == pytest.approx(share)
    assert promised_radius(replace(found, loss_f=99.0)) == 0
    assert promised_radius(replace(found, beta=0.0, steepest=0.0)) == math.inf


def test_what_cannot_be_is_said():
    f = two_classes(8.0, 0.0, boundary=(0.5, 0.5))
    x, y = images([0.6, 0.6]), torch.ones(1, dtype=torch.long)
    with pytest.raises(ValueError, match=r"within eps = 0\.1 of x in L2, got 1 up to 0\.2 away"):
        quantities(f, f, x, y, x - images([0.2, 0.0]), eps=0.1)
    with pytest.raises(ValueError, match="finite radius"):
        quantities(f, f, x, y, x, eps=math.nan)
    with pytest.raises(ValueError, match="images must lie in"):
        quantities(f, f, x + 1, y, x, eps=0.1)
