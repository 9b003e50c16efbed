"""What every attack of the catalogue promises, a future one too: called as its signature says, on every type of images."""

import functools
import math

import jaxtyping
import pytest
import torch
from torch import nn

from trs_explorer.attack_catalogue import ATTACK_OPTIONS, ATTACKS, NORMS
from trs_explorer.attacks import checks, noise
from trs_explorer.attacks.options import keywords
from trs_explorer.catalogue import load

SMALL = {
    "steps": 5,
    "searches": 2,
    "samples": 2,
    "reference_steps": 3,
    "c": 2.0,
    "queries": 30,
    "effort": 0.03,
}  # instead of hundreds of passes
TYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]

every_attack = pytest.mark.parametrize("name", ATTACKS)
every_type = pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: str(dtype)[6:])


def parameters(name):
    return keywords(load(ATTACKS[name].function))


def run(name, model, x, y, **options):
    """The attack in few steps, with a seed of its own; options that it does not have are left out."""
    options = {"eps": 0.08, "generator": torch.Generator().manual_seed(0), **SMALL, **options}
    known = parameters(name)
    return load(ATTACKS[name].function)(model, x, y, **{key: value for key, value in options.items() if key in known})


def make(classes=3, dtype=torch.float32):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Flatten(), nn.Linear(9, 24), nn.ReLU(), nn.Linear(24, classes)
        model = nn.Sequential(*layers)
        with torch.no_grad():
            for p in model.parameters():
                p *= 2.5
    model.feature_layers = ("1",)
    return model.to(dtype)


def images(n=40, dtype=torch.float32):
    return torch.rand(n, 1, 3, 3, generator=torch.Generator().manual_seed(0)).mul(1.2).sub(0.1).clamp(0, 1).to(dtype)


def wrong(model, x, y):
    with torch.no_grad():
        return model(x).argmax(-1) != y


def changed(x_adv, x):
    return (x_adv != x).flatten(1).any(-1)


@functools.cache
def fooled_in_float32(name, norm, eps):
    model, x = make(), images()
    return int(changed(run(name, model, x, model(x).argmax(-1), norm=norm, eps=eps), x).sum())


@every_attack
@every_type
@pytest.mark.parametrize("norm", ["linf", pytest.param("l2", marks=pytest.mark.slow)])
def test_no_rounding_leaves_the_ball_and_every_changed_image_fools(name, dtype, norm):
    eps = 0.3 if norm == "linf" else 0.08
    if norm == "l2" and "norm" not in parameters(name):
        pytest.skip("no norm to choose")
    model, x = make(dtype=dtype), images(dtype=dtype)
    y = model(x).argmax(-1)
    x_adv = run(name, model, x, y, norm=norm, eps=eps)
    assert x_adv.dtype == dtype
    shift = (x_adv.double() - x.double()).flatten(1)
    if ATTACKS[name].has_radius:
        assert (shift.abs().amax(-1) if norm == "linf" else shift.norm(dim=-1)).max() <= eps
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    moved = changed(x_adv, x)
    assert torch.equal(moved, wrong(model, x_adv, y))
    # Types of few digits fool about as many images as float32, though steps are smaller than what they can tell apart.
    assert abs(int(moved.sum()) - fooled_in_float32(name, norm, eps)) <= 3
    assert moved.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_steps_too_small_for_the_type_add_up(dtype):
    """1/50 of .02 is less than half the distance of two such numbers near 1."""
    model, x = make(dtype=dtype), images(dtype=dtype)
    y = model(x).argmax(-1)
    x_adv = run("bim", model, x, y, eps=0.02, steps=50, for_transfer=True)
    assert (x_adv.double() - x.double()).abs().flatten(1).amax(-1).min() > 0.01


class Waves(nn.Module):
    """Logits with so many ups and downs that where an attack begins decides whether it fools."""

    def __init__(self, dtype):
        super().__init__()
        self.w = torch.randn(9, 3, generator=torch.Generator().manual_seed(3)).mul(25).to(dtype)

    def forward(self, x):
        return torch.sin(x.flatten(1) @ self.w) + torch.tensor([3.2, 1.6, 1.6], dtype=x.dtype)


