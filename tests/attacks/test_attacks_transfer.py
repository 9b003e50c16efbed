"""The attacks made for other models: their parts against plain computations, and that what they make transfers."""

from functools import partial
from importlib import import_module

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trs_explorer.attacks.di2 import di2, mdi2, shrunk
from trs_explorer.attacks.ila import ila
from trs_explorer.attacks.ira import cells, interaction, ira
from trs_explorer.attacks.losses import cross_entropy, margin
from trs_explorer.attacks.mim import mim
from trs_explorer.attacks.noise import draw_seeds, uniform
from trs_explorer.attacks.pgd import pgd
from trs_explorer.models.ensemble import Ensemble

EPS = 0.06


def seed(number=0):
    return torch.Generator().manual_seed(number)


def patterns(n, number):
    """Five noisy patterns."""
    middle = 0.3 + 0.4 * torch.rand(5, 1, 6, 6, generator=seed())
    y = torch.randint(5, (n,), generator=seed(number))
    return (middle[y] + 0.15 * torch.randn(n, 1, 6, 6, generator=seed(number + 1))).clamp(0, 1), y


def net(number):
    """A small net trained on the patterns."""
    x, y = patterns(600, 1)
    with torch.random.fork_rng():
        torch.manual_seed(number)
        layers = nn.Sequential(nn.Flatten(), nn.Linear(36, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 5))
        layers.feature_layers = ("1", "3")
        optimiser = torch.optim.Adam(layers.parameters(), 5e-3)
        for _ in range(50):
            optimiser.zero_grad()
            F.cross_entropy(layers(x), y).backward()
            optimiser.step()
    return layers.eval()


@pytest.fixture(scope="module")
def two():
    """Two nets and 200 fresh images."""
    return net(0), net(1), *patterns(200, 3)


TRANSFER = [partial(di2, steps=10), partial(mdi2, steps=10), partial(ila, steps=10), partial(ira, steps=10, samples=4)]
NAMES = [attack.func.__name__ for attack in TRANSFER]


@pytest.mark.parametrize("attack", TRANSFER, ids=NAMES)
def test_what_is_made_for_transfer_stays_in_the_ball_and_fools_another_net_more_than_noise_does(two, attack):
    model, other, x, y = two
    x_adv = attack(model, x, y, eps=EPS, for_transfer=True, generator=seed())
    assert (x_adv - x).abs().max() <= EPS + 1e-6
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    noise = (x + EPS * torch.randn(x.shape, generator=seed()).sign()).clamp(0, 1)
    wrong, by_noise = ((other(images).argmax(-1) != y).sum() for images in (x_adv, noise))
    assert wrong > by_noise + 40
    held = model(x_adv).argmax(-1) == y
    assert (cross_entropy(model(x_adv), y) > cross_entropy(model(x), y))[held].float().mean() > 0.9


@pytest.mark.parametrize("attack", TRANSFER, ids=NAMES)
def test_for_transfer_changes_no_image_that_fools_the_net_itself(two, attack):
    model, _, x, y = two
    attack = partial(attack, model, x, y, eps=EPS, early_stop=False)
    alone, for_transfer = (attack(for_transfer=on, generator=seed()) for on in (False, True))
    fooled = model(alone).argmax(-1) != y
    assert 20 < fooled.sum() < 190
    assert torch.equal(alone[fooled], for_transfer[fooled])
    assert torch.equal(alone[~fooled], x[~fooled])


# DI2


@pytest.mark.parametrize(("shape", "canvas"), [((2, 6, 4), 2.0), ((1, 8, 16), 1.125), ((3, 5, 5), 1.6)])
def test_shrinking_is_padding_and_then_resizing(shape, canvas):
    x = torch.rand(9, *shape, generator=seed())
    room = [round((canvas - 1) * side) for side in shape[1:]]
    corner = torch.stack([torch.randint(space + 1, (9,), generator=seed()) for space in room], 1)
    corner[:2] = torch.tensor([[0, 0], room])
    expected = []
    for image, (top, left) in zip(x, corner.tolist(), strict=True):
        padded = F.pad(image[None], (left, room[1] - left, top, room[0] - top))
        expected.append(F.interpolate(padded, size=shape[1:], mode="bilinear", align_corners=False)[0])
    found = shrunk(x, torch.full((9,), canvas), 2 * corner / torch.tensor(room) - 1)
    torch.testing.assert_close(found, torch.stack(expected))


def test_shrinking_by_one_leaves_images_alone():
    x = torch.rand(2, 3, 7, 5, generator=seed())
    torch.testing.assert_close(shrunk(x, torch.ones(2), torch.tensor([[0.3, -1.0], [1.0, 0.0]])), x)


