import json
from collections import deque
from functools import partial

import pytest
import torch
from torch import nn

from trs_explorer.attacks.fgsm import fgsm
from trs_explorer.attacks.pgd import pgd
from trs_explorer.evaluation.intervals import wilson
from trs_explorer.evaluation.transfer import (
    TransferMatrix,
    all_correct,
    complete_images,
    join_matrices,
    measure_transfer,
    other_classes,
    transfer_matrix,
)
from trs_explorer.models.ensemble import Ensemble

ATTACK = partial(pgd, eps=0.06, steps=6)


def brute_force(ensemble, x, y, eps):
    """Definition 6, image by image and pair by pair, on FGSM; the ensemble is the last target."""
    ensemble.eval()
    targets = [*ensemble.members, ensemble]
    fooled = [[0] * len(targets) for _ in ensemble.members]
    eligible = [[0] * len(targets) for _ in ensemble.members]
    for image, label in zip(x.split(1), y.split(1), strict=True):
        right = [target(image).argmax(-1).item() == label.item() for target in targets]
        for i, surrogate in enumerate(ensemble.members):
            x_adv = fgsm(surrogate, image, label, eps=eps)
            wrong = [target(x_adv).argmax(-1).item() != label.item() for target in targets]
            for j in range(len(targets)):
                if i == j and right[i]:
                    eligible[i][i] += 1
                    fooled[i][i] += wrong[i]
                if i != j and right[i] and right[j] and wrong[i]:
                    eligible[i][j] += 1
                    fooled[i][j] += wrong[j]
    return fooled, eligible


def test_counts_what_a_loop_over_the_definition_counts(problem):
    ensemble, x, y = problem
    matrix = transfer_matrix(ensemble, x, y, attack=partial(fgsm, eps=0.06), ensemble_column=True, batch_size=32)
    fooled, eligible = brute_force(ensemble, x, y, 0.06)
    assert matrix.fooled == fooled
    assert matrix.eligible == eligible
    # The images tell the denominators apart: all, right on the surrogate, right on both, surrogate fooled.
    assert len({90}.union(*eligible)) >= 6
    assert all(0 < f < e for i, row in enumerate(fooled) for j, (f, e) in enumerate(zip(row, eligible[i], strict=True)) if i != j)
    square = transfer_matrix(ensemble, x, y, attack=partial(fgsm, eps=0.06))
    assert square.fooled == [row[:3] for row in fooled]
    assert square.eligible == [row[:3] for row in eligible]


def test_of_a_half_measured_matrix_the_images_that_all_rows_have_are_a_matrix_of_their_own(problem):
    ensemble, x, y = problem
    attack, uneven = partial(fgsm, eps=0.06), 0
    for part in measure_transfer(ensemble, x, y, attack=attack, ensemble_column=True, batch_size=40):
        uneven += len({len(row[0]) for row in part.outcomes}) > 1
        alone = transfer_matrix(ensemble, x[: part.n], y[: part.n], attack=attack, ensemble_column=True, batch_size=40)
        assert complete_images(part) == alone
        assert 0 <= complete_images(part).pooled_interval()[0] <= 1
    assert uneven > 2


def test_rows_are_surrogates_and_columns_are_targets():
    """Member 1 is steep where member 0 is flat: one falls to the other's images and not the reverse."""

    class Pixel(nn.Module):
        def __init__(self, weights):
            super().__init__()
            self.weights = nn.Parameter(torch.tensor(weights))

        def forward(self, x):
            margin = (x.flatten(1) - 0.5) @ self.weights + 0.1
            return torch.stack([margin, -margin], -1)

    ensemble = Ensemble([Pixel([2.0, 1.0]), Pixel([0.0, 2.0])])
    x, y = torch.full((10, 1, 1, 2), 0.5), torch.zeros(10, dtype=torch.long)
    matrix = transfer_matrix(ensemble, x, y, attack=partial(fgsm, eps=0.06))
    # Both gradients lower the second pixel; only member 0's lowers the first too, without which member 0 stands.
    assert matrix.rates() == [[1.0, 1.0], [0.0, 1.0]]


