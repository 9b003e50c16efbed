"""`trs.evaluate`, `trs.transfer_matrix` and the rest: the figures of the rooms below, and errors in words."""

from functools import partial

import pytest
from torch import nn

import trs_explorer as trs
from trs_explorer.attack_catalogue import ATTACKS
from trs_explorer.attacks.mim import mim
from trs_explorer.attacks.pgd import pgd
from trs_explorer.catalogue import load
from trs_explorer.evaluation import accuracy, transfer


def test_every_attack_of_the_catalogue_is_there_by_its_name():
    for name, entry in ATTACKS.items():
        assert getattr(trs.attacks, name.replace("-", "_")) is load(entry.function)


def test_rates_are_those_of_the_evaluation_bit_for_bit(problem):
    ensemble, x, y = problem
    plain = [("pgd", pgd, {"eps": 0.05, "steps": 3}), ("slow", mim, {"eps": 0.04, "steps": 4})]
    expected = accuracy.evaluate(ensemble, x, y, attacks=plain, seed=3)
    attacks = {"pgd": {"eps": 0.05, "steps": 3}, "slow": partial(trs.attacks.mim, eps=0.04, steps=4)}
    for images, labels in ((x, y), (x.numpy(), y.tolist()), ([*x], [*y])):
        rates = trs.evaluate(ensemble, images, labels, attacks=attacks, seed=3)
        assert list(rates) == ["clean", "pgd", "slow"]
        assert [*rates.values()] == expected
    assert rates["clean"].accuracy == 0.9
    assert [*trs.evaluate([*ensemble.members], x, y, attacks=attacks, seed=3).values()] == expected


def test_on_one_line_fgsm_fools_exactly_the_images_nearer_than_eps(problem):
    """Of a linear model, the nearest image of the other class is |score| / ||weight||_1 away in the maximum norm."""
    member, x, y = problem[0].members[0], *problem[1:]
    x = 0.25 + x / 2  # no pixel is clipped
    scores = (x.flatten(1) @ member.weight - member.offset).detach()
    distance = scores.abs() / member.weight.abs().sum()
    right = (scores > 0) == (y == 1)
    rates = trs.evaluate(member, x, y, attacks={"fgsm": [0.01, 0.03, 0.1]})
    assert list(rates) == ["clean", "fgsm 0.01", "fgsm 0.03", "fgsm 0.1"]
    for eps in (0.01, 0.03, 0.1):
        rate = rates[f"fgsm {eps}"]
        assert (rate.name, rate.eps) == ("fgsm", eps)
        assert rate.outcomes == (right & (distance > eps)).tolist()


def test_a_number_may_be_the_text_of_a_fraction(problem):
    def toward(model, x, y, *, eps, share=0.5, norm="8/255"):
        return (x + eps * share).clamp(0, 1) if norm == "8/255" else x

    attacks = {
        "fgsm": 8 / 255,
        "pgd": {"eps": 4 / 255, "step_size": 0.01, "steps": 2},
        "mine": partial(toward, eps=0.1, share=0.25),
    }
    texts = {
        "fgsm": "8/255",
        "pgd": {"eps": "4/255", "step_size": "1/100", "steps": 2},
        "mine": partial(toward, eps="0.1", share="1/4"),
    }
    assert trs.evaluate(*problem, attacks=texts) == trs.evaluate(*problem, attacks=attacks)
    several = trs.evaluate(*problem, attacks={"fgsm": ["4/255", 8 / 255]})
    assert [(name, rate.eps) for name, rate in several.items()][1:] == [("fgsm 4/255", 4 / 255), ("fgsm 0.0313725", 8 / 255)]
    assert trs.transfer_matrix(*problem, eps="8/255", steps=2) == trs.transfer_matrix(*problem, eps=8 / 255, steps=2)


def test_a_number_is_the_constant_of_an_attack_without_a_radius(problem):
    rates = trs.evaluate(*problem[:1], problem[1][:4], problem[2][:4], attacks={"cw": 0.5})
    assert (rates["cw"].c, rates["cw"].eps) == (0.5, None)


def test_a_list_of_functions_is_named_by_them(problem):
    def nothing(model, x, y, *, eps=0.1):
        return x

    assert list(trs.evaluate(*problem, attacks=[nothing, partial(trs.attacks.pgd, eps=0.1, steps=2, restarts=3)])) == [
        "clean",
        "nothing",
        "pgd-2 x3",
    ]


def test_an_attack_of_ones_own_that_returns_another_shape_is_named(problem):
    def cut(model, x, y, *, eps):
        return x[:, :, :2]

    with pytest.raises(trs.UsageError, match="cut must return adversarial images"):
        trs.evaluate(*problem, attacks={"mine": partial(cut, eps=0.1)})
    with pytest.raises(trs.UsageError, match="the attack cut needs eps"):
        trs.evaluate(*problem, attacks=[cut])


