"""When memory is not enough, a batch is computed in smaller parts, and nothing else changes."""

import pytest
import torch

from trs_explorer import runs
from trs_explorer.config import resolve
from trs_explorer.training import loop, smaller_parts, steps
from trs_explorer.training.parallel import terms_and_gradients
from trs_explorer.training.smaller_parts import SmallerParts, TooLarge
from trs_explorer.training.state import TrainingError, prepare

X = torch.rand(10, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def weights():
    matrix = torch.linspace(-1, 1, 12, dtype=torch.float64).view(4, 3)
    return [matrix.requires_grad_(), torch.ones(3, dtype=torch.float64).requires_grad_()]


def loss_within(most, parameters, seen):
    """The mean over images of something, for which memory is enough up to that many images."""

    def loss(part, places):
        seen.append([*places])
        if len(places) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        answers = (X[places.start : places.stop] @ parameters[0] + parameters[1]).tanh()
        return {"total": answers.square().sum(-1).mean(), "grad_norm": answers.detach().abs().max()}

    return loss


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("most", [9, 3, 1])
def test_the_same_terms_and_gradients_with_little_memory(most, parts):
    parameters, expected_seen, seen = weights(), [], []
    expected = terms_and_gradients(loss_within(100, parameters, expected_seen), 10, parameters, 1)
    smaller, undone = SmallerParts(divisible=True), []

    def run(loss, part, places, weights):
        return smaller.run(loss, part, places, weights, lambda: undone.append(part))

    terms, gradients = terms_and_gradients(loss_within(most, parameters, seen), 10, parameters, parts, run=run)
    for name, value in expected[0].items():
        assert torch.allclose(terms[name], value, rtol=0, atol=1e-10)
    for ours, theirs in zip(gradients, expected[1], strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-10)
    done = {place for places in seen if len(places) <= most for place in places}
    assert len(undone) == len(smaller.notes) == sum(len(places) > most for places in seen)
    assert done == set(range(10))


def test_the_next_step_begins_with_the_parts_that_fit():
    parameters, seen, smaller = weights(), [], SmallerParts(divisible=True)
    for _ in range(2):
        smaller.run(loss_within(3, parameters, seen), 0, range(10), parameters, lambda: None)
    assert [len(places) for places in seen] == [10, 5, 2, 3, 2, 3, 2, 3, 2, 3]
    assert smaller.take_notes() == [
        "memory is not enough for 10 images at once: from here on 5 at a time",
        "memory is not enough for 10 images at once: from here on 3 at a time",
    ]
    assert smaller.take_notes() == []


@pytest.mark.parametrize(("divisible", "tried"), [(True, 1), (False, 10)])
def test_too_little_memory_for_one_image_or_for_what_cannot_be_divided(divisible, tried):
    seen = []
    with pytest.raises(TooLarge, match=f"not enough for {tried} image"):
        SmallerParts(divisible=divisible).run(loss_within(0, weights(), seen), 0, range(10), weights(), lambda: None)
    assert min(map(len, seen)) == tried


def test_other_errors_are_not_answered():
    def fails(part, places):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        SmallerParts(divisible=True).run(fails, 0, torch.arange(4), weights(), lambda: None)


SETTINGS = {"model": "patch", "members": 2, "limit": 32, "batch_size": 16, "epochs": 1, "device": "cpu", "precision": "float32",
            "log_every": 1}  # fmt: skip


def with_memory_for(monkeypatch, most):
    """Let every loss of a step run out of memory beyond that many images, after it has done all of its work."""
    load = steps.load

    def limited(function):
        defence = load(function)

        def run(ensemble, x, y, **context):
            terms = defence(ensemble, x, y, **context)
            if len(x) > most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return terms

        run.__signature__ = steps.inspect.signature(defence)
        return run

    monkeypatch.setattr(steps, "load", limited)


def trained(folder, **settings):
    run = runs.create(folder, resolve({**SETTINGS, **settings}))
    events = list(loop.train(run))
    state = prepare(run)
    loop.restore(state)
    return events, state


@pytest.mark.parametrize("method", ["trs", "gal"])  # images that move, and images with noise
def test_a_training_goes_on_with_smaller_parts_and_says_so(tmp_path, monkeypatch, method):
    settings = {"method": method}
    _, expected = trained(tmp_path / "enough", **settings)
    with_memory_for(monkeypatch, 5)
    events, state = trained(tmp_path / "little", **settings)
    for name, value in state.ensemble.state_dict().items():
        assert torch.allclose(value, expected.ensemble.state_dict()[name], atol=1e-4), name
    notes = [event["text"] for event in events if event["kind"] == "note" and "memory" in event["text"]]
    assert [note.rpartition("from here on ")[2] for note in notes] == ["8 at a time", "4 at a time"]


def test_a_method_that_needs_the_whole_batch_ends_with_words(tmp_path, monkeypatch):
    with_memory_for(monkeypatch, 5)
    with pytest.raises(TrainingError, match=r"not enough for 16 images at once: ckae or batch norm needs the whole batch"):
        trained(tmp_path / "run", method="ckae")


def test_image_memory_is_put_back_before_the_next_attempt(tmp_path, monkeypatch):
    """fasten has already changed it when memory runs out: without that, it would mix its new perturbations with themselves."""
    run = runs.create(tmp_path / "run", resolve({**SETTINGS, "method": "fasten"}))
    state, seen = prepare(run), []
    state.parts = 1
    first = smaller_parts._in_turn

    def seeing(*args):
        seen.append(state.image_memory.clone())
        return first(*args)

    monkeypatch.setattr(smaller_parts, "_in_turn", seeing)
    with_memory_for(monkeypatch, 8)
    state.image_memory.random_(1, 255, generator=torch.Generator().manual_seed(0))
    before = state.image_memory.clone()
    steps.training_step(state, torch.arange(16)[None])
    assert len(seen) == 2
    assert all(torch.equal(one, before) for one in seen)
    assert not torch.equal(state.image_memory, before)