def test_identical_members_fall_together(problem):
    ensemble, x, y = problem
    twins = Ensemble([ensemble.members[0]] * 3)
    matrix = transfer_matrix(twins, x, y, attack=ATTACK, ensemble_column=True)
    assert matrix.eligible[0][1] == matrix.fooled[0][0] > 10
    assert [rate for i, row in enumerate(matrix.rates()) for j, rate in enumerate(row) if i != j] == [1.0] * 9
    fooled, eligible = matrix.pooled()
    assert fooled == eligible > 0


def test_reordering_the_members_reorders_the_matrix(problem):
    ensemble, x, y = problem
    matrix = transfer_matrix(ensemble, x, y, attack=ATTACK, seed=5)
    order = [2, 0, 1]
    again = transfer_matrix(Ensemble([ensemble.members[i] for i in order]), x, y, attack=ATTACK, seed=5)
    assert again.fooled == [[matrix.fooled[i][j] for j in order] for i in order]
    assert again.eligible == [[matrix.eligible[i][j] for j in order] for i in order]
    assert matrix.fooled != again.fooled


def test_does_not_depend_on_the_batch_size_and_leaves_the_ensemble_alone(problem):
    ensemble, x, y = problem
    before = torch.get_rng_state()
    assert transfer_matrix(ensemble, x, y, attack=ATTACK, batch_size=11) == transfer_matrix(ensemble, x, y, attack=ATTACK)
    assert all(module.training for module in ensemble.modules())
    assert all(p.grad is None for p in ensemble.parameters())
    assert torch.equal(before, torch.get_rng_state())


def test_attacks_go_on_to_the_highest_loss(problem):
    """Stopping at the first fooling image would make the members look more diverse than they are."""
    ensemble, x, y = problem
    asked = []

    def spy(model, x, y, *, eps, early_stop=True, generator=None):
        asked.append(early_stop)
        return pgd(model, x, y, eps=eps, early_stop=early_stop, generator=generator)

    full = transfer_matrix(ensemble, x, y, attack=partial(spy, eps=0.3))
    assert asked == [False] * 3

    def hasty(model, x, y, *, generator):
        return pgd(model, x, y, eps=0.3, early_stop=True, generator=generator)

    fooled, eligible = transfer_matrix(ensemble, x, y, attack=hasty).pooled()
    assert fooled / eligible < full.pooled()[0] / full.pooled()[1] - 0.05


MATRIX = TransferMatrix(fooled=[[8, 3, 2], [0, 5, 1]], eligible=[[10, 4, 2], [0, 6, 3]], n=12, ensemble_column=True)


def test_rates_intervals_and_the_mean_leave_out_what_is_unknown():
    assert MATRIX.rates() == [[0.8, 0.75, 1.0], [None, 5 / 6, 1 / 3]]
    assert MATRIX.interval(0, 0) == pytest.approx((0.4902, 0.9433), abs=5e-5)
    assert MATRIX.interval(0, 1) == wilson(3, 4)
    assert MATRIX.interval(1, 0) == (0.0, 1.0)
    assert MATRIX.pooled() == (3, 4)  # neither the empty pair nor the ensemble's column counts
    assert TransferMatrix([[1]], [[2]], 3).pooled() == (0, 0)


def test_is_ready_for_json():
    stored = json.loads(json.dumps(MATRIX.to_json(), allow_nan=False))
    assert stored["rates"][1][0] is None
    assert stored["fooled"] == MATRIX.fooled
    assert stored["intervals"][0][1] == list(wilson(3, 4))
    assert (stored["rows"], stored["columns"], stored["n"]) == ("surrogate", "target", 12)


def test_no_images_give_empty_cells(problem):
    ensemble, x, y = problem
    matrix = transfer_matrix(ensemble, x[:0], y[:0], attack=ATTACK)
    assert matrix.eligible == [[0] * 3] * 3
    assert matrix.pooled()[1] == 0