class Watching(nn.Module):
    """A linear model that writes down what it is shown with gradients on."""

    def __init__(self):
        super().__init__()
        self.weight = torch.randn(3, 144, generator=seed())
        self.seen = []

    def forward(self, x):
        if torch.is_grad_enabled():
            self.seen.append(x.detach().clone())
        return x.flatten(1) @ self.weight.T


@pytest.mark.parametrize("probability", [0.5, 1.0])
def test_di2_looks_at_images_of_random_sizes_at_random_places_each_its_own(probability):
    model, x, y = Watching(), torch.ones(300, 1, 12, 12), torch.zeros(300, dtype=torch.long)
    di2(model, x, y, eps=1e-6, steps=3, probability=probability, early_stop=False, generator=seed())
    again = (model.seen[0] - model.seen[1]).abs().flatten(1).amax(1) < 0.01
    assert again.float().mean().item() == pytest.approx((1 - probability) ** 2, abs=0.06)  # a new draw at every step
    shown = torch.cat(model.seen)[:, 0]
    changed = (shown < 0.99).flatten(1).any(1)
    assert changed.float().mean().item() == pytest.approx(probability, abs=0.05)
    shown = shown[changed]
    across = shown.amax(1).sum(-1) / 12  # white on black: the sum along a line through it is its side
    assert across.min() > 8 / 9 - 0.01
    assert across.max() < 1
    assert across.mean().item() == pytest.approx((8 / 9 + 1) / 2, abs=0.01)  # uniform from 8/9, which is 1 / 1.125, to 1
    free = 1 - across
    for line in (shown.amax(1), shown.amax(2)):
        middle = (line * torch.linspace(-11 / 12, 11 / 12, 12)).sum(-1) / line.sum(-1)
        place = (middle / free)[free > 0.05]  # -1 and 1 where it touches an edge
        assert place.abs().max() < 1.05
        assert place.mean().item() == pytest.approx(0, abs=0.12)
        assert place.std().item() == pytest.approx(3**-0.5, abs=0.08)  # uniform


def test_di2_follows_the_gradient_through_the_changed_image_and_judges_by_the_image_itself(two):
    model, _, x, y = two
    x_adv = di2(model, x, y, eps=EPS, steps=1, for_transfer=True, generator=seed(7))
    chance, r, down, right = uniform(draw_seeds(len(x), 1, seed(7)), (1, 4))[:, 0].unbind(1)
    point = x.clone().requires_grad_()
    changed = shrunk(point, 1.125 / (1 + 0.125 * r), 2 * torch.stack([down, right], 1) - 1)
    shown = torch.where((chance < 0.5).view(-1, 1, 1, 1), changed, point)
    (gradient,) = torch.autograd.grad(cross_entropy(model(shown), y).sum(), point)
    step = (x + EPS / 10 * gradient.sign()).clamp(0, 1)
    better = cross_entropy(model(step), y) > cross_entropy(model(x), y)
    assert better.float().mean() > 0.5
    torch.testing.assert_close(x_adv, torch.where(better.view(-1, 1, 1, 1), step, x))
    plain = pgd(model, x, y, eps=EPS, steps=1, random_start=False, for_transfer=True)
    same = (plain == x_adv).flatten(1).all(1)
    assert same[chance >= 0.5].all()
    assert same[chance < 0.5].float().mean() < 0.5  # where the step is no gain, both give the image back


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_di2_that_never_changes_an_image_is_pgd_from_the_image_and_with_momentum_mim(two, norm):
    model, _, x, y = two
    own = {"eps": EPS, "steps": 7, "norm": norm, "for_transfer": True}
    expected = pgd(model, x, y, random_start=False, **own)
    torch.testing.assert_close(di2(model, x, y, probability=0.0, **own), expected)
    assert torch.equal(di2(model, x, y, probability=0.0, momentum=1.0, **own), mim(model, x, y, **own))


def test_mdi2_is_di2_with_momentum(two):
    model, _, x, y = two
    found = mdi2(model, x, y, eps=EPS, steps=7, generator=seed(3))
    assert torch.equal(found, di2(model, x, y, eps=EPS, steps=7, momentum=1.0, generator=seed(3)))
    assert not torch.equal(found, di2(model, x, y, eps=EPS, steps=7, generator=seed(3)))


# ILA


