"""LOTOS against singular vectors by torch.linalg.svd and an explicit loop over pairs; clipping against its closed form."""

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from defences_plain import turned
from torch import nn

from trs_explorer import runs
from trs_explorer.config import resolve
from trs_explorer.defences.lotos import clip_norms, lotos, overlap
from trs_explorer.models import build
from trs_explorer.models.affine import affine_layers, lengths, linear_map
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.training.state import prepare
from trs_explorer.training.steps import AFTER_STEP, epoch_orders, generator, training_step

OPTIONS = {"lambda_lotos": 0.7, "mal": 0.4, "spectral_clip": 1.0, "top_k": 1, "power_steps": 100}


def noise() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def plain_overlap(weights: list[torch.Tensor], allowed: float, top_k: int) -> float:
    """Over ordered pairs: how much one matrix stretches the other's top right singular vectors beyond `allowed`."""
    total, share = 0.0, [1 - 0.01 * k for k in range(top_k)]
    pairs = list(itertools.permutations(weights, 2))
    for one, other in pairs:
        vectors = torch.linalg.svd(other.detach()).Vh[:top_k]
        for weight, vector in zip(share, vectors, strict=True):
            total += weight / sum(share) * max(0.0, (one @ vector).norm().item() - allowed) / len(pairs)
    return total


@pytest.mark.parametrize("top_k", [1, 2])
def test_terms_are_the_papers_formula(ensemble, batch, top_k):
    x, y = batch
    by_layer = [plain_overlap([one[at].weight for one in ensemble.members], 0.4, top_k) for at in (1, 3)]
    ce = sum(F.cross_entropy(one(x), y).item() for one in ensemble.members) / 4
    options = {**OPTIONS, "top_k": top_k, "power_steps": 300}
    terms = lotos(ensemble, x, y, **options, generator=noise(), x_ce=x)
    assert min(by_layer) > 0
    assert terms["overlap"].item() == pytest.approx(0.7 * sum(by_layer) / 2, rel=1e-6)
    assert terms["total"].item() == pytest.approx(ce + 0.7 * sum(by_layer) / 2, rel=1e-6)
    moved = lotos(turned(ensemble), x, y, **options, generator=noise(), x_ce=x + 0.1)
    assert moved["overlap"].item() == pytest.approx(terms["overlap"].item(), rel=1e-9)
    assert moved["ce"].item() == pytest.approx(sum(F.cross_entropy(m(x + 0.1), y).item() for m in ensemble.members) / 4)


def test_mal_is_a_share_of_the_clip(ensemble, batch):
    one, other = (
        lotos(ensemble, *batch, **{**OPTIONS, "mal": mal, "spectral_clip": clip}, generator=noise(), x_ce=batch[0])["overlap"]
        for mal, clip in ((0.4, 1.0), (0.2, 2.0))
    )
    assert one.item() == other.item() > 0


def test_the_gradient_takes_the_vectors_as_given(ensemble, batch):
    """Of the mean of |A_i v_j| over ordered pairs it is the mean of A_i v_j v_j^T / |A_i v_j|."""
    (layer, _), members = affine_layers(ensemble, batch[0]), 4
    overlap(layer, 0.0, top_k=1, steps=100, generator=noise()).backward()
    weights = [one.weight.detach() for one in layer.layers]
    tops = [torch.linalg.svd(weight).Vh[0] for weight in weights]
    wanted = sum(torch.outer(weights[0] @ v, v) / (weights[0] @ v).norm() for v in tops[1:]) / (members * (members - 1))
    torch.testing.assert_close(layer.layers[0].weight.grad, wanted, rtol=1e-6, atol=1e-9)


def test_convolutions_that_stretch_different_channels_do_not_overlap():
    """Two 1 x 1 convolutions: F1 triples channel 1, F2 channel 2; what the other passes on has length .5."""
    members = [nn.Sequential(nn.Conv2d(2, 2, 1, bias=False), nn.Flatten()).double() for _ in range(2)]
    for member, scales in zip(members, ([3.0, 0.5], [0.5, 3.0]), strict=True):
        member[0].weight.data = torch.diag(torch.tensor(scales, dtype=torch.float64))[..., None, None]
    (layer,) = affine_layers(Ensemble(members), torch.rand(1, 2, 3, 3, dtype=torch.float64))
    found = [overlap(layer, allowed, top_k=1, steps=50, generator=noise()).item() for allowed in (0.0, 0.3, 0.6)]
    assert found == pytest.approx([0.5, 0.2, 0.0], abs=1e-9)
    members[1][0].weight.data = members[0][0].weight.data.clone()
    assert overlap(layer, 0.6, top_k=1, steps=50, generator=noise()).item() == pytest.approx(2.4)


