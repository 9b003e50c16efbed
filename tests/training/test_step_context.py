"""The arguments that a defence gets from the step: a defence that records them sees what they claim to be."""

import pytest
import torch

from trs_explorer import runs
from trs_explorer.config import resolve
from trs_explorer.data.augment import crop_and_flip
from trs_explorer.defences.adversarial import adversarial_images
from trs_explorer.training import steps
from trs_explorer.training.state import Progress, State, prepare

SETTINGS = {"method": "dverge", "limit": 48, "batch_size": 16, "model": "patch", "device": "cpu", "precision": "float32"}


@pytest.fixture
def recorded_training(tmp_path, monkeypatch):
    """recorded_training(settings): the state of a training, and the arguments of its defence at every step."""

    def start(**settings) -> tuple[State, list[dict]]:
        state, seen = prepare(runs.create(tmp_path / "run", resolve({**SETTINGS, **settings}))), []

        def defence(
            ensemble,
            x,
            y,
            *,
            progress,
            generator,
            epoch_generator,
            x_ce,
            other,
            member,
            weights,
            image_memory,
            rows,
            places,
            **options,
        ):
            epoch, step = (torch.randint(10**6, (), generator=one).item() for one in (epoch_generator, generator))
            given = {"x": x, "y": y, "x_ce": x_ce, "other": other, "member": member, "weights": weights}
            given |= {"image_memory": image_memory, "rows": rows, "places": places}
            seen.append({**given, "progress": progress, "epoch": epoch, "step": step})
            return {"total": ensemble(x).mean()}

        monkeypatch.setattr(steps, "load", lambda _: defence)
        state.weights = torch.arange(len(state.images)).float()
        state.image_memory = torch.arange(len(state.images))
        state.parts = 1
        return state, seen

    return start


def step_at(state: State, epoch: int, step: int) -> torch.Tensor:
    """Take that step of that epoch; returns the indices of its images, and of the second batch's."""
    state.progress = Progress(epoch, step, epoch * state.steps_per_epoch + step)
    orders = steps.epoch_orders(state)[:, step * 16 : (step + 1) * 16]
    steps.training_step(state, orders)
    return orders


def test_images_of_both_batches_and_weights_are_those_of_the_orders(recorded_training):
    state, seen = recorded_training()
    orders = step_at(state, 0, 1)
    [given] = seen
    assert orders.shape == (2, 16)
    assert torch.equal(given["x"], state.images.images(orders[0]))
    assert torch.equal(given["y"], state.images.y[orders[0]])
    assert torch.equal(given["other"][0], state.images.images(orders[1]))
    assert torch.equal(given["other"][1], state.images.y[orders[1]])
    assert torch.equal(given["weights"], orders[0].float())
    assert given["image_memory"] is state.image_memory
    assert torch.equal(given["image_memory"][given["rows"]], orders[0])
    assert given["x_ce"] is given["x"]
    assert given["progress"] == pytest.approx(1 / state.steps)
    assert given["member"] is None
    assert given["places"] == range(16)


def test_numbers_of_the_step_change_with_it_and_those_of_the_epoch_with_the_epoch(recorded_training):
    state, seen = recorded_training()
    for epoch, step in ((0, 0), (0, 1), (1, 0), (0, 0)):
        step_at(state, epoch, step)
    assert [given["epoch"] == seen[0]["epoch"] for given in seen] == [True, True, False, True]
    assert [given["step"] == seen[0]["step"] for given in seen] == [True, False, False, True]


def test_adversarial_images_are_given_if_the_config_says_so(recorded_training):
    state, seen = recorded_training(adversarial=True, adv_eps=0.1, adv_steps=2)
    before = [weight.detach().clone() for weight in state.ensemble.parameters()]
    step_at(state, 0, 1)
    [given] = seen
    with torch.no_grad():
        for weight, old in zip(state.ensemble.parameters(), before, strict=True):
            weight.copy_(old)
    draws = steps.generator(0, steps.ADVERSARIAL, 1, 0)
    expected = adversarial_images(state.ensemble, given["x"], given["y"], eps=0.1, steps=2, generator=draws)
    assert torch.equal(given["x_ce"], expected)
    assert 0.05 < (given["x_ce"] - given["x"]).abs().max() <= 0.1 + 1e-6


def test_both_batches_are_augmented_each_by_its_own_draws(recorded_training):
    state, seen = recorded_training(augment=True)
    orders = step_at(state, 0, 0)
    [given] = seen
    plain = [state.images.images(numbers) for numbers in orders]
    draws = [steps.generator(0, purpose, 0, 0) for purpose in (steps.AUGMENT, steps.OTHER_AUGMENT)]
    assert torch.equal(given["x"], crop_and_flip(plain[0], draws[0]))
    assert torch.equal(given["other"][0], crop_and_flip(plain[1], draws[1]))
    assert not torch.equal(given["other"][0], crop_and_flip(plain[1], steps.generator(0, steps.AUGMENT, 0, 0)))