def linear_net(w, v):
    """Features W x, then two logits of which the second less the first is v.(W x)."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, len(w), bias=False), nn.Linear(len(w), 2, bias=False))
    model[1].weight.data, model[2].weight.data = w, torch.stack([-v / 2, v / 2])
    model.feature_layers = ("1",)
    return model


@pytest.mark.parametrize("ensemble", [False, True])
def test_ila_reaches_the_corner_that_the_references_features_point_to(ensemble):
    w, v = torch.randn(5, 12, generator=seed(1)), torch.randn(5, generator=seed(2))
    x = torch.rand(6, 1, 3, 4, generator=seed(3)) * 0.2 + 0.4
    y = torch.arange(6) % 2
    outwards = (1.0 - 2 * y)[:, None]
    reference = outwards * (v @ w).sign()
    corner = outwards * (w.T @ w @ (v @ w).sign()).sign()
    assert not torch.equal(reference, corner)
    model = linear_net(w, v)
    if ensemble:  # a second member, which never answers anything but has features
        other = torch.randn(5, 12, generator=seed(4))
        model = Ensemble([model, linear_net(other, 0 * v)])
        both = torch.cat([w, other])
        alone, corner = corner, (reference @ both.T @ both).sign()
        assert not torch.equal(alone, corner)
    x_adv = ila(model, x, y, eps=0.1, steps=12, reference_steps=1, for_transfer=True)
    assert ((model(x + 0.1 * corner.view(x.shape)) - model(x))[range(6), y] < 0).all()  # the loss grows along the way
    torch.testing.assert_close(x_adv, x + 0.1 * corner.view(x.shape))


def test_ila_looks_at_the_layer_it_is_told_and_at_the_last_one_by_default(two):
    model, _, x, y = two
    attack = partial(ila, model, x, y, eps=EPS, steps=5, for_transfer=True)
    assert torch.equal(attack(), attack(layer="3"))
    assert not torch.equal(attack(), attack(layer="1"))


def test_ila_moves_nothing_where_the_reference_moved_nothing():
    model = linear_net(torch.zeros(5, 12), torch.ones(5))
    x = torch.rand(4, 1, 3, 4, generator=seed())
    assert torch.equal(ila(model, x, torch.zeros(4, dtype=torch.long), eps=0.1, steps=3, for_transfer=True), x)


# IRA


def by_hand(model, x, x_adv, y, picks, grid):
    """The interaction of a perturbation of one 6 x 6 image, part by part and pixel by pixel."""
    rival = model(x_adv[None])[0].index_fill(0, y, -torch.inf).argmax()

    def v(show):
        keep = torch.tensor([[show(i, j) for j in range(6)] for i in range(6)], dtype=x.dtype)
        z = model((x + keep * (x_adv - x))[None])[0]
        return z[rival] - z[y]

    total = 0.0
    for part in picks.tolist():
        pixels = {(i, j) for i in range(6) for j in range(6) if i * grid // 6 * grid + j * grid // 6 in part}
        alone, others = v(lambda *at, own=pixels: at in own), v(lambda *at, own=pixels: at not in own)
        total = total + v(lambda *_: True) - others - alone + v(lambda *_: False)
    return total / len(picks)


@pytest.mark.parametrize("loss", ["margin", "ce"])
def test_ira_takes_the_steps_of_a_loop_over_images_and_parts(two, monkeypatch, loss):
    """On a net with more bends than the trained ones, which are nearly linear within the ball."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 12), nn.Tanh(), nn.Linear(12, 4)).double()
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=seed(5)).double()
    x = two[2][:5].double()
    y = model(x).argmax(-1)
    weight, samples, grid, eps = 0.7, 3, 4, 0.2
    picks = (uniform(draw_seeds(5, 1, seed(9)), (2, samples, 2)) * grid * grid).long()
    expected = []
    for image, label, own in zip(x, y, picks, strict=True):
        points = [image]
        for step in range(2):
            point = points[-1].clone().requires_grad_()
            goal = {"margin": margin, "ce": cross_entropy}[loss](model(point[None]), label[None])[0]
            goal = goal - weight * by_hand(model, image, point, label, own[step], grid)
            (gradient,) = torch.autograd.grad(goal, point)
            moved = torch.clamp(point.detach() + eps / 2 * gradient.sign(), image - eps, image + eps).clamp(0, 1)
            points.append(moved)
        losses = cross_entropy(model(torch.stack(points)), label.repeat(3))
        expected.append(points[losses.argmax()])
    own = {"samples": samples, "grid": grid, "loss": loss, "for_transfer": True}
    attack = partial(ira, model, x, y, eps=eps, steps=2, step_size=eps / 2, **own)
    found = attack(interaction_weight=weight, generator=seed(9))
    torch.testing.assert_close(found, torch.stack(expected))
    differ = (found != attack(interaction_weight=0.0)).flatten(1).any(1)
    assert differ.sum() >= 3
    monkeypatch.setattr(import_module("trs_explorer.attacks.ira"), "IMAGES_PER_PASS", 1)  # each image by itself
    torch.testing.assert_close(attack(interaction_weight=weight, generator=seed(9)), found)