def test_what_is_measured_so_far_is_the_whole_measurement_of_fewer_images(problem):
    ensemble, x, y = problem
    arguments = {"attack": ATTACK, "ensemble_column": True, "batch_size": 40}
    empty, *so_far = measure_transfer(ensemble, x, y, **arguments)
    assert (empty.n, empty.eligible, empty.outcomes) == (0, [[0] * 4] * 3, [[""] * 4] * 3)
    assert len(so_far) == 3 * 3  # after every surrogate of the batches of 40, 40 and 10
    whole = transfer_matrix(ensemble, x, y, **arguments)
    for position, matrix in enumerate(so_far):
        batch, row = divmod(position, 3)
        before, after = min(40 * batch, 90), min(40 * (batch + 1), 90)
        tried = [after if i <= row else before for i in range(3)]
        assert matrix.outcomes == [[cell[:n] for cell in cells] for cells, n in zip(whole.outcomes, tried, strict=True)]
        assert matrix.fooled == [[cell.count("1") for cell in row] for row in matrix.outcomes]
        assert matrix.eligible == [[cell.count("1") + cell.count("0") for cell in row] for row in matrix.outcomes]
        assert matrix.n == min(tried)
    assert so_far[-1] == whole
    assert so_far[5] == transfer_matrix(ensemble, x[:80], y[:80], **arguments)  # a whole number of batches is final


def test_every_letter_is_what_definition_6_says_of_that_image(problem):
    ensemble, x, y = problem
    matrix = transfer_matrix(ensemble, x, y, attack=partial(fgsm, eps=0.06), ensemble_column=True, batch_size=32)
    for k in range(0, 90, 7):
        fooled, eligible = brute_force(ensemble, x[k : k + 1], y[k : k + 1], 0.06)
        letters = [["-01"[e + f] for e, f in zip(*rows, strict=True)] for rows in zip(eligible, fooled, strict=True)]
        assert [[cell[k] for cell in row] for row in matrix.outcomes] == letters


def test_a_measurement_can_be_left_at_any_time(problem):
    ensemble, x, y = problem
    measurement = measure_transfer(ensemble, x, y, attack=ATTACK, batch_size=30)
    for _ in range(3):
        next(measurement)
        assert all(module.training for module in ensemble.modules())
    measurement.close()
    with pytest.raises(ValueError, match="images must lie in"):
        next(measure_transfer(ensemble, x + 1, y, attack=ATTACK))


def test_targeted_counts_are_what_a_loop_over_definition_6_counts(problem):
    ensemble, x, y = problem
    wanted = other_classes(y, 3, seed=1)
    attack = partial(fgsm, eps=0.2)
    matrix = transfer_matrix(ensemble, x, y, attack=attack, wanted=wanted, ensemble_column=True, batch_size=32)
    ensemble.eval()
    targets = [*ensemble.members, ensemble]
    fooled = [[0] * 4 for _ in range(3)]
    eligible = [[0] * 4 for _ in range(3)]
    for image, label, aim in zip(x.split(1), y.split(1), wanted.split(1), strict=True):
        right = [target(image).argmax(-1).item() == label.item() for target in targets]
        for i, surrogate in enumerate(ensemble.members):
            x_adv = fgsm(surrogate, image, aim, eps=0.2, targeted=True)
            hit = [target(x_adv).argmax(-1).item() == aim.item() for target in targets]
            for j in range(4):
                if right[i] and right[j] and (i == j or hit[i]):
                    eligible[i][j] += 1
                    fooled[i][j] += hit[j]
    assert matrix.fooled == fooled
    assert matrix.eligible == eligible
    assert all(fooled[i][j] > 0 for i in range(3) for j in range(4))
    assert matrix.targeted
    assert matrix.fooled != transfer_matrix(ensemble, x, y, attack=attack, ensemble_column=True).fooled


def test_wanted_classes_are_others_and_evenly_drawn():
    y = torch.arange(4).repeat(3000)
    wanted = other_classes(y, 4, seed=0)
    assert not (wanted == y).any()
    counts = torch.bincount(y * 4 + wanted, minlength=16).view(4, 4)
    assert counts.fill_diagonal_(1000).sub(1000).abs().max() < 120
    assert torch.equal(wanted, other_classes(y, 4, seed=0))
    assert not torch.equal(wanted, other_classes(y, 4, seed=1))