def test_clipping_a_linear_layer_sets_its_largest_singular_value_and_no_other(ensemble, batch):
    before = {name: value.clone() for name, value in ensemble.state_dict().items()}
    spectra = [torch.linalg.svdvals(one[1].weight.detach()) for one in ensemble.members]
    clip = min(s[0].item() for s in spectra) - 0.01
    assert clip > max(s[1].item() for s in spectra)
    clip_norms(ensemble, batch[0], spectral_clip=clip, power_steps=100, generator=noise())
    for one, spectrum in zip(ensemble.members, spectra, strict=True):
        wanted = torch.cat([torch.tensor([clip], dtype=torch.float64), spectrum[1:]])
        torch.testing.assert_close(torch.linalg.svdvals(one[1].weight.detach()), wanted, rtol=1e-6, atol=1e-9)
    small = [f"members.{k}.fc2.weight" for k in range(4) if torch.linalg.matrix_norm(before[f"members.{k}.fc2.weight"], 2) < clip]
    kept = {name for name, value in ensemble.state_dict().items() if torch.equal(value, before[name])}
    assert kept == {*small, *(name for name in before if name.endswith("bias"))}


def test_clipping_a_convolution_is_the_smallest_change_that_shortens_its_top_vector():
    torch.manual_seed(0)
    members = [nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten()).double() for _ in range(2)]
    ensemble, x = Ensemble(members), torch.rand(1, 3, 6, 6, dtype=torch.float64)
    (same,) = affine_layers(ensemble, x)
    vectors = same.top_vectors(top=1, steps=100, generator=noise())
    before = [layer.weight.detach().clone() for layer in same.layers]
    images = [linear_map(layer, vector).detach() for layer, vector in zip(same.layers, vectors, strict=True)]
    clip_norms(ensemble, x, spectral_clip=0.8, power_steps=100, generator=noise())
    for layer, vector, old, image in zip(same.layers, vectors, before, images, strict=True):
        unit = image / lengths(image)
        assert (unit * linear_map(layer, vector)).sum().item() == pytest.approx(0.8)
        slope = nn.grad.conv2d_weight(vector, old.shape, unit, padding=1)  # of <u, A v> in the weights
        change = layer.weight.detach() - old
        cosine = F.cosine_similarity(change.flatten(), slope.flatten(), dim=0)
        assert cosine.item() == pytest.approx(-1)  # a longer change could not do it with less


@pytest.mark.slow
def test_repeated_clipping_brings_a_convolution_to_the_clip():
    torch.manual_seed(0)
    members = [nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten()).double() for _ in range(2)]
    ensemble, x = Ensemble(members), torch.rand(1, 3, 6, 6, dtype=torch.float64)
    for step in range(60):
        clip_norms(ensemble, x, spectral_clip=0.8, power_steps=5, generator=torch.Generator().manual_seed(step))
    (same,) = affine_layers(ensemble, x)
    tops = zip(same.layers, same.top_vectors(top=1, steps=800, generator=noise()), strict=True)
    assert all(0.75 < lengths(linear_map(layer, top))[0].item() < 0.85 for layer, top in tops)


def test_layers_below_the_clip_keep_their_bits(ensemble, batch):
    before = [value.clone() for value in ensemble.state_dict().values()]
    clip_norms(ensemble, batch[0], spectral_clip=50.0, power_steps=3, generator=noise())
    assert all(torch.equal(a, b) for a, b in zip(before, ensemble.state_dict().values(), strict=True))


def test_training_clips_after_every_step(tmp_path):
    settings = {"method": "lotos", "data": "bars", "batch_size": 100, "lr": 1e-12, "spectral_clip": 0.6, "power_steps": 3}
    state = prepare(runs.create(tmp_path / "run", resolve(settings)))
    wanted = copy.deepcopy(state.ensemble)
    for step in range(2):
        noise = generator(0, AFTER_STEP, step)
        clip_norms(wanted, state.probe_x, spectral_clip=0.6, power_steps=3, generator=noise)
        training_step(state, epoch_orders(state)[:, :100])
    for one, other in zip(state.ensemble.parameters(), wanted.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    assert (
        torch.linalg.matrix_norm(wanted.members[0].fc2.weight, 2)
        < 1.1
        < torch.linalg.matrix_norm(build("mlp", "bars", 2, seed=0).members[0].fc2.weight, 2)
    )


def test_it_takes_every_model_of_ours():
    for model in ("patch", "lenet"):  # every method on every model: tests/training/test_methods.py
        ensemble = build(model, "mnist", 2, seed=0)
        x, y = torch.rand(2, 1, 28, 28), torch.tensor([3, 7])
        terms = lotos(ensemble, x, y, **{**OPTIONS, "power_steps": 1}, generator=noise(), x_ce=x)
        assert terms["total"].isfinite()