def test_ira_without_interaction_is_pgd_from_the_image(two):
    model, _, x, y = two
    own = {"eps": EPS, "steps": 5, "for_transfer": True}
    found = ira(model, x, y, interaction_weight=0.0, samples=1, loss="ce", **own)
    torch.testing.assert_close(found, pgd(model, x, y, random_start=False, **own))


def test_a_linear_model_has_no_interaction_and_a_product_has_its_mixed_term():
    w, x, shift = (torch.randn(shape, generator=seed()) for shape in ((3, 12), (4, 12), (4, 12)))
    part = torch.rand(4, 5, 12, generator=seed()) < 0.3
    shown = torch.cat([torch.ones(4, 1, 12), torch.zeros(4, 1, 12), part, ~part], 1)
    images, y = x[:, None] + shown * shift[:, None], torch.tensor([0, 1, 2, 0])
    torch.testing.assert_close(interaction(images @ w.T, y), torch.zeros(4), atol=1e-5, rtol=0)
    # class 1 has z = a b; of the parts {a} and {a, b}, only the first has a rest to interact with
    a, b = torch.tensor([0.2, -0.7]), torch.tensor([0.5, 2.0])
    product = torch.stack([a * b, 0 * a, 0 * a, a * b, 0 * a, 0 * a], 1)
    outputs = torch.stack([0 * product, product - 3], 2)
    torch.testing.assert_close(interaction(outputs, torch.tensor([0, 0])), a * b / 2)


@pytest.mark.parametrize(
    ("side", "grid", "sizes"), [((28, 28), (7, 7), {16}), ((32, 32), (7, 7), {16, 20, 25}), ((1, 2), (1, 2), {1})]
)
def test_cells_share_out_the_pixels(side, grid, sizes):
    count = grid[0] * grid[1]
    one_each = cells(torch.arange(count).view(1, count, 1), grid, torch.rand(1, 1, *side))
    assert torch.equal(one_each.sum(1), torch.ones(1, *side))
    assert set(one_each.sum((2, 3)).flatten().tolist()) == sizes
    twice = cells(torch.tensor([[[0, 0, count - 1]]]), grid, torch.rand(1, 1, *side))
    assert torch.equal(twice, one_each[:, :1] + one_each[:, -1:])


# What is refused


@pytest.mark.parametrize(
    ("attack", "options", "message"),
    [
        (di2, {"probability": 1.5}, r"probability must lie in \[0, 1\], got 1.5"),
        (di2, {"momentum": -1.0}, "momentum must be finite and >= 0"),
        (di2, {"steps": -1}, "steps must be >= 1, got -1"),
        (mdi2, {"norm": "l1"}, "norm must be one of"),
        (ila, {"layer": "2"}, "layer must be one of 1, 3, got '2'"),
        (ila, {"reference_steps": 0}, "steps must be >= 1"),
        (ira, {"samples": 0}, "samples and grid must be >= 1, got 0 and 7"),
        (ira, {"grid": 0}, "samples and grid must be >= 1"),
        (ira, {"interaction_weight": float("nan")}, "interaction_weight must be finite and >= 0"),
        (ira, {"loss": "mse"}, "loss must be one of"),
        (ira, {"step_size": 0.0}, "step_size must be"),
    ],
)
def test_bad_options_are_refused_in_words(two, attack, options, message):
    model, _, x, y = two
    with pytest.raises(ValueError, match=message):
        attack(model, x[:2], y[:2], eps=EPS, **options)


@pytest.mark.parametrize("attack", [di2, ila, ira])
def test_bad_images_are_refused_before_any_noise_is_drawn(two, attack):
    model, _, x, y = two
    generator = seed()
    with pytest.raises(ValueError, match=r"images must lie in \[0, 1\]"):
        attack(model, x[:2] + 2, y[:2], eps=EPS, generator=generator)
    assert torch.equal(generator.get_state(), seed().get_state())


def test_ila_says_what_a_model_needs():
    with pytest.raises(ValueError, match="Flatten declares no feature layers: set `feature_layers`"):
        ila(nn.Flatten(), torch.rand(1, 1, 1, 2), torch.tensor([0]), eps=0.1)


def test_ilas_reference_is_the_image_of_highest_loss_whether_it_fools_or_not(two, monkeypatch):
    model, _, x, y = two
    made, eps = [], 0.02
    recorded = lambda *args, **options: made.append(pgd(*args, **options)) or made[0]  # noqa: E731
    monkeypatch.setattr(import_module("trs_explorer.attacks.ila"), "pgd", recorded)
    ila(model, x, y, eps=eps, steps=1)
    assert torch.equal(made[0], pgd(model, x, y, eps=eps, steps=10, random_start=False, for_transfer=True))
    assert not torch.equal(made[0], pgd(model, x, y, eps=eps, steps=10, random_start=False))
