"""What of the images reaches a method in a step."""

import pytest
import torch

from trs_explorer import runs
from trs_explorer.config import resolve
from trs_explorer.data.augment import crop_and_flip
from trs_explorer.training import steps
from trs_explorer.training.state import Progress, prepare


@pytest.mark.parametrize("augment", [True, False])
def test_a_method_sees_augmented_images_that_the_seed_and_the_step_decide(tmp_path, monkeypatch, augment):
    settings = {"method": "standard", "limit": 32, "batch_size": 16, "augment": augment, "device": "cpu"}
    state = prepare(runs.create(tmp_path / "run", resolve(settings)))
    seen = []

    def method(ensemble, x, y, *, x_ce):
        seen.append(x)
        return {"total": ensemble(x).mean()}

    monkeypatch.setattr(steps, "load", lambda path: method)
    indices = torch.arange(3, 19)
    plain = state.images.images(indices)
    for step in (0, 1, 0):
        state.at = Progress(0, step, step)
        steps.training_step(state, indices[None])
    assert torch.equal(seen[0], seen[2]), "a resumed step sees what it saw"
    assert torch.equal(seen[0], seen[1]) == (not augment)
    expected = crop_and_flip(plain, steps.generator(0, steps.AUGMENT, 0, 0)) if augment else plain
    assert torch.equal(seen[0], expected)
    assert torch.equal(state.images.images(indices), plain)