def test_an_attack_in_a_file_is_found_by_its_reference(problem, tmp_path):
    (tmp_path / "mine.py").write_text("def invert(model, x, y, *, eps):\n    return 1 - x\n")
    rates = trs.evaluate(*problem, attacks={"mine.py:invert": 1.0})
    inverted = trs.evaluate(problem[0], 1 - problem[1], problem[2])
    assert rates["mine.py:invert"].outcomes == inverted["clean"].outcomes


def test_the_worst_case_withstands_every_attack(problem):
    rates = trs.evaluate(*problem, attacks={"pgd": {"eps": 0.03, "steps": 2}, "fgsm": 0.03})
    worst = trs.worst_case(rates)
    assert worst.outcomes == [a and b for a, b in zip(rates["pgd"].outcomes, rates["fgsm"].outcomes, strict=True)]
    assert (worst.name, worst.eps) == ("worst of 2", 0.03)
    with pytest.raises(trs.UsageError, match="of one radius, got"):
        trs.worst_case(trs.evaluate(*problem, attacks={"fgsm": [0.01, 0.03]}))
    with pytest.raises(trs.UsageError, match="needs a rate under an attack"):
        trs.worst_case(trs.evaluate(*problem))


def test_the_matrix_is_that_of_the_evaluation_and_follows_the_order_of_the_members(problem):
    ensemble, x, y = problem
    matrix = trs.transfer_matrix(ensemble, x, y, attack=trs.attacks.pgd, eps=0.05, steps=3)
    expected = transfer.transfer_matrix(ensemble, x, y, attack=partial(pgd, eps=0.05, steps=3), ensemble_column=True)
    assert matrix == expected
    order = [2, 0, 1]
    turned = trs.transfer_matrix([ensemble.members[k] for k in order], x, y, attack="pgd", eps=0.05, steps=3)
    assert turned.fooled == [[matrix.fooled[i][j] for j in (*order, 3)] for i in order]
    assert len({cell for row in matrix.fooled for cell in row}) > 2
    lines = str(matrix).splitlines()
    assert lines[0].split() == ["attack", "on", "F1", "F2", "F3", "ensemble"]
    assert lines[2].split() == ["F2", *(f"{100 * rate:.1f}" for rate in matrix.rates()[1])]


def test_a_targeted_matrix_takes_wanted_classes(problem):
    ensemble, x, y = problem
    wanted = (1 - y).tolist()
    matrix = trs.transfer_matrix(ensemble, x, y, wanted=wanted, eps=0.05, steps=3, attack="pgd")
    assert matrix.targeted
    with pytest.raises(ValueError, match="another than the true one"):
        trs.transfer_matrix(ensemble, x, y, wanted=y, eps=0.05)


def test_what_is_wrong_with_members_is_said_and_they_keep_their_mode(problem):
    ensemble, x, y = problem
    shaky = nn.Sequential(nn.Dropout(0.5), ensemble.members[0])
    members = [shaky.train(), ensemble.members[1].eval()]
    assert [text for text in trs.check(members, x, y) if "training mode" in text] == [
        "F1 came in training mode: measured in eval mode, without dropout, with batch norm's stored statistics"
    ]
    assert shaky.training
    assert not members[1].training
    assert trs.check(members, x, y) == trs.check(trs.Ensemble(members), x, y)