def test_all_right_counts_any_of_five_starts_over_images_that_all_members_have_right(problem):
    ensemble, x, y = problem
    attack = partial(pgd, eps=0.04, steps=2, step_size=0.02)
    matrix = transfer_matrix(ensemble, x, y, attack=attack, protocol="all-right", ensemble_column=True, seed=7)
    ensemble.eval()
    chosen = torch.stack([member(x).argmax(-1) == y for member in ensemble.members]).all(0)
    assert torch.equal(all_correct(ensemble, x.__getitem__, y, limit=1000, batch_size=32), chosen.nonzero()[:, 0])
    assert torch.equal(all_correct(ensemble, x.__getitem__, y, limit=9, batch_size=4), chosen.nonzero()[:9, 0])
    assert 20 < chosen.sum() < 80
    for i, surrogate in enumerate(ensemble.members):
        fell = torch.zeros(4, len(x), dtype=torch.bool)
        for start in range(5):
            x_adv = attack(surrogate, x, y, for_transfer=True, generator=torch.Generator().manual_seed(7 + start))
            fell |= torch.stack([target(x_adv).argmax(-1) != y for target in (*ensemble.members, ensemble)])
        assert matrix.eligible[i] == [chosen.sum().item()] * 4
        assert matrix.fooled[i] == (fell & chosen).sum(-1).tolist()
    one = transfer_matrix(ensemble, x, y, attack=attack, ensemble_column=True, seed=7)
    assert sum(map(sum, matrix.fooled)) > sum(map(sum, one.fooled))


def test_unknown_protocols_and_wanted_classes_that_are_the_true_ones_are_refused(problem):
    ensemble, x, y = problem
    with pytest.raises(ValueError, match="protocol must be one of def6, all-right, got 'x'"):
        transfer_matrix(ensemble, x, y, attack=ATTACK, protocol="x")
    with pytest.raises(ValueError, match="another than the true one"):
        transfer_matrix(ensemble, x, y, attack=ATTACK, wanted=y)


@pytest.mark.parametrize("protocol", ["def6", pytest.param("all-right", marks=pytest.mark.slow)])
def test_parts_and_continuations_give_the_whole_matrix(problem, protocol):
    ensemble, x, y = problem
    attack = partial(pgd, eps=0.04, steps=2, step_size=0.02)
    own = {"attack": attack, "protocol": protocol, "ensemble_column": True, "seed": 3, "batch_size": 20}
    snapshots = list(measure_transfer(ensemble, x, y, **own))
    whole = snapshots[-1]
    parts = [deque(measure_transfer(ensemble, x[a:b], y[a:b], first=a, **own), maxlen=1)[0] for a, b in ((0, 45), (45, 90))]
    assert join_matrices(parts) == whole
    for stop in (0, 1, 4, 8, len(snapshots) - 1):
        again = list(measure_transfer(ensemble, x, y, done=snapshots[stop].outcomes, **own))
        assert again[0].n == snapshots[stop].n // 20 * 20 or again[0].n == 90
        assert again[-1] == whole


def test_an_attack_without_chance_is_started_twice_at_most(problem):
    ensemble, x, y = problem
    calls = []

    def counted(model, x, y, *, generator):
        calls.append(len(x))
        return fgsm(model, x, y, eps=0.1)

    transfer_matrix(ensemble, x, y, attack=counted, protocol="all-right")
    assert len(calls) == 2 * 3


def test_the_pooled_interval_counts_an_image_once(problem):
    ensemble, x, y = problem
    twins = Ensemble([ensemble.members[0]] * 3)
    matrix = transfer_matrix(twins, x, y, attack=partial(fgsm, eps=0.03), protocol="all-right")
    fooled, eligible = matrix.pooled()
    assert eligible % 6 == 0
    assert 0 < fooled < eligible
    assert matrix.pooled_interval() == pytest.approx(wilson(fooled // 6, eligible // 6), abs=1e-12)
    assert matrix.to_json()["pooled_interval"] == list(matrix.pooled_interval())
    assert MATRIX.pooled_interval() == (0.0, 1.0)  # counts alone do not say which image is in which pair


def test_the_pooled_interval_is_of_different_members_alone():
    # each of 8 images is eligible in one pair, half of them fooled: of variance 1/4
    pairs = {(0, 1): "1-0-1-0-", (1, 0): "-0-1-0-1"}
    cells = [[pairs.get((i, j), "11111111") for j in range(3)] for i in range(2)]
    part = TransferMatrix([[0] * 3] * 2, [[0] * 3] * 2, 8, ensemble_column=True, outcomes=cells)
    whole = join_matrices([part])
    assert whole.pooled() == (4, 8)
    assert whole.pooled_interval() == pytest.approx(wilson(4, 8))
