"""The attacks' entries against their functions: what they say of an attack is so, and every hyper-parameter is declared."""

import inspect

import pytest
import torch
from torch import nn

from trs_explorer.attack_catalogue import (
    ATTACK_OPTIONS,
    ATTACKS,
    LOSSES,
    NORMS,
    RADIUS_ATTACKS,
    TRANSFER_ATTACKS,
    Attack,
    check_attack_options,
    options_for,
)
from trs_explorer.attack_labels import Label, parse_label
from trs_explorer.attacks import losses
from trs_explorer.attacks.options import keywords
from trs_explorer.catalogue import load
from trs_explorer.options import UsageError

# What every measurement sets itself, and what an entry fixes.
PLUMBING = {"model", "x", "y", "eps", "targeted", "early_stop", "for_transfer", "generator"}
FIXED = {"apgd-ce": {"loss"}}

every_attack = pytest.mark.parametrize("name", ATTACKS)


@every_attack
def test_the_declared_options_are_the_keywords_of_the_function_and_hold_its_defaults(name: str) -> None:
    entry, function = ATTACKS[name], load(ATTACKS[name].function)
    assert {*entry.options, *FIXED.get(name, ())} == keywords(function) - PLUMBING
    defaults = {p.name: p.default for p in inspect.signature(function).parameters.values()}
    for option in entry.options:
        if defaults.get(option) not in (None, inspect.Parameter.empty):
            assert ATTACK_OPTIONS[option].check(defaults[option]) == defaults[option]
    assert defaults.get("loss", entry.loss) == entry.loss
    assert entry.has_radius == ("eps" in keywords(function)) == ("c" not in entry.options)


def test_every_option_is_of_some_attack_and_losses_and_norms_are_those_there_are() -> None:
    assert {option for entry in ATTACKS.values() for option in entry.options} == set(ATTACK_OPTIONS)
    assert tuple(losses.LOSSES) == LOSSES
    assert all(set(entry.norms) <= set(NORMS) for entry in ATTACKS.values() if entry.has_radius)
    assert {*RADIUS_ATTACKS, "cw", "ead"} == set(ATTACKS)
    assert set(TRANSFER_ATTACKS) < set(RADIUS_ATTACKS)


@pytest.mark.parametrize("name", RADIUS_ATTACKS)
def test_a_single_step_takes_one_gradient_and_the_others_more(name: str) -> None:
    gradients = []

    class Counting(nn.Flatten):
        def forward(self, x):
            if torch.is_grad_enabled():
                gradients.append(len(x))
            return super().forward(x)

    model = nn.Sequential(Counting(), nn.Linear(9, 3))
    model.feature_layers = ("0",)
    x = torch.rand(1, 1, 3, 3)
    few = {"effort": 0.02} if name == "strong" else {"queries": 9} if name == "square" else {}
    load(ATTACKS[name].function)(model, x, model(x).argmax(-1), eps=1e-6, **few)
    assert (len(gradients) == 2) == ATTACKS[name].single_step  # one of them is the label's, above


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("fgsm", Label("fgsm")),
        ("pgd-50", Label("pgd", steps=50)),
        ("pgd-50 x5", Label("pgd", steps=50, restarts=5)),
        ("pgd-margin-4", Label("pgd", "margin", 4)),
        ("apgd-ce-50", Label("apgd-ce", steps=50)),
        ("apgd-dlr-20 x3", Label("apgd-dlr", steps=20, restarts=3)),
        ("cw", Label("cw")),
        ("clean", Label("clean")),
        ("worst of 8", Label("worst of 8")),
        ("of-the-user-30", Label("of-the-user", steps=30)),
        ("", Label("")),
        ("pgd\n50", Label("pgd\n50")),
    ],
)
def test_a_label_says_what_the_attack_was(text: str, label: Label) -> None:
    assert parse_label(text) == label
    assert str(label) == text


def test_the_entry_of_a_label_has_its_loss_and_an_unknown_attack_counts_as_iterated() -> None:
    assert parse_label("fgsm").entry.single_step
    assert parse_label("pgd-50").entry is ATTACKS["pgd"]
    assert parse_label("pgd-dlr-50").entry.loss == "dlr"
    assert parse_label("apgd-dlr-50").entry.loss == "dlr"
    assert not parse_label("mine-50").entry.single_step
    assert parse_label("mine-50").entry.loss == "ce"


@pytest.mark.parametrize(
    ("attacks", "options", "message"),
    [
        (["cw"], {"norm": "l2"}, "--norm l2: cw has no radius"),
        (["cw", "ead"], {"norm": "l2"}, "--norm l2: cw and ead have no radius"),
        (["pgd", "fgsm"], {"confidence": 1.0}, "--confidence: pgd and fgsm take none; cw and ead do"),
        (["fgsm"], {"restarts": 2}, "--restarts: fgsm takes none; pgd, apgd-ce, apgd-dlr, mora, apgd-t and pgd-members do"),
        (["mim"], {"loss": "ce"}, "--loss: mim takes none; pgd, mora, apgd-t and ira do"),
        (["pgd", "mora"], {"loss": "dlr"}, "--loss dlr: mora takes ce or margin"),
        (["pgd"], {"beta": 0.1}, "--beta: pgd takes none; ead does"),
        (["pgd"], {"loss": "mse"}, "--loss: there is no 'mse'. Choose from ce, margin, dlr"),
        (["pgd"], {"step_size": 0.0}, "--step-size must be > 0 and <= 10000000000.0, got 0.0"),
        (["pgd"], {"restarts": 1.5}, "--restarts takes a whole number, got 1.5"),
        (["pgd"], {"step-size": 0.1}, "attack option: there is no 'step-size'. Did you mean step_size?"),
    ],
)
def test_an_option_that_no_attack_takes_or_out_of_range_is_refused_in_words(attacks, options, message) -> None:
    with pytest.raises(UsageError) as refusal:
        check_attack_options(attacks, options)
    assert str(refusal.value).startswith(message)


def test_an_attack_in_a_ball_without_a_norm_searches_the_max_norm_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        monkeypatch.setitem(ATTACKS, name, Attack("", "", ("steps",)))
    for attacks, message in (
        (["one"], "one has no --norm: it searches the max norm"),
        (["pgd", "one", "cw", "two"], "one and two have no --norm: they search the max norm"),
    ):
        with pytest.raises(UsageError) as refusal:
            check_attack_options(attacks, {"norm": "l2"})
        assert str(refusal.value) == f"--norm l2: {message}"
        assert options_for("one", check_attack_options(attacks, {"norm": "linf"})) == {}


def test_an_option_goes_to_the_attacks_that_take_it() -> None:
    options = check_attack_options(["fgsm", "pgd", "cw"], {"norm": "l2", "loss": "margin", "step_size": 1})
    assert options == {"norm": "l2", "loss": "margin", "step_size": 1.0}
    assert options_for("fgsm", options) == {"norm": "l2"}
    assert options_for("pgd", options) == options
    assert options_for("cw", options) == {}
