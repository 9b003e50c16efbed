"""PARL's layer gradients against a brute-force autograd loop: one member, one layer, one image at a time."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from defences_plain import turned
from torch import nn

from trs_explorer.defences.parl import layer_gradients, parl
from trs_explorer.models import build
from trs_explorer.models.affine import affine_layers
from trs_explorer.models.ensemble import Ensemble


@pytest.fixture
def convolutions() -> Ensemble:
    torch.manual_seed(0)
    layers = lambda: (nn.Conv2d(1, 3, 2), nn.Softplus(), nn.Conv2d(3, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3))  # noqa: E731
    return Ensemble([nn.Sequential(*layers()).double() for _ in range(4)])


@pytest.fixture
def images() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.rand(5, 1, 4, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])


def plain_cosine(ensemble: Ensemble, x: torch.Tensor, depths: list[int]) -> float:
    """The mean over layers, pairs of members and images. depths: how many of a member's layers lead to each output."""
    cosines = []
    for image, depth in itertools.product(x, depths):
        slopes = []
        for member in ensemble.members:
            leaf = image[None].clone().requires_grad_()
            slopes.append(torch.autograd.grad(member[:depth](leaf).sum(), leaf)[0].flatten())
        cosines += [F.cosine_similarity(a, b, dim=0).item() for a, b in itertools.combinations(slopes, 2)]
    return sum(cosines) / len(cosines)


@pytest.mark.parametrize(("parl_layers", "depths"), [(1, [1]), (2, [1, 3]), (9, [1, 3])])
def test_terms_are_the_formula(convolutions, images, parl_layers, depths):
    (x, y), wanted = images, plain_cosine(convolutions, images[0], depths)
    ce = sum(F.cross_entropy(one(x), y).item() for one in convolutions.members) / 4
    terms = parl(convolutions, x, y, lambda_parl=0.7, parl_layers=parl_layers, x_ce=x)
    assert abs(wanted) > 1e-3
    assert terms["cosines"].item() == pytest.approx(0.7 * wanted, abs=1e-9)
    assert terms["total"].item() == pytest.approx(ce + 0.7 * wanted, abs=1e-9)
    moved = parl(turned(convolutions), x, y, lambda_parl=0.7, parl_layers=parl_layers, x_ce=x + 0.1)
    assert moved["cosines"].item() == pytest.approx(0.7 * wanted, abs=1e-9)
    assert moved["ce"].item() == pytest.approx(sum(F.cross_entropy(m(x + 0.1), y).item() for m in convolutions.members) / 4)


def test_the_whole_can_be_differentiated(convolutions, images):
    weight = convolutions.members[0][0].weight

    def total() -> torch.Tensor:
        return parl(convolutions, *images, lambda_parl=0.7, parl_layers=5, x_ce=images[0])["total"]

    wanted, found = torch.autograd.grad(total(), weight)[0][1, 0, 0, 1].item(), []
    for step in (1e-5, -1e-5):
        with torch.no_grad():
            weight[1, 0, 0, 1] += step
        found.append(total().item())
        with torch.no_grad():
            weight[1, 0, 0, 1] -= step
    assert wanted == pytest.approx((found[0] - found[1]) / 2e-5, rel=1e-5)


def test_opposite_first_layers_are_best(batch):
    members = [nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double() for _ in range(2)]
    members[1][1].weight.data = -members[0][1].weight.data
    terms = parl(Ensemble(members), *batch, lambda_parl=1.0, parl_layers=1, x_ce=batch[0])
    assert terms["cosines"].item() == pytest.approx(-1)


def test_two_threads_of_a_step_do_not_see_each_other():
    ensemble, images = build("patch", "mnist", 2, seed=0), torch.rand(40, 1, 28, 28)
    layers = affine_layers(ensemble, images)[:-1]

    def gradients(x: torch.Tensor) -> list[torch.Tensor]:
        return [one.detach() for one in layer_gradients(ensemble, x, layers)[0]]

    alone = [gradients(x) for x in images.split(5)]
    with ThreadPoolExecutor(2) as threads:
        for one, other in zip(alone, threads.map(gradients, images.split(5)), strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_in_bfloat16_it_is_nearly_the_same():
    ensemble, x, y = build("patch", "mnist", 3, seed=0), torch.rand(8, 1, 28, 28), torch.arange(8)
    exact = parl(ensemble, x, y, lambda_parl=1.0, parl_layers=3, x_ce=x)
    ensemble.autocast = True
    rough = parl(ensemble, x, y, lambda_parl=1.0, parl_layers=3, x_ce=x)
    assert all(term.dtype == torch.float32 for term in rough.values())
    assert rough["cosines"].item() == pytest.approx(exact["cosines"].item(), abs=0.01)
