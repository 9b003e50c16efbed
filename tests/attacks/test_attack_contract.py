"""What every attack promises, whatever the model."""

from functools import partial, wraps

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trs_explorer.attack_catalogue import ATTACKS, NORMS, RADIUS_ATTACKS, takes
from trs_explorer.attacks import noise, objective
from trs_explorer.attacks.apgd import apgd, apgd_dlr
from trs_explorer.attacks.ball import Ball
from trs_explorer.attacks.di2 import di2
from trs_explorer.attacks.fgsm import fgsm
from trs_explorer.attacks.mim import mim
from trs_explorer.attacks.options import transfer_kwargs
from trs_explorer.attacks.pgd import pgd
from trs_explorer.catalogue import load
from trs_explorer.models.ensemble import Ensemble


def declared(function):
    """The attack on nets whose feature layers nobody has declared."""

    @wraps(function)
    def attack(model, x, y, **options):
        for net in getattr(model, "members", [model]):
            if isinstance(net, nn.Sequential):
                net.feature_layers = tuple(name for name, _ in net.named_children())[:-1]  # without the logits
        return function(model, x, y, **options)

    return attack


# instead of hundreds of passes; the two that are dear take fewer
FEW = {"steps": 12, "reference_steps": 4, "samples": 2, "queries": 60, "effort": 0.04}
FEWER = {"ila": {"steps": 5}, "ira": {"steps": 5}}
# Other options than the usual ones, of attacks whose steps depend on them.
VARIANTS = [
    partial(fgsm, norm="l2"),
    partial(pgd, steps=7, restarts=3),
    partial(pgd, steps=12, norm="l2", early_stop=False),
    partial(mim, steps=12, norm="l2"),
    partial(apgd, steps=14, norm="l2", early_stop=False),
    partial(apgd_dlr, steps=14, restarts=2),
    partial(di2, steps=12, norm="l2", momentum=1.0),
]


def entries():
    """Every attack of the catalogue that has a radius, in few steps: a new one is held to the contract by itself."""
    for name in RADIUS_ATTACKS:
        few = {key: value for key, value in (FEW | FEWER.get(name, {})).items() if takes(name, key)}
        yield pytest.param(partial(declared(load(ATTACKS[name].function)), **few), id=name)


every_attack = pytest.mark.parametrize(
    "attack",
    [
        *entries(),
        *(pytest.param(one, id="-".join(map(str, [one.func.__name__, *one.keywords.values()]))) for one in VARIANTS),
    ],
)


ROUNDING = {"atol": 1e-4, "rtol": 1e-3}  # of other batch sizes; L2 steps carry it on


def seed(number=0):
    return torch.Generator().manual_seed(number)


def make(classes=3, inputs=9, scale=6.0, number=0):
    with torch.random.fork_rng():
        torch.manual_seed(number)
        model = nn.Sequential(nn.Flatten(), nn.Linear(inputs, 24), nn.ReLU(), nn.Linear(24, classes))
        with torch.no_grad():
            for p in model.parameters():
                p *= scale**0.5
    return model


def problem(n=40, number=0):
    """A net, images (with pixels at 0 and 1), and labels of which most are the net's own answers."""
    model = make(number=number)
    x = torch.rand(n, 1, 3, 3, generator=seed(number)).mul(1.2).sub(0.1).clamp(0, 1)
    y = model(x).argmax(-1)
    y[::7] = (y[::7] + 1) % 3
    return model, x, y


def fooled(model, x, y):
    return model(x).argmax(-1) != y


@every_attack
@settings(max_examples=5, deadline=None)
@given(eps=st.floats(1e-4, 1.5), number=st.integers(0, 1000))
def test_stays_in_the_ball_and_in_the_pixel_range(attack, eps, number):
    model, x, y = problem(20, number)
    x_adv = attack(model, x, y, eps=eps, generator=seed(number))
    shift = (x_adv.double() - x.double()).flatten(1)
    size = shift.norm(dim=-1) if attack.keywords.get("norm") == "l2" else shift.abs().amax(-1)
    assert size.max() <= eps
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    assert x_adv.shape == x.shape
    assert x_adv.dtype == x.dtype


@every_attack
def test_a_failed_attack_returns_the_original_and_a_changed_image_fools(attack):
    model, x, y = problem(200)
    x_adv = attack(model, x, y, eps=0.06, generator=seed())
    changed = (x_adv != x).flatten(1).any(-1)
    fell = fooled(model, x_adv, y)
    assert 20 < fell.sum() < 180
    assert (changed <= fell).all()
    assert (fooled(model, x, y) <= fell).all()


@every_attack
@pytest.mark.parametrize("targeted", [False, True])
def test_a_targeted_attack_fools_by_the_wanted_class(attack, targeted):
    model, x, _ = problem(60)
    y = (model(x).argmax(-1) + targeted) % 3
    x_adv = attack(model, x, y, eps=0.5, targeted=targeted, generator=seed())
    changed = (x_adv != x).flatten(1).any(-1)
    assert changed.sum() > 8
    assert ((model(x_adv).argmax(-1) == y)[changed] == targeted).all()


