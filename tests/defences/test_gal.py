"""GAL against its formula, pair by pair."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from defences_plain import plain_gradients, turned

from trs_explorer.defences.gal import coherence, gal
from trs_explorer.models import build


def run(ensemble, x, y, *, noise=0.0, noise_share=0.0, x_ce=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x_ce = x if x_ce is None else x_ce
    return gal(ensemble, x, y, lambda_gal=0.5, noise=noise, noise_share=noise_share, generator=generator, x_ce=x_ce)


def test_terms_are_the_papers_formula(ensemble, batch):
    x, y = batch
    gradients, total = plain_gradients(ensemble, x, y), 0.0
    for i in range(len(x)):
        cosines = [F.cosine_similarity(a[i], b[i], dim=0).item() for a, b in itertools.combinations(gradients, 2)]
        total += math.log(sum(math.exp(cosine) for cosine in cosines)) / len(x)
    terms = run(ensemble, x, y)
    ce = sum(F.cross_entropy(one(x), y).item() for one in ensemble.members) / len(ensemble)
    assert terms["alignment"].item() == pytest.approx(0.5 * total, abs=1e-9)
    assert terms["ce"].item() == pytest.approx(ce, abs=1e-9)
    assert terms["total"].item() == pytest.approx(ce + 0.5 * total, abs=1e-9)
    assert terms["cosine"][0, 1].item() == pytest.approx(
        F.cosine_similarity(gradients[0], gradients[1]).abs().mean().item(), abs=1e-9
    )
    assert run(turned(ensemble), x, y)["total"].item() == pytest.approx(ce + 0.5 * total, abs=1e-9)
    moved = run(ensemble, x, y, x_ce=x + 0.1)
    assert moved["alignment"].item() == pytest.approx(0.5 * total, abs=1e-9)
    assert moved["ce"].item() == pytest.approx(sum(F.cross_entropy(m(x + 0.1), y).item() for m in ensemble.members) / 4, abs=1e-9)


def test_the_whole_can_be_differentiated(ensemble, batch):
    weights = list(ensemble.parameters())
    wanted = torch.autograd.grad(run(ensemble, *batch)["total"], weights[0])[0][0, 0].item()
    found = []
    for step in (1e-5, -1e-5):
        with torch.no_grad():
            weights[0][0, 0] += step
        found.append(run(ensemble, *batch)["total"].item())
        with torch.no_grad():
            weights[0][0, 0] -= step
    assert wanted == pytest.approx((found[0] - found[1]) / 2e-5, rel=1e-5)


def test_noise_reaches_that_share_of_the_images_and_keeps_them_in_range(ensemble):
    seen = []
    ensemble.members[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    x = torch.full((4000, 1, 2, 2), 0.5, dtype=torch.float64)
    run(ensemble, x, torch.zeros(4000, dtype=torch.long), noise=0.1, noise_share=0.3)
    shift = seen[0] - x
    moved = shift.flatten(1).abs().amax(1) > 0
    assert moved.double().mean().item() == pytest.approx(0.3, abs=0.03)
    assert shift[moved].std().item() == pytest.approx(0.1, abs=0.004)
    run(ensemble, torch.zeros_like(x), torch.zeros(4000, dtype=torch.long), noise=0.5, noise_share=1.0)
    assert 0 <= seen[-1].min() < seen[-1].max() <= 1


def test_coherence_of_known_angles():
    cosine = torch.tensor([[1.0, 0.5, -1.0], [0.5, 1.0, 0.0], [-1.0, 0.0, 1.0]])[..., None]
    assert coherence(cosine).item() == pytest.approx(math.log(math.exp(0.5) + math.exp(-1.0) + 1), abs=1e-6)


def test_its_members_keep_a_tenth_of_what_is_below_zero():
    layers = [layer for member in build("patch", "mnist", 2, seed=0, method="gal").members for layer in member]
    bends = [layer(torch.tensor([-2.0, 3.0])).tolist() for layer in layers if "ReLU" in type(layer).__name__]
    assert len(bends) == 6
    assert all(bend == pytest.approx([-0.2, 3.0]) for bend in bends)
