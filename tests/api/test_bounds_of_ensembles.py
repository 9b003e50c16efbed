"""`trs.bounds` and its figure: any ensemble, any form of images, errors in words."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch

import trs_explorer as trs
from trs_explorer.evaluation.bounds.measured import measure_bounds
from trs_explorer.evaluation.bounds.of_pairs import pair_quantities


def test_it_is_what_the_room_below_measures(problem):
    ensemble, x, y = problem
    bounds = trs.bounds([*ensemble.members], x.numpy(), y.tolist(), eps=[0.2, 0.05], steps=3, samples=1, seed=4)
    attack = partial(trs.attacks.pgd, norm="l2", steps=3)
    *_, measured = measure_bounds(ensemble, x, y, attack=attack, eps=[0.05, 0.2], samples=1, seed=4)
    assert bounds.eps == (0.05, 0.2)
    for pair in bounds.pairs:
        k = bounds.eps.index(pair.quantities.eps)
        assert pair.quantities == pair_quantities(measured, k, pair.quantities.eps, pair.surrogate, pair.target)
    assert str(bounds).splitlines()[1].split()[:4] == ["0.05", "F1", "→", "F2"]
    assert any("Theorem 1" in sentence for sentence in bounds.sentences())


def test_a_figure_of_it_or_of_what_the_command_wrote(problem):
    bounds = trs.bounds(*problem, eps=0.1, steps=2, samples=0)
    drawn = trs.figures.bounds(bounds)
    stored = json.loads(json.dumps(bounds.to_json()))
    assert trs.figures.bounds(stored) == trs.figures.bounds([stored]) == drawn
    assert trs.figures.bounds(bounds, pair=(0, 1)) != drawn
    with pytest.raises(trs.UsageError, match=r"pair must be two different members, 0 to \d, got \(1, 1\)"):
        trs.figures.bounds(bounds, pair=(1, 1))
    with pytest.raises(trs.UsageError, match="a pair is of one result"):
        trs.figures.bounds([stored, stored], pair=(0, 1))


def test_an_attack_of_one_s_own_must_stay_in_the_ball(problem):
    def left(model, x, y, *, eps):
        return torch.cat([(x[..., :1] - eps / x[0, ..., :1].numel() ** 0.5).clamp(0, 1), x[..., 1:]], -1)

    def far(model, x, y, *, eps):
        return (x - eps).clamp(0, 1)

    assert trs.bounds(*problem, eps=0.1, attack=left, samples=0).n == len(problem[1])
    with pytest.raises(ValueError, match=r"within eps = 0\.1 of x in L2"):
        trs.bounds(*problem, eps=0.1, attack=far, samples=0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"eps": []}, "finite L2 radii above 0"),
        ({"eps": [0.1, 0.0]}, "finite L2 radii above 0"),
        ({"eps": 0.1, "attack": "cw"}, "eps"),
        ({"eps": 0.1, "samples": -1}, "samples must be >= 0"),
        ({"eps": 0.1, "stepz": 3}, "did you mean|Did you mean|steps"),
    ],
)
def test_what_cannot_be_is_said(problem, settings, words):
    with pytest.raises(ValueError, match=words):
        trs.bounds(*problem, **settings)


def test_one_member_or_no_image_has_no_bounds(problem):
    ensemble, x, y = problem
    with pytest.raises(trs.UsageError, match="the ensemble has one"):
        trs.bounds([ensemble.members[0]], x, y, eps=0.1)


@pytest.mark.slow
def test_of_a_run_that_ships(tmp_path: Path):
    ensemble, (x, y) = trs.load("bars-trs"), trs.load_data("bars-trs", limit=40)
    bounds = trs.bounds(ensemble, x, y, eps=[0.005, 0.3])
    [first, _, last, _] = bounds.pairs
    assert first.upper < 1
    assert last.upper is None
    assert first.quantities.transferred == 0