@every_attack
def test_made_for_transfer_it_goes_on_where_nothing_fools_and_changes_nothing_where_something_does(attack):
    model, x, y = problem(80)
    plain = attack(model, x, y, eps=0.06, generator=seed(), **transfer_kwargs(attack))
    x_adv = attack(model, x, y, eps=0.06, generator=seed(), for_transfer=True)
    fell = fooled(model, plain, y)
    assert 15 < fell.sum() < 65
    assert torch.equal(x_adv[fell], plain[fell])
    assert torch.equal(fooled(model, x_adv, y), fell)
    assert (x_adv != x)[~fell].flatten(1).any(-1).all()
    climbed = F.cross_entropy(model(x_adv), y, reduction="none") > F.cross_entropy(model(x), y, reduction="none")
    assert climbed[~fell].float().mean() > 0.85  # MORA's objective is of logits divided by their lead
    size = (x_adv - x).flatten(1)
    assert min(size.abs().amax(-1).max(), size.norm(dim=-1).max()) <= 0.06 + 1e-6


@every_attack
def test_radius_zero_returns_the_images(attack):
    model, x, y = problem()
    x_adv = attack(model, x, y, eps=0.0, generator=seed())
    assert torch.equal(x_adv, x)
    assert x_adv is not x


@every_attack
def test_no_image_and_one_image(attack):
    model, x, y = problem()
    assert attack(model, x[:0], y[:0], eps=0.1, generator=seed()).shape == (0, 1, 3, 3)
    assert attack(model, x[:1], y[:1], eps=0.1, generator=seed()).shape == (1, 1, 3, 3)


@every_attack
def test_the_same_seed_gives_the_same_images_and_touches_no_other_state(attack):
    model, x, y = problem()
    before, images = torch.get_rng_state(), x.clone()
    first = attack(model, x, y, eps=0.1, generator=seed(5))
    assert torch.equal(first, attack(model, x, y, eps=0.1, generator=seed(5)))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(x, images)
    assert not first.requires_grad


def test_another_seed_gives_another_start():
    model, x, y = problem()
    attack = partial(pgd, model, x, y, eps=0.3, steps=2, early_stop=False)
    assert not torch.equal(attack(generator=seed(5)), attack(generator=seed(6)))


@every_attack
def test_leaves_modes_buffers_and_gradients_as_they_were(attack):
    net = nn.Sequential(nn.Conv2d(1, 4, 2), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 3))
    net.train()
    net[1].eval()  # a frozen layer of a model in training
    net[0].weight.grad = torch.ones_like(net[0].weight)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    _, x, y = problem()
    attack(net, x, y, eps=0.1, generator=seed())
    assert [m.training for m in net.modules()] == [True, True, False, True, True, True]
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert torch.equal(net[0].weight.grad, torch.ones_like(net[0].weight))
    assert all(p.grad is None for name, p in net.named_parameters() if name != "0.weight")
    assert all(p.requires_grad for p in net.parameters())


@every_attack
def test_a_model_in_training_is_attacked_as_in_evaluation(attack):
    model, x, y = problem()
    noisy = nn.Sequential(nn.Dropout(0.5), model)
    expected = attack(noisy.eval(), x, y, eps=0.1, generator=seed())
    assert torch.equal(attack(noisy.train(), x, y, eps=0.1, generator=seed()), expected)


def test_the_mode_comes_back_after_an_error():
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("broken")

    model = Broken().train()
    with pytest.raises(RuntimeError, match="broken"):
        fgsm(model, torch.rand(2, 1, 3, 3), torch.tensor([0, 1]), eps=0.1)
    assert model.training


@every_attack
def test_works_where_gradients_are_off(attack):
    model, x, y = problem()
    expected = attack(model, x, y, eps=0.1, generator=seed())
    with torch.no_grad():
        assert torch.equal(attack(model, x, y, eps=0.1, generator=seed()), expected)
    with torch.inference_mode():
        assert torch.equal(attack(model, x.clone(), y.clone(), eps=0.1, generator=seed()), expected)


@every_attack
def test_an_image_does_not_depend_on_those_beside_it(attack):
    model, x, y = problem(40)
    whole = attack(model, x, y, eps=0.08, generator=seed())
    torch.testing.assert_close(attack(model, x[:9], y[:9], eps=0.08, generator=seed()), whole[:9], **ROUNDING)
    one = seed()
    parts = [attack(model, a, b, eps=0.08, generator=one) for a, b in zip(x.split(23), y.split(23), strict=True)]
    torch.testing.assert_close(torch.cat(parts), whole, **ROUNDING)
    # Companions that are wrong already leave at once, and must not move the noise of those who stay.
    others = torch.arange(40) % 2 == 0
    wrong = torch.where(others, (model(x).argmax(-1) + 1) % 3, y)
    torch.testing.assert_close(attack(model, x, wrong, eps=0.08, generator=seed())[~others], whole[~others], **ROUNDING)