restarting = pytest.mark.parametrize("name", [name for name in ATTACKS if "restarts" in parameters(name)])


@restarting
@every_type
@pytest.mark.parametrize("early_stop", [True, False])
def test_more_starts_never_lose_an_image_that_fewer_had_fooled(name, dtype, early_stop):
    model, x = Waves(dtype), images(60, dtype)
    y = model(x).argmax(-1)
    few = torch.zeros(len(x), dtype=torch.bool)
    for restarts in (1, 4):
        x_adv = run(name, model, x, y, eps=0.06, steps=1, restarts=restarts, early_stop=early_stop)
        fooled = wrong(model, x_adv, y)
        assert not (few & ~fooled).any()
        assert restarts == 1 or (fooled & ~few).any()
        few = fooled
    assert not few.all()


@restarting
def test_restarts_draw_the_same_in_one_call_and_in_several(name):
    model, x = Waves(torch.float32), images(60)
    y, whole = model(x).argmax(-1), torch.Generator().manual_seed(4)
    expected = run(name, model, x, y, eps=0.06, steps=1, restarts=3, generator=torch.Generator().manual_seed(4))
    parts = [
        run(name, model, a, b, eps=0.06, steps=1, restarts=3, generator=whole)
        for a, b in zip(x.split(25), y.split(25), strict=True)
    ]
    torch.testing.assert_close(torch.cat(parts), expected, atol=1e-5, rtol=0)


def test_the_seeds_of_a_start_do_not_depend_on_how_many_starts_follow():
    drawn = {n: noise.draw_seeds(50, n, torch.Generator().manual_seed(1)) for n in (1, 2, 7)}
    assert [row[:2] for row in drawn[7]] == drawn[2]
    assert [row[:1] for row in drawn[7]] == drawn[1]
    assert len({seed for row in drawn[7] for seed in row}) == 350
    # The first start's seed is the draw itself, as it always was.
    assert drawn[1] == torch.randint(2**31 - 1, (50, 1), generator=torch.Generator().manual_seed(1)).tolist()
    one = torch.Generator().manual_seed(1)
    assert noise.draw_seeds(20, 7, one) + noise.draw_seeds(30, 7, one) == drawn[7]


@every_attack
@every_type
def test_no_images_and_radius_zero_give_the_images_back(name, dtype):
    model, x = make(dtype=dtype), images(4, dtype)
    y = model(x).argmax(-1)
    assert run(name, model, x[:0], y[:0]).shape == (0, 1, 3, 3)
    if ATTACKS[name].has_radius:
        assert torch.equal(run(name, model, x, y, eps=0.0), x)


