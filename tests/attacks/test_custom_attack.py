"""Attacks of others: they get what they name, may be random without a generator, and leave the model as it was."""

import pytest
import torch
from torch import nn

from trs_explorer.attacks.custom import adapted
from trs_explorer.evaluation.accuracy import evaluate
from trs_explorer.options import UsageError


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.Dropout(0.5))

    def forward(self, x):
        return self.layer(x)


def images(n=6):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, 1, 2, 2, generator=generator), torch.arange(n) % 2


def noise(model, x, y, *, eps):
    return (x + eps * (2 * torch.rand_like(x) - 1)).clamp(0, 1)


def test_it_gets_only_what_it_names():
    calls = []

    def named(model, x, y, *, eps, generator, power=2):
        calls.append((eps, type(generator), power))
        return x

    def bare(model, x, y, *, eps):
        calls.append(eps)
        return x

    x, y = images()
    given = {"eps": 0.1, "generator": torch.Generator(), "early_stop": False, "for_transfer": True, "targeted": False}
    adapted(named, "named")(Model(), x, y, **given, power=3)
    adapted(bare, "bare")(Model(), x, y, **given)
    assert calls == [(0.1, torch.Generator, 3), 0.1]
    with pytest.raises(UsageError, match="bare has no parameter targeted"):
        adapted(bare, "bare")(Model(), x, y, eps=0.1, targeted=True)


def test_without_a_generator_its_noise_is_that_of_the_seed_and_the_global_one_stays():
    x, y = images()
    attack = adapted(noise, "noise")
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, same, other = (attack(Model().eval(), x, y, eps=0.1, generator=torch.Generator().manual_seed(k)) for k in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    torch.manual_seed(5)
    assert torch.equal(torch.random.get_rng_state(), before)
    rates = [evaluate(Model(), x, y, attacks=[("noise", attack, {"eps": 0.3})], seed=3)[1].perturbation for _ in range(2)]
    assert rates[0] == rates[1] > 0


def test_it_leaves_the_model_its_gradients_and_its_arguments_as_they_were():
    def careless(model, x, y, *, eps):
        assert not model.training
        model.train()
        x.requires_grad_()
        model(x).sum().backward()
        y += 1
        return x.add_(eps).clamp(0, 1)

    model, (x, y) = Model().train(), images()
    model.layer[1].weight.grad = torch.ones(2, 4)
    clean, labels = x.clone(), y.clone()
    with pytest.raises(RuntimeError, match="leaf"):
        adapted(careless, "careless")(model, x, y, eps=0.1)

    def less_careless(model, x, y, *, eps):
        model.train()
        x.requires_grad_()
        model(x).sum().backward()
        y += 1
        return (x + eps).clamp(0, 1)

    x_adv = adapted(less_careless, "it")(model, x, y, eps=0.1)
    assert model.training
    assert model.layer[2].training
    assert torch.equal(model.layer[1].weight.grad, torch.ones(2, 4))
    assert model.layer[1].bias.grad is None
    assert torch.equal(x, clean)
    assert torch.equal(y, labels)
    assert not x_adv.requires_grad


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (lambda x: x[:3], r"it must return adversarial images of shape \[6, 1, 2, 2\], it returned \[3, 1, 2, 2\]"),
        (lambda x: None, "it returned NoneType"),
        (lambda x: x / 0, "NaN or infinity"),
        (lambda x: x + 0.5, r"it returned images in \[.*, 1\.\d+\]: clamp them to \[0, 1\]"),
    ],
)
def test_what_it_returns_is_checked(returned, words):
    x, y = images()
    with pytest.raises(UsageError, match=words):
        adapted(lambda model, x, y, *, eps: returned(x), "it")(Model(), x, y, eps=0.1)


def test_other_types_of_numbers_are_converted():
    x, y = images()
    assert adapted(lambda model, x, y, *, eps: x.double(), "it")(Model(), x, y, eps=0.1).dtype == torch.float32
