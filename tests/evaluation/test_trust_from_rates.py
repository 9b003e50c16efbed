import pytest
import torch
from torch import nn

from trs_explorer.evaluation.accuracy import Rate, evaluate
from trs_explorer.evaluation.trust import from_rates
from trs_explorer.evaluation.trust.from_rates import all_warnings


def check_rates(rates):
    return all_warnings(from_rates.check_rates(rates))


def check_model(model, x, y):
    return all_warnings(from_rates.check_model(model, x, y))


def rate(name, eps, correct, n=1000, **more):
    return Rate(name, eps, correct, n, 0.0, 1.0, [], **more)


SOUND = [
    rate("clean", 0.0, 990),
    rate("fgsm", 0.1, 600),
    rate("fgsm", 0.3, 200),
    rate("pgd-50", 0.1, 500),
    rate("pgd-50", 0.3, 50),
]


def test_a_sound_table_raises_no_alarm():
    assert check_rates(SOUND) == []
    assert check_rates([]) == []


def test_any_iterated_attack_is_held_to_the_single_step():
    found = check_rates([*SOUND, rate("apgd-ce-50", 0.1, 620)])
    assert [text.split(" leaves")[0] for text in found] == ["apgd-ce-50", "at ε 0.1 pgd-50"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (rate("pgd-50", 0.2, 550), "pgd-50 leaves 55.0% right at ε 0.2, more than the 50.0% at ε 0.1"),
        (rate("fgsm", 0.3, 39), "pgd-50 leaves 5.0% right at ε 0.3, fgsm's single step only 3.9%"),
        (rate("ours", 0.1, 1001, n=1001), None),
        (
            rate("mora-50", 0.1, 449),
            "at ε 0.1 mora-50 leaves 44.9% right, pgd-50, on another loss, 50.0%: the gradients of",
        ),
        (rate("mim-50", 0.1, 449), "at ε 0.1 mim-50 leaves 44.9% right, pgd-50 50.0%: its steps are too few or too small"),
        (rate("mora-50", 0.1, 451), None),
        (rate("mora-50", 0.1, 400, norm="l2"), None),
        (rate("pgd-50", 0.2, 400, perturbation=0.21), "pgd-50 moved an image by 0.21 in linf, more than its ε 0.2"),
        (rate("pgd-50", 0.2, 400, perturbation=0.2000001), None),
        (rate("fgsm", 0.5, 400), None),  # a single step overshoots
        (rate("fgsm", 0.3, 41), None),  # within a percentage point
        (rate("fgsm", 0.3, 10, norm="l2"), None),  # another ball
        (rate("pgd-50", 0.2, 0, n=0), None),
    ],
)
def test_alarms_in_words(more, words):
    found = check_rates([*SOUND, more])
    assert len(found) == (words is not None)
    assert words is None or words in found[0]


def test_accuracy_that_creeps_up_is_held_to_the_lowest_of_all_smaller_radii():
    climbing = [rate("pgd-50", eps, correct) for eps, correct in ((0.1, 500), (0.2, 509), (0.3, 518))]
    (found,) = check_rates([rate("clean", 0.0, 990), *climbing])
    assert "leaves 51.8% right at ε 0.3, more than the 50.0% at ε 0.1" in found


def test_an_attack_that_helps_is_noticed():
    (found,) = check_rates([rate("clean", 0.0, 900), rate("pgd-50", 0.1, 950)])
    assert "more than the 90.0% without an attack" in found


def net(scale=1.0):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(9, 3), Times(scale))


class Times(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return x * self.scale


X = torch.rand(64, 1, 3, 3, generator=torch.Generator().manual_seed(0))


def test_a_sound_model_raises_no_alarm():
    for model in (net(), nn.Sequential(net(), nn.LogSoftmax(-1)), net(20.0)):  # the last has small gradients, not zero ones
        assert check_model(model.eval(), X, net()(X).argmax(-1)) == []


def test_logits_times_1000_have_no_gradient():
    model = net(1000.0).eval()
    (found,) = check_model(model, X, model(X).argmax(-1))
    assert "input gradients are exactly zero" in found


def test_probabilities_train_mode_nan_and_chance_are_noticed():
    y = net()(X).argmax(-1)
    (found,) = check_model(nn.Sequential(net(), nn.Softmax(-1)).eval(), X, y)
    assert "returns probabilities" in found
    model = net().train()
    (found,) = check_model(model, X, y)
    assert "train mode" in found
    assert model.training
    found = check_model(net(torch.nan).eval(), X, y)
    assert "64 of 64 (100.0%) outputs hold NaN" in found[1]
    assert "64 of 64 (100.0%) input gradients are NaN or infinite" in found[0]

    class Noisy(nn.Module):
        def forward(self, x):
            return net()(x) + torch.rand(len(x), 3)

    with torch.random.fork_rng():
        (found,) = check_model(Noisy().eval(), X, y)
    assert "other outputs the second time" in found
    assert check_model(net(), X[:0], y[:0]) == []


def test_takes_what_evaluate_gives():
    assert check_rates(evaluate(net(), X, net()(X).argmax(-1))) == []


def test_square_that_beats_the_attacks_that_follow_gradients_is_a_warning():
    blind = rate("square", 0.1, 450)
    [warning] = from_rates.check_rates([*SOUND, blind])[4]
    assert warning.startswith("square, without gradients, leaves 45.0% right at ε 0.1, pgd-50 50.0%")
    assert from_rates.check_rates([*SOUND, rate("square", 0.1, 495)])[4] == []
    assert from_rates.check_rates([*SOUND, rate("square", 0.2, 100)])[4] == []  # nothing in the same ball
    assert 4 not in from_rates.check_rates(SOUND)
    assert 8 not in from_rates.check_rates([rate("pgd-50", 0.1, 500), rate("square", 0.1, 900)])  # few queries are no budget


@pytest.mark.parametrize(("fooled", "warns"), [(10, False), (11, True)])
def test_what_square_alone_fools_in_strong_is_a_warning(fooled, warns):
    parts = [{"attack": "mora-ce 0.5", "attacked": 990, "fooled": 500}, {"attack": "square", "attacked": 490, "fooled": fooled}]
    found = from_rates.check_rates([*SOUND, rate("strong", 0.1, 490 - fooled, parts=parts)])[4]
    assert bool(found) == warns
    if warns:
        assert found[0].startswith("square, without gradients, fools 11 of 1000 images at ε 0.1 that attacks with gradients left")
