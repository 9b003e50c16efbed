import math
from dataclasses import asdict, replace

import pytest
import torch
from torch import nn

from trs_explorer.attacks.pgd import pgd
from trs_explorer.evaluation.bounds import Quantities, lower_bound, promised_radius, quantities, upper_bound
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