@every_attack
def test_logits_and_log_probabilities_are_attacked_alike(attack):
    model, x, y = problem()
    expected = attack(model, x, y, eps=0.1, generator=seed())
    torch.testing.assert_close(attack(Ensemble([model]), x, y, eps=0.1, generator=seed()), expected, **ROUNDING)


class Road(nn.Module):
    """One pixel, and every gradient says "to the right". Class 1 wins in (.58, .64) and above .78 by 1, in (.70, .76) by 3."""

    def forward(self, x):
        x = x.flatten(1)
        score = -1.0 + 2.0 * (((x > 0.58) & (x < 0.64)) | (x > 0.78)) + 4.0 * ((x > 0.70) & (x < 0.76))
        straight_through = x + (score - x).detach()
        return torch.cat([torch.zeros_like(x), straight_through], -1)


@pytest.mark.parametrize(("steps", "best"), [(1, 0.5), (2, 0.62), (3, 0.62), (4, 0.74), (5, 0.74)])
def test_keeps_the_best_iterate_though_later_ones_fail_or_fool_less(steps, best):
    x, y = torch.full((1, 1, 1, 1), 0.5), torch.tensor([0])
    attack = partial(pgd, Road(), x, y, eps=0.3, steps=steps, step_size=0.06, random_start=False)
    assert attack(early_stop=False).item() == pytest.approx(best, abs=1e-5)


def test_early_stop_leaves_soon_after_the_image_is_fooled_and_is_as_often_right():
    calls = []

    class Counting(Road):
        def forward(self, x):
            calls.append(len(x))
            return super().forward(x)

    x, y = torch.full((4, 1, 1, 1), 0.5), torch.tensor([0, 1, 0, 1])  # the odd ones are wrong already
    x_adv = pgd(Counting(), x, y, eps=0.3, step_size=0.06, random_start=False)
    # One image for the classes, all four clean, then the two that stand: iterates 0 to 5.
    assert calls == [1, 4, *[2] * 6]
    assert fooled(Road(), x_adv, y).all()
    assert torch.equal(x_adv[1::2], x[1::2])


class Flat(nn.Module):
    """One pixel, no slope: class 1 in the upper eighth of (.2, .8), which only a random start can hit."""

    def forward(self, x):
        x = x.flatten(1)
        return torch.cat([0 * x, (x > 0.725).float() - 0.5 + 0 * x], -1)


def test_the_worst_of_the_restarts_counts_per_example():
    x, y = torch.full((400, 1, 1, 1), 0.5), torch.zeros(400, dtype=torch.long)
    attack = partial(pgd, Flat(), x, y, eps=0.3, steps=1)
    once = fooled(Flat(), attack(generator=seed()), y).float().mean()
    often = fooled(Flat(), attack(restarts=40, generator=seed()), y).float().mean()
    assert once == pytest.approx(1 / 8, abs=0.05)
    assert often > 0.98


def test_an_output_of_nan_is_no_success():
    class Brittle(nn.Module):
        def forward(self, x):
            margin = x.flatten(1).sum(-1) - 1
            margin = torch.where(margin > 0.05, torch.nan, margin)
            return torch.stack([0 * margin + 5, margin], -1)

    x, y = torch.full((3, 1, 2, 2), 0.25), torch.zeros(3, dtype=torch.long)
    for attack in (fgsm, pgd):
        assert torch.equal(attack(Brittle(), x, y, eps=0.1), x)
    _, success = objective.loss_and_success(Brittle(), x + 0.1, 1 - y, targeted=False)
    assert not success.any()


def test_projection_leaves_the_inside_alone_and_brings_the_outside_to_the_edge():
    x = torch.tensor([0.5, 0.5, 0.5, 0.9]).view(1, 1, 2, 2)
    inside, outside = torch.tensor([0.1, 0.0, -0.1, 0.0]).view(1, 1, 2, 2), torch.tensor([0.0, 0.3, 0.0, 0.4]).view(1, 1, 2, 2)
    for norm in NORMS:
        torch.testing.assert_close(Ball(x, 0.2, norm).project(x + inside), x + inside)
    edge = Ball(x, 0.2, "l2").project(x + outside)
    torch.testing.assert_close(edge.flatten(), torch.tensor([0.5, 0.62, 0.5, 1.0]))
    edge = Ball(x, 0.2, "linf").project(x + outside)
    torch.testing.assert_close(edge.flatten(), torch.tensor([0.5, 0.7, 0.5, 1.0]))


def test_the_random_start_fills_the_ball():
    x = torch.full((2000, 1, 1, 2), 0.5)
    seeds = [row[0] for row in noise.draw_seeds(2000, 1, seed())]
    square = noise.random_shift(x, seeds, eps=0.2, norm="linf").flatten(1)
    assert square.abs().max() <= 0.2
    assert square.abs().mean().item() == pytest.approx(0.1, abs=0.005)
    disc = noise.random_shift(x, seeds, eps=0.2, norm="l2").flatten(1)
    assert disc.norm(dim=-1).max() <= 0.2 + 1e-6
    assert disc.norm(dim=-1).mean().item() == pytest.approx(0.2 * 2 / 3, abs=0.005)
    assert disc.mean(0).abs().max() < 0.01
