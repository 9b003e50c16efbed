from functools import partial

import pytest
import torch
from torch import nn

from trs_explorer.attacks.fgsm import fgsm
from trs_explorer.evaluation.accuracy import Rate, evaluate
from trs_explorer.evaluation.transfer import TransferMatrix, measure_transfer, transfer_matrix
from trs_explorer.explore.gallery import FILTERS, pick, predictions
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.options import UsageError


@pytest.fixture
def problem():
    """Three members that mostly agree, on 50 images of noise with labels that the ensemble mostly has right."""
    g = torch.Generator().manual_seed(0)
    base = torch.randn(4, 48, generator=g)
    members = []
    for _ in range(3):
        member = nn.Sequential(nn.Flatten(), nn.Linear(48, 4))
        with torch.no_grad():
            member[1].weight.copy_(base + 0.5 * torch.randn(4, 48, generator=g))
            member[1].bias.copy_(-member[1].weight.sum(-1) / 2)  # decisions in the middle of the pixel range
        members.append(member)
    ensemble = Ensemble(members).eval()
    x = torch.rand(50, 3, 4, 4, generator=g)
    with torch.no_grad():
        y = ensemble(x).argmax(-1)
    y[::7] = (y[::7] + 1) % 4
    return ensemble, x, y


def test_answers_are_those_of_every_model_one_image_at_a_time(problem):
    ensemble, x, _ = problem
    found = predictions(ensemble, x, batch_size=16)
    with torch.no_grad():
        models = [*ensemble.members, ensemble]
        expected = [[int(model(image).argmax(-1)) for image in x.split(1)] for model in models]
    assert found.tolist() == expected
    assert len({tuple(row) for row in expected}) == 4  # four models that answer differently
    assert predictions(ensemble, x[:0]).shape == (4, 0)


def test_an_output_with_nan_is_no_answer(problem):
    ensemble, x, _ = problem
    next(iter(ensemble.members[1].parameters())).data.fill_(float("nan"))
    found = predictions(ensemble, x)
    assert (found[1] == -1).all()
    assert (found[3] == -1).all()  # nor has the ensemble one
    assert (found[[0, 2]] >= 0).all()


ANSWERS = torch.tensor([[0, 1, 2, 2], [0, 1, 1, 2], [0, 1, 2, 1], [0, 1, 2, 2]])  # three members and the ensemble
Y = torch.tensor([0, 2, 2, 0])


def test_filters_by_class_disagreement_and_mistake():
    assert pick("all", Y) == ([0, 1, 2, 3], "4 of 4 images: all")
    assert pick("all", Y, label=2) == ([1, 2], "2 of 2 images of class 2: all")
    assert pick("disagree", Y, predicted=ANSWERS) == ([2, 3], "2 of 4 images: the members predict different classes")
    assert pick("wrong", Y, predicted=ANSWERS) == ([1, 3], "2 of 4 images: the ensemble is wrong, without any attack")
    assert pick("wrong", Y, predicted=ANSWERS, label=2)[0] == [1]
    assert pick("wrong", Y, predicted=ANSWERS, label=7) == (
        [],
        "0 of 0 images of class 7: the ensemble is wrong, without any attack",
    )
    assert pick("wrong", Y, predicted=ANSWERS[:, :2])[1].startswith("1 of 2 images: ")
    assert pick("wrong", Y[:1], predicted=ANSWERS)[1].startswith("0 of 1 image: ")


