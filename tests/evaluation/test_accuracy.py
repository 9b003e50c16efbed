import json
from functools import partial

import jaxtyping
import pytest
import torch
from torch import nn

from trs_explorer.attacks.fgsm import fgsm
from trs_explorer.attacks.pgd import pgd
from trs_explorer.evaluation.accuracy import empty_rates, evaluate, join_rates, measure, parse_rate
from trs_explorer.evaluation.intervals import wilson
from trs_explorer.evaluation.transfer import transfer_matrix
from trs_explorer.measure.sharding import ProcessGroup
from trs_explorer.models.ensemble import Ensemble


class Threshold(nn.Module):
    """One pixel; class 1 above .5. Its gradient points across the threshold."""

    def forward(self, x):
        pixel = x.flatten(1)[:, 0]
        return torch.stack([0.5 - pixel, pixel - 0.5], -1) * 4


def line(values):
    return torch.tensor(values).view(-1, 1, 1, 1)


def test_counts_over_all_images_in_order():
    x, y = line([0.1, 0.45, 0.55, 0.9, 0.2]), torch.tensor([0, 0, 1, 1, 1])  # the last is wrong without an attack
    clean, small, large = evaluate(
        Threshold(), x, y, attacks=[("fgsm", fgsm, {"eps": 0.1}), ("pgd-30", pgd, {"eps": 0.45, "steps": 30})], batch_size=2
    )
    assert (clean.name, clean.eps, clean.correct, clean.n) == ("clean", 0.0, 4, 5)
    assert clean.outcomes == [True, True, True, True, False]
    assert (small.name, small.eps, small.correct, small.n) == ("fgsm", 0.1, 2, 5)
    assert small.outcomes == [True, False, False, True, False]
    assert small.accuracy == 0.4
    assert (small.low, small.high) == wilson(2, 5)
    assert small.perturbation == pytest.approx(0.1)
    assert (large.name, large.correct) == ("pgd-30", 0)
    assert 0.4 < large.perturbation <= 0.45 + 1e-6


def test_the_attack_is_judged_here_and_may_leave_a_wrong_image_right():
    """An attack that moves every image up makes a wrong one right: it counts as right on the image that was returned."""
    x, y = line([0.1, 0.45, 0.45]), torch.tensor([0, 0, 1])

    def up(model, x, y, *, eps, generator):
        return x + eps

    rate = evaluate(Threshold(), x, y, attacks=[("up", up, {"eps": 0.1})])[1]
    assert rate.outcomes == [True, False, True]


def test_an_attack_that_leaves_the_pixel_range_is_refused():
    def too_far(model, x, y, *, eps, generator):
        return x + eps

    with pytest.raises(ValueError, match=r"images must lie in \[0, 1\]"):
        evaluate(Threshold(), line([0.9]), torch.tensor([1]), attacks=[("too far", too_far, {"eps": 0.2})])


def test_does_not_depend_on_the_batch_size_and_follows_the_seed(problem):
    ensemble, x, y = problem
    attacks = [("pgd", pgd, {"eps": 0.02, "steps": 2, "restarts": 2}), ("fgsm", fgsm, {"eps": 0.02})]
    whole = evaluate(ensemble, x, y, attacks=attacks, batch_size=90, seed=3)
    assert 0 < whole[1].correct < whole[0].correct
    assert evaluate(ensemble, x, y, attacks=attacks, batch_size=7, seed=3) == whole
    starts = {
        evaluate(ensemble, x, y, attacks=[("pgd", pgd, {"eps": 0.05, "steps": 1, "step_size": 1e-4})], seed=seed)[1].perturbation
        for seed in range(4)
    }
    assert len(starts) > 1


def test_progress_grows_batch_by_batch(problem):
    ensemble, x, y = problem
    seen = list(measure(ensemble, x, y, attacks=[("fgsm", fgsm, {"eps": 0.1})], batch_size=40))
    assert [(position, rate.n) for position, rate in seen] == [(0, 40), (0, 80), (0, 90), (1, 40), (1, 80), (1, 90)]
    assert seen[0][1].outcomes == seen[2][1].outcomes[:40]
    assert all((rate.low, rate.high) == wilson(rate.correct, rate.n) for _, rate in seen)