@pytest.fixture
def as_installed():
    """Without the type checks of the test run, which users do not have."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


class Wrap(nn.Module):
    """A last layer that gives the answer in another form."""

    def __init__(self, wrap):
        super().__init__()
        self.wrap = wrap

    def forward(self, logits):
        return self.wrap(logits)


X, Y = images(4), torch.tensor([0, 1, 2, 0])
REFUSED = {
    "one-class": (make(classes=1), X, torch.zeros(4, dtype=torch.long), "2 classes at least, it has 1: of one logit z"),
    "label-too-large": (make(), X, Y + 1, r"labels must lie in \[0, 2\] for a model of 3 classes, got \[1, 3\]"),
    "label-below-0": (make(), X, Y - 1, r"labels must lie in \[0, 2\] for a model of 3 classes, got \[-1, 1\]"),
    "label-list": (make(), X, Y.tolist(), "labels must be a torch.Tensor, got list"),
    "numpy-images": (make(), X.numpy(), Y, "images must be a torch.Tensor, got ndarray"),
    "numpy-labels": (make(), X, Y.numpy(), "labels must be a torch.Tensor, got ndarray"),
    "labels-elsewhere": (make(), X, Y.to("meta"), "must be on one device, got cpu and meta"),
    "model-elsewhere": (make().to("meta"), X, Y, "the model is on meta, the images on cpu"),
    "one-image": (make(), X[0], Y[:1], r"got \[1, 3, 3\]: make one image a batch by x\[None\]"),
    "flat-images": (make(), X.flatten(1), Y, r"must be \[batch, channel, height, width\], got \[4, 9\]"),
    "bytes": (make(), (X * 255).byte(), Y, "divide bytes by 255"),
    "whole-numbers": (make(), X.long(), Y, "images must be floating point"),
    "float-labels": (make(), X, Y.float(), "labels must be whole numbers"),
    "double-model": (make(dtype=torch.float64), X, Y, r"the model is of torch.float64, the images of torch.float32"),
    "tuple": (make().append(Wrap(lambda logits: (logits,))), X, Y, r"must return a tensor \[batch, class\], got tuple"),
    "dict": (make().append(Wrap(lambda logits: {"logits": logits})), X, Y, r"must return a tensor \[batch, class\], got dict"),
    "flat-answer": (make().append(Wrap(torch.flatten)), X, Y, r"must return \[batch, class\], got \[3\] for one image"),
    "a-function": (lambda x: x.flatten(1), X, Y, "torch.nn.Module, got function|function declares no feature"),
    "hardly-too-bright": (make(), X.clone().index_fill_(3, torch.tensor([0]), 1.000001), Y, r"got \[.*, 1\.000001\]: .*clamp"),
    "hardly-below-0": (make(), X.double().index_fill_(3, torch.tensor([0]), -1e-12), Y, r"got \[-1e-12, .*clamp"),
}

LOADS_MUCH = {"model-elsewhere": pytest.mark.slow}  # PyTorch, for layers on "meta"


@every_attack
@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize("case", [pytest.param(case, marks=LOADS_MUCH.get(case, ())) for case in REFUSED])
def test_what_no_attack_can_use_is_refused_in_words(name, case):
    model, x, y, message = REFUSED[case]
    with pytest.raises((TypeError, ValueError), match=message) as refusal:
        run(name, model, x, y)
    assert type(refusal.value) in (TypeError, ValueError)
    assert "\n" not in str(refusal.value)


@every_attack
@pytest.mark.parametrize("value", [1e300, math.inf, math.nan, -1.0])
def test_numbers_that_overflow_are_refused_in_words(name, value):
    options = {"eps", *(option.name for option in ATTACK_OPTIONS.values() if option.type is float and option.high != 1)}
    for option in options & set(parameters(name)):
        with pytest.raises(ValueError, match=f"^{option} must be "):
            run(name, make(), X, Y, **{option: value})


@restarting
@pytest.mark.usefixtures("as_installed")
def test_a_seed_in_the_place_of_a_generator_is_refused_in_words(name):
    with pytest.raises(TypeError, match=r"generator must be a torch\.Generator, got int"):
        run(name, make(), X, Y, generator=7)


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1])
def test_a_seed_out_of_range_is_refused_in_words(seed):
    with pytest.raises(ValueError, match=rf"a seed must lie in \[-2\*\*63, 2\*\*64 - 1\], got {seed}"):
        noise.seeded(seed)
    noise.random_shift(X, [seed] * 4, eps=0.1, norm="linf")


def test_a_pixel_is_told_in_as_many_digits_as_show_what_is_wrong_with_it():
    texts = {1 + 2**-23: "1.0000001", 1 + 2**-52: "1.0000000000000002", 2.5: "2.5", -1e-9: "-1e-09", 1.0: "1", 1e-6: "1e-06"}
    assert {pixel: checks._enough_digits(pixel) for pixel in texts} == texts


def test_a_momentum_above_1_does_not_overflow():
    model, x = make(), images()
    y = model(x).argmax(-1)
    for norm in NORMS:
        x_adv = run("mim", model, x, y, norm=norm, eps=0.3, momentum=1e9, steps=12, for_transfer=True)
        assert changed(x_adv, x).float().mean() > 0.9