def test_transfers_are_the_cell_of_the_matrix():
    cells = [["0-11", "-01-", "--1-"], ["1---", "1111", "0---"]]
    matrix = TransferMatrix([[2, 1, 1], [1, 4, 0]], [[3, 2, 1], [1, 4, 1]], 4, True, cells)
    found, words = pick("transfers", Y, matrix=matrix, surrogate=0, target=1)
    assert found == [2]
    assert words == "1 of 4 images: the attack on F1 also fools F2 (of 2 that both classify correctly and on which it fools F1)"
    assert pick("transfers", Y, matrix=matrix, surrogate=0, target=2)[1].startswith(
        "1 of 4 images: the attack on F1 also fools the en"
    )
    found, words = pick("transfers", Y, matrix=matrix, surrogate=0, target=0, label=2)
    assert found == [2]
    assert words == "1 of 2 images of class 2: the attack on F1 fools it (of 1 that it classifies correctly without an attack)"
    assert pick("transfers", Y[:3], matrix=matrix, surrogate=1, target=1)[0] == [0, 1, 2]  # no more than are offered
    for surrogate, target in ((2, 0), (0, 3), (-1, 0)):
        with pytest.raises(UsageError, match=f"2 rows and 3 columns: it has no row {surrogate + 1}, column {target + 1}"):
            pick("transfers", Y, matrix=matrix, surrogate=surrogate, target=target)


def test_every_image_that_transfers_does_so_when_it_is_attacked_alone(problem):
    ensemble, x, y = problem
    attack = partial(fgsm, eps=0.06)
    matrix = transfer_matrix(ensemble, x, y, attack=attack, ensemble_column=True)
    for target, model in ((1, ensemble.members[1]), (3, ensemble)):
        found, words = pick("transfers", y, matrix=matrix, surrogate=0, target=target)
        expected = []
        for i, (image, label) in enumerate(zip(x.split(1), y.split(1), strict=True)):
            x_adv = attack(ensemble.members[0], image, label)
            right = [int(m(image).argmax(-1)) == int(label) for m in (ensemble.members[0], model)]
            wrong = [int(m(x_adv).argmax(-1)) != int(label) for m in (ensemble.members[0], model)]
            if all(right + wrong):
                expected.append(i)
        assert found == expected
        assert words.startswith(f"{len(expected)} of 50 images: ")
    assert len(expected) > 1


def test_what_is_not_measured_yet_is_not_judged(problem):
    ensemble, x, y = problem
    so_far = measure_transfer(ensemble, x, y, attack=partial(fgsm, eps=0.06), batch_size=20)
    empty, first = next(so_far), next(so_far)
    assert pick("transfers", y, matrix=empty)[1].startswith("0 of 0 images: ")
    assert "of 20 images: " in pick("transfers", y, matrix=first, surrogate=0, target=1)[1]
    assert "of 0 images: " in pick("transfers", y, matrix=first, surrogate=1, target=0)[1]
    for kind in ("disagree", "wrong", "transfers", "robust"):
        with pytest.raises(UsageError, match="not measured yet"):
            pick(kind, y)


def test_robust_images_are_right_after_an_attack_on_the_ensemble(problem):
    ensemble, x, y = problem
    _, rate = evaluate(ensemble, x, y, attacks=[("fgsm", fgsm, {"eps": 0.06})])
    found, words = pick("robust", y, robust=rate)
    x_adv = fgsm(ensemble, x, y, eps=0.06)
    assert found == torch.nonzero(ensemble(x_adv).argmax(-1) == y).flatten().tolist()
    assert 0 < len(found) < 50
    assert words == f"{len(found)} of 50 images: the ensemble is correct even under fgsm of ε 0.06 on itself"
    partly = Rate("fgsm", 0.06, 1, 2, 0.0, 1.0, [True, False])
    assert pick("robust", y, robust=partly)[0] == [0]


def test_an_unknown_filter_lists_what_there_is(problem):
    with pytest.raises(UsageError, match=r"filter: there is no 'wrog'. Did you mean wrong\? Choose from all, disagree"):
        pick("wrog", Y)
    assert all(text for text in FILTERS.values())


def test_two_members_that_are_one_never_disagree(problem):
    ensemble, x, y = problem
    twins = Ensemble([ensemble.members[0]] * 2)
    assert pick("disagree", y, predicted=predictions(twins, x))[0] == []
