"""Strong: as strong as each of its parts, and the same whether it is one attack or measured part by part."""

import json

import pytest
import torch
from torch import nn

from trs_explorer.attacks.noise import ImageSeeds, draw_seeds, seeded
from trs_explorer.attacks.strong import parts_for, strong, strong_parts
from trs_explorer.evaluation.accuracy import correct, join_rates, parse_rate
from trs_explorer.evaluation.in_parts import measure_in_parts
from trs_explorer.models.ensemble import Ensemble

EPS, EFFORT = 0.06, 0.05


@pytest.fixture(scope="module")
def problem():
    """Three bent members in float64, where batches of another size give the same; images, some wrong from the start."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        members = [nn.Sequential(nn.Flatten(), nn.Linear(16, 24), nn.Tanh(), nn.Linear(24, 4)).double() for _ in range(3)]
        with torch.no_grad():
            for weight in (weight for member in members for weight in member.parameters()):
                weight *= 4
        x = torch.rand(40, 1, 4, 4, dtype=torch.float64)
    ensemble = Ensemble(members).eval()
    with torch.no_grad():
        y = ensemble(x).argmax(-1)
    y[::10] = (y[::10] + 1) % 4
    return ensemble, x, y


def attack(**options):
    return "strong", strong, {"eps": EPS, "effort": EFFORT, **options}


def steps(problem):
    ensemble, x, y = problem
    return measure_in_parts(ensemble, x, y, attack(), batch_size=9)


def last(ensemble, x, y, **options):
    *_, done = measure_in_parts(ensemble, x, y, attack(), **options)
    return done


def test_an_image_that_one_part_fools_is_fooled(problem) -> None:
    ensemble, x, y = problem
    x_adv = strong(ensemble, x, y, eps=EPS, effort=EFFORT, generator=seeded(0))
    fooled = ~correct(ensemble, x_adv, y)
    parts = parts_for(ensemble, x, effort=EFFORT)
    seeds = draw_seeds(len(x), len(parts), seeded(0))
    by_part = []
    for number, part in enumerate(parts):
        theirs = part.attack(ensemble, x, y, eps=EPS, generator=ImageSeeds([seed[number] for seed in seeds]), **part.options)
        by_part.append(~correct(ensemble, theirs, y))
    assert torch.equal(fooled, torch.stack(by_part).any(0))
    assert 8 < int(fooled.sum()) < 36
    assert not all(torch.equal(one, fooled) for one in by_part)


def test_measured_part_by_part_it_leaves_the_same_images(problem) -> None:
    ensemble, x, y = problem
    x_adv = strong(ensemble, x, y, eps=EPS, effort=EFFORT, generator=seeded(3))
    images = x.clone()

    def keep(rows, adversarial):
        images[rows] = adversarial

    for batch_size in (256, 7):
        done = last(ensemble, x, y, batch_size=batch_size, seed=3, keep=keep)
        assert done.correct == correct(ensemble, x_adv, y).tolist()
        assert correct(ensemble, images, y).tolist() == done.correct
    attacked = [part["attacked"] for part in done.results]
    assert attacked[0] == int(correct(ensemble, x, y).sum())
    assert all(after == part["attacked"] - part["fooled"] for part, after in zip(done.results, attacked[1:], strict=False))
    rate = done.rate("strong", eps=EPS, norm="linf")
    assert rate.correct == attacked[-1] - done.results[-1]["fooled"] == sum(rate.outcomes)
    assert 0 < rate.perturbation <= EPS + 1e-6
    assert done.done == done.total


@pytest.mark.slow
def test_interrupted_after_any_batch_it_ends_the_same(problem) -> None:
    ensemble, x, y = problem
    whole = last(ensemble, x, y, batch_size=9)
    kept, dumped = zip(*((so_far.to_json(), json.dumps(so_far.to_json())) for so_far in steps(problem)), strict=True)
    assert list(map(json.dumps, kept)) == list(dumped)  # what is kept for a continuation stays as it was
    states = [json.dumps(so_far.to_json()) for so_far in measure_in_parts(ensemble, x, y, attack(), batch_size=9)]
    assert len(states) > 10
    for state in states[::5]:
        resumed = last(ensemble, x, y, batch_size=9, stored=json.loads(state))
        assert (resumed.correct, resumed.results) == (whole.correct, whole.results)


@pytest.mark.parametrize(
    "damage",
    [
        {"correct": [True]},
        {"correct": [1] * 40},
        {"place": -1},
        {"place": 41},
        {"place": "1"},
        {"parts": [{"attack": "other", "attacked": 1, "fooled": 0}]},
        {"parts": [{"attack": "mora-ce 0.5", "attacked": -1, "fooled": 0}]},
        {"parts": 3},
        {"perturbation": None},
    ],
)
def test_a_damaged_continuation_begins_anew(problem, damage) -> None:
    ensemble, x, y = problem
    stored = {
        "correct": [False] * 40,
        "parts": [{"attack": "mora-ce 0.5", "attacked": 36, "fooled": 36}],
        "place": 40,
        "perturbation": 0.1,
    }
    first = next(measure_in_parts(ensemble, x, y, attack(), stored={**stored, **damage}))
    assert first.results[0]["attacked"] == 36
    assert sum(first.correct) > 0
    continued = last(ensemble, x, y, stored=stored)
    assert sum(continued.correct) == 0


def test_images_keep_their_noise_in_a_part_of_a_larger_set(problem) -> None:
    ensemble, x, y = problem
    whole = last(ensemble, x, y, seed=1)
    parts = [last(ensemble, x[part], y[part], seed=1, first=part.start) for part in (slice(0, 13), slice(13, 40))]
    assert parts[0].correct + parts[1].correct == whole.correct
    joined = join_rates([part.rate("strong", eps=EPS, norm="linf") for part in parts])
    assert joined.parts == whole.results
    stored = joined.to_json()
    assert parse_rate(stored, joined, 40) == joined
    assert parse_rate({**stored, "parts": [{"attack": 1}]}, joined, 40) is None


def test_two_classes_and_a_single_model_get_the_parts_that_exist_there() -> None:
    labels = [part.label for part in strong_parts(10, 3)]
    assert labels[:3] == ["mora-ce 0.5", "mora-ce 0.2", "mora-margin 0.5"]
    assert {part.label for part in strong_parts(2, 3)} == {*labels} - {"apgd-t-dlr"}
    assert {part.label for part in strong_parts(10, 0)} == {*labels} - {"pgd-members"}
    assert {part.options["targets"] for part in strong_parts(4, 3) if "targets" in part.options} == {3}


def test_it_works_on_two_classes(problem) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    x = problem[1][:10]
    y = model(x).argmax(-1)
    assert not correct(model, strong(model, x, y, eps=1.0, effort=EFFORT), y).any() or len(y.unique()) == 1
    with pytest.raises(ValueError, match="effort must be finite and > 0"):
        strong(model, x, y, eps=0.1, effort=0.0)
