"""What a method needs of a model is seen on its members, and refused before a folder is made."""

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from custom_code import forgotten, write_mine
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from trs_explorer import plugins, runs
from trs_explorer.catalogue import MODELS
from trs_explorer.catalogue_entries import Entry
from trs_explorer.config import resolve
from trs_explorer.models import Ensemble, build
from trs_explorer.options import UsageError
from trs_explorer.training import train
from trs_explorer.training.model_check import check_model


class Calls(nn.Module):
    """Two layers with whatever function between them."""

    def __init__(self, shape: tuple, classes: int, between) -> None:
        super().__init__()
        self.first, self.last, self.between = nn.Linear(shape[0] * shape[1] * shape[2], 8), nn.Linear(8, classes), between

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.between(self.first(x.clamp(0, 1).flatten(1))))


class Pair(Calls):
    def forward(self, x: torch.Tensor) -> tuple:
        return super().forward(x), x


class Skips(nn.Sequential):
    """Its layers one after another are not what it returns."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + 1


def layers(kind: type, classes: int) -> nn.Sequential:
    relu = nn.ReLU()
    parts = [("flat", nn.Flatten()), ("a", nn.Linear(2, 8)), ("one", relu), ("b", nn.Linear(8, 8)), ("two", relu)]
    made = kind(OrderedDict([*parts, ("c", nn.Linear(8, classes))]))
    made.feature_layers = ("a", "b")
    return made


BETWEEN = {
    "F.relu": F.relu,
    "torch.relu": torch.relu,
    "method": lambda x: x.relu(),
    "in place": lambda x: x.clone().relu_(),
    "clamp": lambda x: x.clamp(min=0),
    "clamp_min": lambda x: x.clamp_min(0),
    "threshold": lambda x: F.threshold(x, 0.0, 0.0),
    "relu6": F.relu6,
    "no layer": lambda x: nn.ReLU()(x),
    "leaky": lambda x: F.leaky_relu(x, 0.1),
    "tanh": torch.tanh,
}
MADE = {
    **{name: lambda shape, classes, name=name: Calls(shape, classes, BETWEEN[name]) for name in BETWEEN},
    "pair": lambda shape, classes: Pair(shape, classes, torch.tanh),
    "wide": lambda shape, classes: Calls(shape, classes + 1, torch.tanh),
    "pixels": lambda shape, classes: nn.Conv2d(3, 4, 3),
    "twice the same relu": lambda shape, classes: layers(nn.Sequential, classes),
    "skips": lambda shape, classes: layers(Skips, classes),
    "one layer": lambda shape, classes: nn.Sequential(nn.Flatten(), nn.Linear(2, classes)),
    "no affine layer": lambda shape, classes: nn.Sequential(nn.Flatten(), nn.LayerNorm(2)),
    "computed weight": lambda shape, classes: nn.Sequential(nn.Flatten(), weight_norm(nn.Linear(2, 8)), nn.Linear(8, classes)),
    "misnamed": lambda shape, classes: _misnamed(layers(nn.Sequential, classes)),
}


def _misnamed(model: nn.Sequential) -> nn.Sequential:
    model.feature_layers = ("a", "z")
    return model


def own(shape: tuple, classes: int) -> nn.Module:
    return MADE[own.kind](shape, classes)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(MODELS, "own", Entry(own, ""))
    return lambda kind: setattr(own, "kind", kind)


def settings(method: str, **more: object) -> dict:
    return {"method": method, "data": "bars", "model": "own", "epochs": 2, **more}


@pytest.mark.parametrize("kind", [*BETWEEN, "twice the same relu"])
def test_gal_refuses_a_plain_relu_that_the_model_calls_itself(model, kind: str) -> None:
    model(kind)
    if kind in ("leaky", "tanh", "twice the same relu"):
        check_model(resolve(settings("gal")))
    else:
        with pytest.raises(UsageError, match="--method gal cannot train --model own: it needs leaky ReLUs, but Calls calls"):
            check_model(resolve(settings("gal")))
    check_model(resolve(settings("standard")))


@pytest.mark.parametrize("method", ["dverge", "fasten", "ckae"])
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("F.relu", "Calls declares no feature layers: set `feature_layers`"),
        ("skips", "member 1 does not return the output of its layers run one after another"),
        ("misnamed", "declares 'z' as a feature layer, but has no layer of that name"),
        ("twice the same relu", ""),
    ],
)
def test_methods_on_features_need_members_that_run_layer_by_layer(model, method: str, kind: str, words: str) -> None:
    model(kind)
    if not words:
        check_model(resolve(settings(method)))
        return
    with pytest.raises(UsageError, match=f"--method {method} cannot train --model own: .*{words}"):
        check_model(resolve(settings(method)))


@pytest.mark.parametrize(
    ("kind", "method", "words"),
    [
        ("one layer", "parl", "it needs a convolution or linear layer before the last one"),
        ("one layer", "lotos", ""),
        ("tanh", "parl", ""),
        ("no affine layer", "lotos", r"its members run no nn\.Conv2d and no nn\.Linear"),
        ("computed weight", "lotos", "the weight of 1 is computed from others"),
        ("computed weight", "parl", "the weight of 1 is computed from others"),
    ],
)
def test_methods_on_layers_need_convolutions_or_linear_layers(model, kind: str, method: str, words: str) -> None:
    model(kind)
    if not words:
        check_model(resolve(settings(method)))
        return
    with pytest.raises(UsageError, match=f"--method {method} cannot train --model own: .*{words}"):
        check_model(resolve(settings(method)))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("pair", r"member F1 must return logits \[batch, class\], got a tuple"),
        ("pixels", "--model own does not take bars, images of 1 x 1 x 2: "),
        ("wide", r"must return 2 logits an image for bars, got \[2, 3\] for 2 images"),
    ],
)
def test_any_model_must_give_logits(model, tmp_path: Path, kind: str, words: str) -> None:
    model(kind)
    with pytest.raises(UsageError, match=words):
        check_model(resolve(settings("standard")))
    run = runs.create(tmp_path / "run", resolve(settings("standard")))
    with pytest.raises(UsageError, match=words):
        next(train(run))


def test_a_model_of_others_that_fails_is_named_with_its_line(tmp_path: Path) -> None:
    lines = ["from torch import nn", "class Net(nn.Module):", " def __init__(self, shape, classes):", "  super().__init__()"]
    lines += ["  self.last = nn.Linear(3, classes)", " def forward(self, x):", "  return self.last(x.flatten(1))"]
    name = f"{write_mine(tmp_path, chr(10).join(lines))}:Net"
    with forgotten():
        plugins.allow("model", name)
        with pytest.raises(UsageError, match=r"does not take bars, .*mine.py, line 7, in forward: RuntimeError: mat1 and mat2"):
            check_model(resolve({"method": "standard", "data": "bars", "model": name}))


def test_members_with_different_outputs_and_tuples_are_refused_in_words() -> None:
    few, many = (nn.Sequential(nn.Flatten(), nn.Linear(2, classes)) for classes in (2, 3))
    with pytest.raises(ValueError, match=r"member F2 must .* got a tensor of shape \[4, 3\]; F1 returned .* \[4, 2\]"):
        Ensemble([few, many]).member_logits(torch.rand(4, 1, 1, 2))
    pair = Pair((1, 1, 2), 2, torch.tanh)
    with pytest.raises(ValueError, match=r"member F2 must return logits \[batch, class\], got a tuple"):
        Ensemble([few, pair])(torch.rand(4, 1, 1, 2))


@pytest.mark.parametrize("method", ["gal", "dverge", "fasten", "ckae", "trs", "adp"])
@pytest.mark.parametrize("kind", ["patch", "small", "lenet"])
def test_the_models_of_the_catalogue_have_what_every_method_needs(method: str, kind: str) -> None:
    check_model(resolve({"method": method, "model": kind}))


def test_a_layers_second_use_is_made_leaky_too(model) -> None:
    model("twice the same relu")
    member = build("own", "bars", 1, seed=0, method="gal").members[0]
    assert not any(isinstance(layer, nn.ReLU) for layer in member)


def test_a_method_of_others_may_keep_something_of_every_image(tmp_path: Path) -> None:
    """Its check too hands it a memory; in the training every image was in one batch of each epoch."""
    lines = ["def counts(ensemble, x, y, *, image_memory, rows):", "    image_memory[rows] += 1"]
    lines += ['    return {"total": ensemble(x).mean()}']
    name = f"{write_mine(tmp_path, chr(10).join(lines))}:counts"
    with forgotten():
        plugins.allow("method", name)
        config = resolve({"method": name, "data": "bars", "epochs": 2})
        assert config.options == {}
        check_model(config)
        run = runs.create(tmp_path / "run", config)
        list(train(run))
        stored = torch.load(run.checkpoints()[-1].state, weights_only=True)["image_memory"]
    assert stored.shape == (300, 1, 1, 2)
    assert (stored == 2).all()