def test_the_adversarial_images_of_every_batch_are_given_with_their_places(problem):
    ensemble, x, y = problem
    attacks = [("fgsm", fgsm, {"eps": 0.1}), ("pgd", pgd, {"eps": 0.05, "steps": 2})]
    kept = torch.full((3, *x.shape), torch.nan)

    def keep(position, places, adversarial):
        assert kept[position, places].isnan().all()
        kept[position, places] = adversarial

    rates = dict(measure(ensemble, x, y, attacks=attacks, batch_size=40, keep=keep))
    assert kept[0].isnan().all()  # no attack, nothing to keep
    for position in (1, 2):
        assert (ensemble.eval()(kept[position]).argmax(-1) == y).tolist() == rates[position].outcomes
    kept.fill_(torch.nan)
    half = {1: join_rates([evaluate(ensemble, x[:50], y[:50], attacks=attacks[:1])[1]])}
    list(measure(ensemble, x, y, attacks=attacks[:1], batch_size=40, done=half, keep=keep))
    assert kept[1].isnan().flatten(1).any(-1).tolist() == [True] * 50 + [False] * 40


def test_the_model_keeps_its_mode_and_random_state_and_dropout_is_off(problem):
    ensemble, x, y = problem
    before = torch.get_rng_state()
    once = evaluate(ensemble, x, y, attacks=[("pgd", pgd, {"eps": 0.1, "steps": 3})])
    assert once == evaluate(ensemble, x, y, attacks=[("pgd", pgd, {"eps": 0.1, "steps": 3})])
    assert torch.equal(before, torch.get_rng_state())
    assert all(module.training for module in ensemble.modules())


def test_a_nan_output_is_wrong():
    class Broken(nn.Module):
        def forward(self, x):
            return torch.stack([x.flatten(1)[:, 0] * torch.nan, x.flatten(1)[:, 0]], -1)

    clean = evaluate(Broken(), line([0.1, 0.2]), torch.tensor([0, 1]))[0]
    assert clean.correct == 0


def test_no_images_know_nothing():
    clean, attacked = evaluate(
        Threshold(), line([])[:0], torch.zeros(0, dtype=torch.long), attacks=[("fgsm", fgsm, {"eps": 0.1})]
    )
    assert (clean.n, clean.low, clean.high, clean.accuracy) == (0, 0.0, 1.0, None)
    assert attacked.n == 0


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="batch_size must be >= 1"):
        evaluate(Threshold(), line([0.5]), torch.tensor([0]), batch_size=0)
    with pytest.raises(ValueError, match="put normalisation in the model"):
        evaluate(Threshold(), line([2.0]), torch.tensor([0]))


def test_is_ready_for_json():
    rate = evaluate(Threshold(), line([0.1, 0.9]), torch.tensor([0, 0]), attacks=[("l2", partial(pgd, norm="l2"), {"eps": 0.1})])[
        1
    ]
    stored = json.loads(json.dumps(rate.to_json(), allow_nan=False))
    assert stored["outcomes"] == [True, False]
    assert stored["accuracy"] == 0.5


def test_goes_on_where_an_interrupted_measurement_stopped(problem):
    ensemble, x, y = problem
    attacks = [("fgsm", fgsm, {"eps": 0.02}), ("pgd", pgd, {"eps": 0.02, "steps": 3, "restarts": 2})]
    whole = evaluate(ensemble, x, y, attacks=attacks, batch_size=20, seed=3)
    called = []

    def counted(model, x, y, **arguments):
        called.append(len(x))
        return pgd(model, x, y, **arguments)

    for stop in (4, 7, 13):
        found = {}
        for (position, rate), _ in zip(
            measure(ensemble, x, y, attacks=attacks, batch_size=20, seed=3), range(stop), strict=False
        ):
            found[position] = parse_rate(json.loads(json.dumps(rate.to_json())), empty_rates(attacks)[position], 90)
            assert found[position] == rate
        called.clear()
        again = [attacks[0], ("pgd", counted, attacks[1][2])]
        rates = dict(measure(ensemble, x, y, attacks=again, batch_size=20, seed=3, done=found))
        assert [rates[k].outcomes for k in range(3)] == [rate.outcomes for rate in whole]
        assert [rates[k].perturbation for k in range(3)] == pytest.approx([rate.perturbation for rate in whole], abs=1e-6)
        assert sum(called) == 90 - (found[2].n if 2 in found else 0)


