"""What is refused, in which words; and that the catalogue knows every attack."""

import dataclasses
import functools
import importlib
import inspect
import pkgutil

import pytest
import torch
from torch import nn

import trs_explorer.attacks
from trs_explorer.attack_catalogue import ATTACKS, TRANSFER_ATTACKS
from trs_explorer.attacks import checks
from trs_explorer.attacks.fgsm import fgsm
from trs_explorer.attacks.options import AttackOptions, CommonOptions, keywords, transfer_kwargs
from trs_explorer.attacks.pgd import pgd
from trs_explorer.catalogue import load

MODEL = nn.Sequential(nn.Flatten(), nn.Linear(9, 3))
MODEL.feature_layers = ("0",)
VALUE = {True: {"eps": 0.1}, False: {"c": 1.0}}  # by whether an attack has a radius


@pytest.mark.parametrize("attack", [fgsm, pgd])
@pytest.mark.parametrize(
    ("x", "y", "eps", "message"),
    [
        (torch.tensor([-1.7, 2.5]), 0, 0.1, r"images must lie in \[0, 1\], got \[-1.7, 2.5\]: put normalisation in the model"),
        (torch.tensor([0.5, torch.nan]), 0, 0.1, "1 of 2 have NaN pixels"),
        (torch.tensor([0.5, 0.5]), 3, 0.1, r"labels must lie in \[0, 2\] for a model of 3 classes, got \[0, 3\]"),
        (torch.tensor([0.5, 0.5]), -1, 0.1, r"labels must lie in \[0, 2\]"),
        (torch.tensor([0.5, 0.5]), 0, -0.1, "eps must be a finite radius >= 0"),
        (torch.tensor([0.5, 0.5]), 0, float("nan"), "eps must be"),
        (torch.tensor([0.5, 0.5]), 0, float("inf"), "eps must be"),
    ],
)
def test_bad_inputs_are_refused_in_words(attack, x, y, eps, message):
    images = x.view(2, 1, 1, 1).expand(2, 1, 3, 3).clone()
    with pytest.raises(ValueError, match=message):
        attack(MODEL, images, torch.tensor([0, y]), eps=eps)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be >= 1, got 0"),
        ({"restarts": 0}, "restarts must be >= 1"),
        ({"restarts": 2, "random_start": False}, "set restarts=1"),
        ({"step_size": 0.0}, "step_size must be"),
        ({"step_size": float("nan")}, "step_size must be"),
        ({"norm": "l1"}, "norm must be one of linf, l2, got 'l1'"),
    ],
)
def test_bad_options_of_pgd_are_refused_in_words(options, message):
    x, y = torch.rand(2, 1, 3, 3), torch.tensor([0, 1])
    with pytest.raises(ValueError, match=message):
        pgd(MODEL, x, y, eps=0.1, **options)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.zeros(2, 1, 3, 3, dtype=torch.uint8), torch.zeros(2, dtype=torch.long), "divide bytes by 255"),
        (torch.zeros(2, 1, 3, 3), torch.zeros(3, dtype=torch.long), "one label an image"),
        (torch.zeros(2, 1, 3, 3), torch.zeros(2, 3, dtype=torch.long), "one label an image"),
        (torch.zeros(2, 1, 3, 3), torch.zeros(2), "labels must be whole numbers"),
    ],
)
def test_images_and_labels_must_fit(x, y, message):
    with pytest.raises(ValueError, match=message):
        checks.check_images(x, y)


def test_a_model_must_return_one_row_an_image():
    x, y = torch.rand(2, 1, 3, 3), torch.tensor([0, 1])
    with pytest.raises(ValueError, match=r"must return \[batch, class\]"):
        fgsm(nn.Flatten(0), x, y, eps=0.1)


def is_attack(function):
    """Whether its signature is the contract's."""
    names = list(inspect.signature(function).parameters)
    return names[:3] == ["model", "x", "y"] and {"targeted", "generator"} <= keywords(function)


def test_every_attack_is_in_the_catalogue_and_keeps_the_contract():
    written = set()
    for info in pkgutil.iter_modules(trs_explorer.attacks.__path__):
        module = importlib.import_module(f"trs_explorer.attacks.{info.name}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and not name.startswith("_") and is_attack(function):
                written.add(f"{module.__name__}:{name}")
    assert written == {entry.function for entry in ATTACKS.values()}
    for entry in ATTACKS.values():
        function = load(entry.function)
        assert {"targeted", "generator"} <= keywords(function)
        assert len({"eps", "c"} & keywords(function)) == 1
        parameters = inspect.signature(function).parameters
        kinds = {p.kind for name, p in parameters.items() if name not in ("model", "x", "y")}
        assert kinds <= {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_option_that_there_is_not_is_refused(name):
    x, y = torch.rand(2, 1, 3, 3), torch.tensor([0, 1])
    with pytest.raises(TypeError, match="unexpected keyword argument 'momentun'"):
        load(ATTACKS[name].function)(MODEL, x, y, momentun=1.0, **VALUE[ATTACKS[name].has_radius])


def test_the_shared_options_are_the_fields_of_the_search_with_its_types():
    fields = {field.name: field.type for field in dataclasses.fields(AttackOptions)}
    assert CommonOptions.__annotations__.items() <= fields.items()
    assert {"eps", "steps", "step_size", "restarts", "random_start"} == fields.keys() - CommonOptions.__annotations__.keys()


def test_the_keywords_of_an_attack_hold_the_shared_options_only_where_it_takes_them():
    def of_the_user(model, x, y, *, eps, generator=None, **others):
        return x

    shared = set(CommonOptions.__annotations__)
    assert keywords(pgd) == {"model", "x", "y", "eps", "steps", "step_size", "restarts", "random_start", "loss"} | shared
    assert keywords(functools.partial(pgd, norm="l2", steps=3)) == keywords(pgd)
    assert keywords(of_the_user) == {"model", "x", "y", "eps", "generator"}
    assert transfer_kwargs(of_the_user, for_transfer=True) == {}
    assert transfer_kwargs(pgd) == {"early_stop": False}
    assert transfer_kwargs(functools.partial(pgd, steps=3), for_transfer=True) == {"for_transfer": True}
    assert transfer_kwargs(fgsm) == {}


def test_attacks_made_for_transfer_stand_apart_and_can_be_told_that_they_are():
    assert {"di2", "mdi2", "ila", "ira"} <= set(TRANSFER_ATTACKS)
    for name in TRANSFER_ATTACKS:
        assert {"eps", "steps", "for_transfer"} <= keywords(load(ATTACKS[name].function))
