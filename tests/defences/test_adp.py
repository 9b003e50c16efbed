"""ADP against its formula, image by image with numpy."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from defences_plain import turned

from trs_explorer.defences.adp import adp, log_volume


def explicit(ensemble, x, y, *, x_ce) -> dict[str, float]:
    """Pang et al. 2019, with numpy's determinant of every image's matrix."""
    logits = np.stack([one(x).detach().numpy() for one in ensemble.members])
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    entropies, volumes = [], []
    for i, label in enumerate(y):
        mean = p[:, i].mean(0)
        entropies.append(-(mean * np.log(mean)).sum())
        columns = [np.delete(one, label) / np.linalg.norm(np.delete(one, label)) for one in p[:, i]]
        m = np.stack(columns, axis=1)
        volumes.append(np.log(np.linalg.det(m.T @ m + 1e-6 * np.eye(len(p)))))
    ce = sum(F.cross_entropy(one(x_ce), y).item() for one in ensemble.members)
    return {"ce": ce, "entropy": -2.0 * np.mean(entropies), "logdet": -0.5 * np.mean(volumes)}


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_terms_are_the_papers_formula(ensemble, batch, shift):
    x, y = batch
    x_ce = x + shift if shift else x
    terms = {name: value.item() for name, value in adp(ensemble, x, y, lambda_entropy=2.0, lambda_logdet=0.5, x_ce=x_ce).items()}
    total, expected = terms.pop("total"), explicit(ensemble, x, y, x_ce=x_ce)
    assert terms == pytest.approx(expected, abs=1e-9)
    assert total == pytest.approx(sum(expected.values()), abs=1e-9)


def test_the_order_of_the_members_does_not_matter(ensemble, batch):
    x, y = batch
    totals = [
        adp(one, x, y, lambda_entropy=2.0, lambda_logdet=0.5, x_ce=x)["total"].item() for one in (ensemble, turned(ensemble))
    ]
    assert totals[0] == pytest.approx(totals[1], abs=1e-9)


def test_a_very_sure_member_has_a_direction_and_a_slope():
    logits = torch.tensor([[[200.0, 3.0, 1.0]], [[150.0, 1.0, 3.0]]], requires_grad=True)
    volume = log_volume(logits, torch.tensor([0]))
    same, turned_away = torch.tensor([3.0, 1.0]).softmax(0), torch.tensor([1.0, 3.0]).softmax(0)
    m = F.normalize(torch.stack([same, turned_away]).double(), dim=-1).numpy()
    assert volume.item() == pytest.approx(np.log(np.linalg.det(m @ m.T + 1e-6 * np.eye(2))), abs=1e-6)
    volume.sum().backward()
    assert logits.grad[..., 1:].abs().min() > 1e-3