@pytest.mark.parametrize("count", [2, 4])
def test_shares_of_the_images_give_the_figures_of_the_whole(problem, count):
    ensemble, x, y = problem
    # In L2, with steps that do not reach the edge: how far the images are moved shows their noise.
    options = {"eps": 0.1, "steps": 2, "step_size": 1e-4, "restarts": 2, "norm": "l2", "for_transfer": True}
    attacks = [("pgd", pgd, options)]
    whole = evaluate(ensemble, x, y, attacks=attacks, seed=3)
    shares = [ProcessGroup(rank, count).shard(90) for rank in range(count)]
    assert [part for share in shares for part in range(90)[share]] == list(range(90))
    parts = [dict(measure(ensemble, x[s], y[s], attacks=attacks, seed=3, first=s.start)) for s in shares]
    assert [join_rates([part[k] for part in parts]) for k in range(2)] == whole
    shifted = dict(measure(ensemble, x[shares[1]], y[shares[1]], attacks=attacks, seed=3))
    assert shifted[1].perturbation != parts[1][1].perturbation  # without its place a share has other noise


@pytest.mark.parametrize(
    "damage",
    [
        {"outcomes": "yes"},
        {"outcomes": [1, 0]},
        {"outcomes": [True] * 3},
        {"perturbation": None},
        {"perturbation": float("nan")},
        {"moved": "x"},
        {"moved": ...},
    ],
    ids=str,
)
def test_a_damaged_rate_is_no_rate(damage):
    rate = evaluate(Threshold(), line([0.1, 0.9]), torch.tensor([0, 0]))[0]
    stored, blank = rate.to_json(), empty_rates([])[0]
    assert parse_rate(stored, blank, 2) == rate
    assert parse_rate({**stored, "name": 3, "eps": "x", "correct": 7}, blank, 2) == rate  # these are the plan's, not the file's
    for key, value in damage.items():
        if value is ...:
            del stored[key]
        else:
            stored[key] = value
    assert parse_rate(stored, blank, 2) is None
    assert parse_rate([stored], blank, 2) is None


def test_images_that_a_failed_attack_changed_are_counted():
    def moves(model, x, y, *, eps, generator):
        return x + eps

    rate = evaluate(Threshold(), line([0.1, 0.45, 0.2]), torch.tensor([0, 0, 1]), attacks=[("moves", moves, {"eps": 0.1})])[1]
    assert (rate.correct, rate.moved) == (1, 1)
    honest = evaluate(Threshold(), line([0.1, 0.45]), torch.tensor([0, 0]), attacks=[("pgd", pgd, {"eps": 0.1})])[1]
    assert (honest.correct, honest.moved) == (1, 0)


class Wrapped(Threshold):
    """A model whose logits are not alone."""

    def forward(self, x):
        return {"logits": super().forward(x)}


SQUARE = line([0.2, 0.4, 0.6])
UNFIT = [
    (Threshold(), SQUARE, [0, 1, 1], TypeError, "labels must be a torch.Tensor, got list"),
    (Threshold(), SQUARE.numpy(), torch.tensor([0, 1, 1]), TypeError, "images must be a torch.Tensor, got ndarray"),
    (Threshold(), SQUARE[0], torch.tensor([0]), ValueError, "make one image a batch"),
    (Threshold(), SQUARE, torch.tensor([0, 1, 2]), ValueError, r"labels must lie in \[0, 1\]"),
    (Wrapped(), SQUARE, torch.tensor([0, 1, 1]), TypeError, "must return a tensor .* got dict"),
]


@pytest.mark.parametrize(("model", "x", "y", "error", "message"), UNFIT, ids=["list", "numpy", "image", "label", "dict"])
def test_what_cannot_be_evaluated_is_refused_in_words(monkeypatch, model, x, y, error, message):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # users have no type checks
    with pytest.raises(error, match=message):
        evaluate(model, x, y)
    in_ensemble = "member F2 must return logits .* got a dict" if "dict" in message else message
    with pytest.raises((error, ValueError), match=in_ensemble):
        transfer_matrix(Ensemble([Threshold(), model]), x, y, attack=partial(fgsm, eps=0.1))


def test_a_seed_out_of_range_is_refused_in_words():
    with pytest.raises(ValueError, match="a seed must lie in"):
        evaluate(Threshold(), SQUARE, torch.tensor([0, 1, 1]), seed=2**64)
