import json
import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from trs_explorer.attacks.fgsm import fgsm
from trs_explorer.attacks.pgd import pgd
from trs_explorer.data import Dataset
from trs_explorer.evaluation.probe import probe, probe_images
from trs_explorer.evaluation.transfer import transfer_matrix
from trs_explorer.models.ensemble import Ensemble


def gradient(model, image, label):
    copy = image.clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(model(copy), label), copy)[0].flatten().double()


def odds_gradient(model, image, label):
    """By the definition: the other classes one by one, in float64."""
    copy = image.double().requires_grad_()
    logits = model.double()(copy)[0]
    model.float()
    others = torch.cat([logits[: label.item()], logits[label.item() + 1 :]])
    return torch.autograd.grad(others.exp().sum().log() - logits[label.item()], copy)[0].flatten()


def test_every_number_is_what_a_loop_finds(problem):
    ensemble, x, y = problem
    found = probe(ensemble, x, y, eps=0.05, seed=4)
    ensemble.eval()
    assert (found["n"], found["eps"], found["attack"]) == (90, 0.05, "pgd-10")
    gradients = [[gradient(member, a, b) for a, b in zip(x.split(1), y.split(1), strict=True)] for member in ensemble.members]
    odds = [[odds_gradient(member, a, b) for a, b in zip(x.split(1), y.split(1), strict=True)] for member in ensemble.members]
    for i in range(3):
        sizes = torch.stack([g.norm() for g in gradients[i]])
        assert found["grad_norm"][i] == pytest.approx(sizes.max().item(), rel=1e-4)
        assert found["zero_gradients"][i] == pytest.approx((sizes < 1e-6).double().mean().item(), abs=1e-6)
        for j in range(3):
            cosines = [abs(F.cosine_similarity(a, b, dim=0).item()) for a, b in zip(gradients[i], gradients[j], strict=True)]
            assert found["cosine"][i][j] == pytest.approx(sum(cosines) / 90, abs=1e-3)

            directions = [F.cosine_similarity(a, b, dim=0).abs().item() for a, b in zip(odds[i], odds[j], strict=True)]
            assert found["log_odds_cosine"][i][j] == pytest.approx(sum(directions) / 90, abs=1e-5)
    matrix = transfer_matrix(ensemble, x, y, attack=partial(pgd, eps=0.05, steps=10, step_size=0.05 / 4), seed=4, batch_size=90)
    assert found["transfer_interval"] == list(matrix.pooled_interval())
    low, high = found["transfer_interval"]
    assert 0 < low < matrix.pooled()[0] / matrix.pooled()[1] < high < 1

    def right(model, images):
        return (model(images).argmax(-1) == y).sum().item()

    g = torch.Generator().manual_seed(4)
    assert found["member_clean"] == [right(member, x) for member in ensemble.members]
    assert found["clean"] == right(ensemble, x)
    assert found["fgsm"] == right(ensemble, fgsm(ensemble, x, y, eps=0.05))
    assert found["pgd"] == right(ensemble, pgd(ensemble, x, y, eps=0.05, steps=10, step_size=0.05 / 4, generator=g))
    assert found["pgd"] <= found["fgsm"] < found["clean"]
    assert [found["eligible"][i][i] for i in range(3)] == found["member_clean"]
    assert all(f <= e for rows in zip(found["fooled"], found["eligible"], strict=True) for f, e in zip(*rows, strict=True))


def test_leaves_the_training_as_it_was_and_repeats_itself(problem):
    ensemble, x, y = problem
    ensemble.members[0].eval()
    state = {name: value.clone() for name, value in ensemble.state_dict().items()}
    before, modes = torch.get_rng_state(), [m.training for m in ensemble.modules()]
    found = probe(ensemble, x, y, eps=0.1, seed=0)
    assert found == probe(ensemble, x, y, eps=0.1, seed=0)
    assert torch.equal(before, torch.get_rng_state())
    assert [m.training for m in ensemble.modules()] == modes
    assert all(p.grad is None for p in ensemble.parameters())
    assert all(torch.equal(value, state[name]) for name, value in ensemble.state_dict().items())
    json.dumps(found, allow_nan=False)


def test_sees_zero_gradients_and_identical_members(problem):
    ensemble, x, y = problem
    member = ensemble.members[0]
    dead = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(9, 3))
    torch.nn.init.zeros_(dead[1].weight)
    found = probe(Ensemble([member, member, dead]), x, y, eps=0.1, seed=0)
    assert found["zero_gradients"][2] == 1.0
    assert found["cosine"][0][1] == pytest.approx(1 - found["zero_gradients"][0], abs=0.05)
    assert found["cosine"][0][2] == 0.0
    assert found["log_odds_cosine"][0][1] == pytest.approx(1, abs=1e-5)
    assert math.isnan(found["log_odds_cosine"][0][2]), "no direction is no orthogonality"
    assert found["fooled"][0][1] == found["eligible"][0][1]


def test_survives_weights_of_nan(problem):
    """Training asks it every epoch, in the epoch after which the loss was lost too."""
    ensemble, x, y = problem
    with torch.no_grad():
        ensemble.members[1][1].weight.fill_(torch.nan)
    found = probe(ensemble, x, y, eps=0.1, seed=0)
    assert found["member_clean"][1] == found["clean"] == found["pgd"] == 0
    assert found["member_clean"][0] > 0
    assert found["eligible"][0][1] == 0
    assert math.isnan(found["log_odds_cosine"][0][1])


def test_confident_members_have_a_similarity(problem):
    """Logits x 1000: the cross-entropy's gradients vanish, the log-odds' keep the margin's direction."""
    ensemble, x, _ = problem
    with torch.no_grad():
        for member in ensemble.members:
            member[4].weight *= 1000
    y = ensemble.eval().members[0](x).argmax(-1)
    found = probe(Ensemble([ensemble.members[0], ensemble.members[0]]), x, y, eps=0.1, seed=0)
    assert found["log_odds_cosine"][0][1] == pytest.approx(1, abs=1e-5)
    assert found["cosine"][0][1] < 0.5
    assert min(found["zero_gradients"]) > 0.5


def test_a_probe_is_of_the_last_images(monkeypatch):
    monkeypatch.setattr("trs_explorer.evaluation.probe.IMAGES", 128)  # other tests probe fewer
    held_out = Dataset("x", torch.arange(200.0).view(200, 1, 1, 1) / 200, torch.arange(200) % 2, 2)
    x, y = probe_images(held_out)
    assert torch.equal(x, held_out.x[72:])
    assert torch.equal(y, held_out.y[72:])