WRONG = {
    "attacks must say at which eps": lambda e, x, y: trs.evaluate(e, x, y, attacks="pgd"),
    "there is no 'pdg'. Did you mean pgd?": lambda e, x, y: trs.evaluate(e, x, y, attacks={"pdg": 0.1}),
    "option of pgd: there is no 'step'. Did you mean steps?": lambda e, x, y: trs.transfer_matrix(e, x, y, eps=0.1, step=3),
    "the attack pgd needs eps, its radius in [0, 1] pixels: eps=8/255": lambda e, x, y: trs.transfer_matrix(e, x, y),
    "must be an eps, several, a dict of options or a function, got None": lambda e, x, y: trs.evaluate(
        e, x, y, attacks={"pgd": None}
    ),
    "attacks['pgd'] takes numbers such as 0.03 or 8/255, got 'much'": lambda e, x, y: trs.evaluate(
        e, x, y, attacks={"pgd": "much"}
    ),
    "step_size takes numbers such as 0.03 or 8/255, got '1/0'": lambda e, x, y: trs.transfer_matrix(
        e, x, y, eps=0.1, step_size="1/0"
    ),
    "an attack is a name such as 'pgd', or a function": lambda e, x, y: trs.transfer_matrix(e, x, y, attack=3),
    "there are two 'clean'": lambda e, x, y: trs.evaluate(e, x, y, attacks={"clean": partial(pgd, eps=0.1)}),
    "options must be bound by name": lambda e, x, y: trs.transfer_matrix(e, x, y, attack=partial(pgd, e)),
    "x: images must lie in [0, 1], got [0, 255]: divide by 255": lambda e, x, y: trs.evaluate(e, (x * 255).round(), y),
    "a label for each image, got 59 images and 60 labels": lambda e, x, y: trs.evaluate(e, x[1:], y),
    "load it first, trs.load('mnist-trs')": lambda e, x, y: trs.transfer_matrix("mnist-trs", x, y, eps=0.1),
    "member F2 must be a torch.nn.Module, got 3": lambda e, x, y: trs.transfer_matrix([e, 3], x, y, eps=0.1),
    "one module is there twice": lambda e, x, y: trs.transfer_matrix([e, e], x, y, eps=0.1),
    "a list of torch.nn.Module, one for each member, not []": lambda e, x, y: trs.check([], x, y),
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_said_with_the_way_out(problem, text):
    with pytest.raises(trs.UsageError) as error:
        WRONG[text](*problem)
    assert text in str(error.value)
    assert str(error.value).count("\n") == 0


def test_a_notebook_shows_no_list_of_a_thousand_outcomes(problem):
    rates = trs.evaluate(*problem, attacks={"fgsm": 0.03})
    assert "outcomes" not in repr(rates)
    correct, low, high = rates["fgsm"].correct, 100 * rates["fgsm"].low, 100 * rates["fgsm"].high
    assert str(rates["fgsm"]) == f"fgsm, eps 0.03: {100 * correct / 60:.1f} % ({low:.1f}-{high:.1f}), {correct} of 60"
    assert str(rates["clean"]).startswith("clean: 90.0 % (")
    assert "outcomes" not in repr(trs.transfer_matrix(*problem, attack="fgsm", eps=0.1))


def test_one_image_needs_no_batch(problem):
    ensemble, x, y = problem
    one = trs.evaluate(ensemble, x[1], y[1], attacks={"fgsm": 0.03})
    assert one == trs.evaluate(ensemble, x[1:2], y[1:2], attacks={"fgsm": 0.03})
    assert one == trs.evaluate(ensemble, x[1, 0].numpy(), int(y[1]), attacks={"fgsm": 0.03})
    assert one["clean"].n == 1


def test_a_function_may_stand_for_its_name(problem):
    assert trs.evaluate(*problem, attacks={trs.attacks.fgsm: 0.03}) == trs.evaluate(*problem, attacks={"fgsm": 0.03})
    several = trs.evaluate(*problem, attacks={trs.attacks.fgsm: ["4/255", 0.03]})
    assert several == trs.evaluate(*problem, attacks={"fgsm": ["4/255", 0.03]})
    named = {"eps": 0.03, "steps": 2}
    ours, its = trs.evaluate(*problem, attacks={trs.attacks.pgd: named}), trs.evaluate(*problem, attacks={"pgd": named})
    assert ours["pgd-2"].outcomes == its["pgd"].outcomes
    few = problem[0], problem[1][:4], problem[2][:4]
    assert trs.evaluate(*few, attacks={trs.attacks.cw: 0.5}) == trs.evaluate(*few, attacks={"cw": 0.5})
    with pytest.raises(trs.UsageError, match="must be an eps, several, a dict of options or a function, got None"):
        trs.evaluate(*few, attacks={trs.attacks.pgd: None})


@pytest.mark.parametrize("eps", [8, "8", 1.01])
def test_an_eps_of_pixels_in_0_255_is_refused(problem, eps):
    with pytest.raises(
        trs.UsageError, match=r"^attacks\['fgsm'\]: eps .* two such images .* further apart than 1: 8 of 255 is 8/255"
    ):
        trs.evaluate(*problem, attacks={"fgsm": eps})
    with pytest.raises(trs.UsageError, match=r"^the attack: eps"):
        trs.transfer_matrix(*problem, eps=eps)
    trs.transfer_matrix(*problem, eps=1.01, norm="l2", steps=1)


def test_an_attack_that_leaves_its_radius_is_warned_of_and_no_worst_case(problem):
    def far(model, x, y, *, eps):
        return (x + 2 * eps).clamp(0, 1)

    with pytest.warns(UserWarning, match=r"^far moved an image by 0.2 in linf, more than its ε 0.1: its figure does not count"):
        rates = trs.evaluate(*problem, attacks={far: 0.1})
    with pytest.raises(trs.UsageError, match=r"^far moved an image by 0.2"):
        trs.worst_case(rates)
