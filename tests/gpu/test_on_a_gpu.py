"""What needs a card: the same numbers as on the CPU, in float64."""

import importlib

import pytest
import torch

from trs_explorer import runs
from trs_explorer.attack_catalogue import ATTACKS
from trs_explorer.attacks.options import keywords
from trs_explorer.catalogue import METHODS, load
from trs_explorer.config import resolve
from trs_explorer.models.factory import build
from trs_explorer.training import steps
from trs_explorer.training.state import prepare

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]
DRAWS = ("gal", "lotos", "fasten", "igat", "soe")  # a card's random numbers are others


@pytest.mark.parametrize("method", [name for name in METHODS if name not in DRAWS])
def test_a_step_gives_the_terms_and_gradients_of_the_cpu(method, tmp_path, monkeypatch):
    monkeypatch.setattr("trs_explorer.training.state.check_members", lambda config, ensemble: None)
    results = []
    for device in ("cpu", "cuda"):
        settings = {"method": method, "model": "patch", "limit": 16, "batch_size": 8, "epochs": 3, "precision": "float32"}
        state = prepare(runs.create(tmp_path / device, resolve({**settings, "device": device})))
        state.ensemble.double()
        monkeypatch.setattr(type(state.images), "images", lambda self, rows: self.x[rows].double() / 255)
        state.parts, state.weights = 1, torch.ones(16, device=state.device)
        terms = steps.training_step(state, torch.arange(8, device=state.device).repeat(2, 1))
        gradients = [weight.grad.cpu() for weight in state.ensemble.parameters() if weight.grad is not None]
        results.append(({name: value.cpu() for name, value in terms.items()}, gradients))
    (terms, gradients), (on_card, gradients_on_card) = results
    for name, value in terms.items():
        torch.testing.assert_close(on_card[name], value, rtol=1e-7, atol=1e-9)
    for one, other in zip(gradients, gradients_on_card, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_finds_the_images_that_it_finds_on_the_cpu(name):
    importlib.import_module("trs_explorer.attacks.square")._bump.cache_clear()
    attack, found = load(ATTACKS[name].function), []
    for device in ("cpu", "cuda"):
        ensemble = build("patch", "mnist", 3, seed=0).double().eval().to(device)
        x = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(device)
        few = {"eps": 0.1, "steps": 5, "queries": 20, "searches": 2, "effort": 0.02, "samples": 2}
        given = {**few, "generator": torch.Generator().manual_seed(0)}
        y = ensemble(x).argmax(-1)
        found.append(attack(ensemble, x, y, **{key: value for key, value in given.items() if key in keywords(attack)}).cpu())
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-6)


def test_memory_is_not_more_than_estimated(tmp_path):
    from trs_explorer.training.memory_estimate import estimate

    config = resolve({"method": "trs", "model": "lenet", "limit": 128, "device": "cuda", "precision": "float32"})
    state = prepare(runs.create(tmp_path / "run", config))
    torch.cuda.reset_peak_memory_stats()
    steps.training_step(state, torch.arange(128, device=state.device)[None])
    assert torch.cuda.max_memory_allocated() <= estimate(config, 128).total
