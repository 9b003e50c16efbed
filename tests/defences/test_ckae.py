"""Linear CKA against its formula, and what it does not see."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from defences_plain import turned

from trs_explorer.defences.ckae import ckae, linear_cka


def plain_cka(x: torch.Tensor, y: torch.Tensor) -> float:
    """Kornblith et al. 2019, Eq. of section 3: by the features' cross-covariance."""
    x, y = x - x.mean(0), y - y.mean(0)
    return ((y.T @ x).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())).item()


def test_terms_are_the_formula(ensemble, batch):
    x, y = batch
    seen = [one[:2](x) for one in ensemble.members]  # the last declared layer is the first linear one
    pairs = [plain_cka(a, b) for a, b in itertools.combinations(seen, 2)]
    ce = sum(F.cross_entropy(one(x), y).item() for one in ensemble.members) / 4
    terms = ckae(ensemble, x, y, lambda_cka=0.7, x_ce=x)
    assert terms["cka"].item() == pytest.approx(0.7 * sum(pairs) / 6, abs=1e-9)
    assert terms["total"].item() == pytest.approx(ce + 0.7 * sum(pairs) / 6, abs=1e-9)
    assert ckae(turned(ensemble), x, y, lambda_cka=0.7, x_ce=x)["total"].item() == pytest.approx(terms["total"].item(), abs=1e-12)
    moved = ckae(ensemble, x, y, lambda_cka=0.7, x_ce=x + 0.1)
    assert moved["cka"].item() == terms["cka"].item()
    assert moved["ce"].item() == pytest.approx(sum(F.cross_entropy(m(x + 0.1), y).item() for m in ensemble.members) / 4, abs=1e-9)


def test_rotations_scales_and_shifts_do_not_matter():
    torch.manual_seed(0)
    x = torch.randn(20, 5, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64)).Q
    both = linear_cka(torch.stack([x, 1e-6 * x @ rotation + 3.0]))
    torch.testing.assert_close(both, torch.ones_like(both))


def test_orthogonal_features_have_none():
    x = torch.tensor([[1.0, 0], [-1, 0], [1, 0], [-1, 0]])
    y = torch.tensor([[1.0, 0], [1, 0], [-1, 0], [-1, 0]])
    assert linear_cka(torch.stack([x, y]))[0, 1].item() == pytest.approx(0, abs=1e-7)


def test_dead_features_give_no_nan():
    features = torch.zeros(2, 4, 3, requires_grad=True)
    found = linear_cka(features)
    found.sum().backward()
    assert found.isfinite().all()
    assert features.grad.isfinite().all()
