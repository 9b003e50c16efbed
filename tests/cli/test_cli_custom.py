"""Own methods, models, attacks, data and ensembles, named on the command line; and code of others that must not run."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from custom_code import MINE, forgotten, write_mine
from safetensors.torch import load_file

from trs_explorer import plugins, runs
from trs_explorer.results import read_results
from trs_explorer.shipped import python_m

TRAIN = ("train", "--plain", "--epochs", 2, "--device", "cpu", "--members", 2, "--data", "bars")


@pytest.fixture(autouse=True)
def mine(tmp_path: Path) -> Path:
    return write_mine(tmp_path)


@pytest.fixture
def trs(trs: Callable[..., Any]) -> Callable[..., Any]:
    """Every call is as one of a new process: nothing is allowed yet."""

    def call(*arguments: object) -> Any:
        with forgotten():
            return trs(*arguments)

    return call


@pytest.fixture(scope="module")
def custom_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of an own method on an own model and data."""
    from trs_explorer.config import resolve
    from trs_explorer.data.custom import describe
    from trs_explorer.training import train

    folder = tmp_path_factory.mktemp("own")
    path = write_mine(folder)
    with forgotten():
        for kind, name in (("method", "spread"), ("model", "Net"), ("data", "points")):
            plugins.allow(kind, f"{path}:{name}")
        own = describe(f"{path}:points")
        settings = {"data": own.name, "data_dir": own.place, "epochs": 2, "batch_size": 16, "device": "cpu", "members": 2}
        config = resolve({"method": f"{path}:spread", "model": f"{path}:Net", "weight": 0.25, **settings})
        run = runs.create(folder / "run", config)
        for _ in train(run):
            pass
    return folder


@pytest.fixture
def run(custom_run: Path, tmp_path: Path) -> Path:
    """A copy of it: its config names the files where they were made."""
    return Path(shutil.copytree(custom_run / "run", tmp_path / "run"))


def events(run: Path, kind: str) -> list[dict]:
    return [event for event in runs.read_events(runs.Run(run, None)).events if event["kind"] == kind]  # type: ignore[arg-type]


def test_an_own_method_is_trained_with_its_options_and_its_terms_are_logged(trs, mine: Path) -> None:
    shown = trs(*TRAIN, "--method", "mine.py:spread", "--model", "mine.py:Net", "--weight", 0.5, "--out", "run", "--log-every", 1)
    assert shown.status == 0, shown.err
    assert "imported" not in shown.out
    assert shown.err == "imported\n"
    config = json.loads(Path("run/config.json").read_text())
    assert config["method"] == f"{mine}:spread"
    assert config["model"] == f"{mine}:Net"
    assert config["options"] == {"weight": 0.5, "kind": "variance"}
    step = events(Path("run"), "step")[-1]
    assert {"total", "ce", "spread"} <= set(step["terms"])
    assert shown.out.startswith("mine.py:spread: 2 x mine.py:Net on bars")


def test_with_json_nothing_but_events_is_on_stdout(trs, mine: Path) -> None:
    mine.write_text(
        "def f(ensemble, x, y):\n    print('a step')\n    return {'total': ensemble.member_logits(x).square().mean()}\n"
    )
    flags = ("train", "--json", "--epochs", 2, "--device", "cpu", "--members", 2, "--data", "bars")
    shown = trs(*flags, "--method", "mine.py:f", "--out", "run")
    assert shown.status == 0
    assert [json.loads(line)["kind"] for line in shown.out.splitlines()][-1] == "stopped"
    assert "a step" in shown.err


def test_its_options_are_flags_shown_by_help_and_checked(trs) -> None:
    shown = trs("train", "--method", "mine.py:spread", "--help")
    assert shown.status == 0
    assert "Options of mine.py:spread" in shown.out
    assert "weight of the disagreement" in shown.out
    assert "weight of the disagreement" not in trs("train", "--help").out
    for flags, words in (
        (("--weight", -1), "--weight must be >= 0, got -1"),
        (("--weight", "x"), "--weight takes numbers"),
        (("--kind", "range"), "--kind: there is no 'range'. Did you mean variance? Choose from variance, none"),
        (("--wieght", 1), "No such option: --wieght"),
        (("--lambda-a", 1), "mine.py:spread has no --lambda-a; its options: --weight, --kind"),
    ):
        shown = trs(*TRAIN, "--method", "mine.py:spread", "--out", "run", *flags)
        assert (shown.status, shown.err.count("\n")) == (2, 1 + ("imported\n" in shown.err))
        assert words in shown.err
    assert not Path("run").exists()


def test_a_toml_file_names_and_sets_them(trs) -> None:
    Path("mine.toml").write_text('method = "mine.py:spread"\nweight = 0.75\n')
    shown = trs(*TRAIN, "--config", "mine.toml", "--kind", "none", "--out", "run")
    assert shown.status == 0, shown.err
    assert json.loads(Path("run/config.json").read_text())["options"] == {"weight": 0.75, "kind": "none"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('def f(ensemble, x, y):\n    return {"total": nothing}\n', "mine.py, line 2, in f: NameError: name 'nothing'"),
        ("def f(ensemble, x, y):\n    return x\n", 'mine.py:f must return a dict of loss terms with "total", it returned Tensor'),
        ('def f(ensemble, x, y):\n    return {"total": 3.0}\n', "its term 'total' must be a tensor of one number, got float"),
        ('def f(ensemble, x, y):\n    return {"total": x}\n', "its term 'total' must be a tensor of one number, got shape [2, 1"),
        ('def f(ensemble, x, y):\n    return {"total": x.sum()}\n', 'its "total" does not depend on the members'),
        ("def f(ensemble, x, y, *, epochs=3): pass\n", "mine.py:f: its parameter epochs has the name of a setting of trs"),
        ("def f(ensemble, x, y, *, a): pass\n", "mine.py:f: its parameter a needs a default"),
        ("f = 3\n", "a method is a function of an ensemble, images and labels, not a int"),
    ],
)
def test_a_method_that_fails_is_named_with_its_line_before_a_folder_is_made(trs, mine: Path, text: str, words: str) -> None:
    mine.write_text(text)
    shown = trs(*TRAIN, "--method", "mine.py:f", "--out", "run")
    assert (shown.status, shown.err.count("\n")) == (2, 1)
    assert words in shown.err
    assert not Path("run").exists()


def test_one_that_fails_later_leaves_a_log_that_says_where(trs, mine: Path) -> None:
    mine.write_text(
        "def f(ensemble, x, y, *, progress):\n"
        "    if progress > 0.4:\n"
        "        raise KeyError('later')\n"
        "    return {'total': ensemble.member_logits(x).square().mean()}\n"
    )
    shown = trs(*TRAIN, "--method", "mine.py:f", "--out", "run")
    assert shown.status == 1
    assert shown.err == f"trs: {mine}, line 3, in f: KeyError: 'later'\n"
    assert events(Path("run"), "stopped")[-1]["error"] == f"{mine}, line 3, in f: KeyError: 'later'"


# --- runs of code of others ------------------------------------------------------------------------------------------


def test_a_run_s_code_runs_only_with_allow_code(trs, run: Path, custom_run: Path) -> None:
    (custom_run / "mine.py").write_text(MINE + f"\nopen({str(custom_run / 'ran')!r}, 'w').close()\n")
    commands = (
        ("evaluate", run, "--limit", 5, "--attacks", "fgsm"),
        ("transfer", run, "--limit", 5),
        ("blackbox", run, "--limit", 5, "--surrogates", run),
        ("compare", run),
        ("train", "--resume", run, "--plain"),
    )
    for command in commands:
        shown = trs(*command)
        assert shown.status in (1, 2), command
        assert "code of others" in shown.err or "is finished" in shown.err
    assert not (custom_run / "ran").exists()
    shown = trs(*commands[0], "--allow-code")
    assert shown.status == 0, shown.err
    assert (custom_run / "ran").exists()


def test_what_the_command_itself_names_is_allowed_and_nothing_else(trs, run: Path) -> None:
    shown = trs("evaluate", run, "--limit", 5, "--attacks", "mine.py:right")
    assert shown.status == 2
    assert "code of others" in shown.err


def test_its_figures_are_those_of_the_attack(trs, run: Path, tmp_path: Path) -> None:
    """It moves every point to the right by share * eps: a point is fooled if the ensemble thinks otherwise there."""
    command = ("evaluate", run, "--limit", 20, "--attacks", "fgsm,mine.py:right", "--eps", 0.25, "--allow-code")
    shown = trs(*command, "--share", 0.5)
    assert shown.status == 0, shown.err
    result = read_results(runs.open_run(run), "evaluate")[0]
    assert [rate["name"] for rate in result["rates"]] == ["clean", "fgsm", "mine.py:right"]
    from trs_explorer import data
    from trs_explorer.models.stored import load_ensemble

    with forgotten():
        plugins.allow_runs()
        opened = runs.open_run(run)
        ensemble, _ = load_ensemble(opened)
        test = data.load_for(opened, train=False)
    x = test.images(slice(None)).clone()
    x[..., 0] += 0.125
    expected = (ensemble(x.clamp(0, 1)).argmax(-1) == test.y).tolist()
    assert result["rates"][2]["outcomes"] == expected
    assert result["options"]["share"] == 0.5
    digest = hashlib.sha256((tmp_path / "mine.py").read_bytes()).hexdigest()
    assert result["code"]["mine.py:right"] == digest
    assert set(result["code"]) == {"mine.py:right", "mine.py:Net", "mine.py:spread", "mine.py:points"}
    assert "trs: --share must be > 0 and <= 1, got 2" in trs(*command, "--share", 2).err


def test_steps_reach_an_own_attack_only_if_they_are_given(trs, run: Path, mine: Path) -> None:
    mine.write_text("def walk(model, x, y, *, eps, steps: int = 3):\n    print('steps', steps)\n    return x + 0\n")
    command = ("evaluate", run, "--limit", 5, "--attacks", "mine.py:walk", "--eps", 0.1, "--allow-code")
    for flags, steps in (((), 3), (("--steps", 50), 50), (("--steps", 9), 9)):
        assert f"steps {steps}" in trs(*command, *flags).out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def f(model, x, y, *, eps): return x + undefined\n", "mine.py, line 1, in f: NameError: name 'undefined'"),
        ("def f(model, x, y, *, eps): return x - 2\n", "mine.py:f returned images in [-1.9"),
        ("def f(model, x, y, *, eps): return x[:1]\n", "mine.py:f must return adversarial images of shape"),
        ("def f(model, x, y): return x\n", "an attack is a function of a model, images and labels, with the parameter eps"),
        ("def f(model, x, y, *, eps, seed: int = 3): return x\n", "its parameter seed has the name of a flag of trs"),
    ],
)
def test_an_attack_that_fails_is_named(trs, run: Path, mine: Path, text: str, words: str) -> None:
    mine.write_text(text)
    shown = trs("evaluate", run, "--limit", 5, "--attacks", "pgd,mine.py:f", "--steps", 2, "--eps", 0.1, "--allow-code")
    assert shown.status in (1, 2)
    assert words in shown.err
    assert "Traceback" not in shown.err


def test_transfer_and_blackbox_take_an_own_attack_too(trs, run: Path, trained: Path) -> None:
    shown = trs("transfer", run, "--limit", 20, "--attack", "mine.py:right", "--eps", 0.2, "--share", 0.5, "--allow-code")
    assert shown.status == 0, shown.err
    result = read_results(runs.open_run(run), "transfer")[0]
    assert (result["attack"], result["options"]) == ("mine.py:right", {"share": 0.5})
    targeted = trs("transfer", run, "--attack", "mine.py:right", "--targeted", "--eps", 0.2, "--allow-code")
    assert (targeted.status, "can be measured untargeted only" in targeted.err) == (2, True)
    other = trs("blackbox", trained, "--limit", 5, "--attacks", "mine.py:right", "--eps", 0.2, "--surrogates", trained)
    assert "is one of its own surrogates" in other.err


# --- own data and ensembles of others --------------------------------------------------------------------------------


def write_points(path: Path, **more: object) -> None:
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, (60, 1, 1, 2), dtype=np.uint8)
    y = (x[:, 0, 0, 0] > 127).astype(np.int64)
    np.savez(path, x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:], **more)


def test_a_file_of_one_s_own_is_trained_on_and_known_by_its_content(trs) -> None:
    write_points(Path("mine.npz"), class_names=np.array(["left", "right"]))
    shown = trs("train", "--plain", "--epochs", 2, "--members", 2, "--model", "mlp", "--data", "mine.npz", "--out", "run")
    assert shown.status == 0, shown.err
    config = json.loads(Path("run/config.json").read_text())
    assert config["data"].startswith("mine-")
    assert config["data_dir"] == str(Path("mine.npz").resolve())
    assert config["custom_data"] == {"shape": [1, 1, 2], "class_names": ["left", "right"]}
    shown = trs("evaluate", "run", "--limit", 10, "--attacks", "fgsm")
    assert shown.status == 0, shown.err
    Path("moved").mkdir()
    Path("mine.npz").rename("moved/mine.npz")
    assert "mine.npz" in trs("evaluate", "run", "--limit", 10, "--attacks", "fgsm").err
    assert trs("evaluate", "run", "--limit", 10, "--attacks", "fgsm", "--data-dir", "moved/mine.npz").status == 0
    write_points(Path("mine.npz"))
    values = dict(np.load("mine.npz"))
    np.savez("mine.npz", **{**values, "x_test": values["x_test"][::-1]})
    changed = trs("evaluate", "run", "--limit", 10, "--attacks", "fgsm")
    assert changed.status == 2
    assert "is not the one of this run (the SHA-256 of its test split differs)" in changed.err


def test_import_makes_a_run_of_the_weights_that_the_function_returns(trs, tmp_path: Path) -> None:
    shown = trs("import", "mine.py:make_ensemble", "--data", "mine.py:points", "--out", "run")
    assert shown.status == 0, shown.err
    assert ": it classifies " in shown.err  # it was never trained
    assert "warning: F1, F2, F3 came in training mode" in shown.err
    assert re.search(r"^F3: \d+ of 20 test images correct, \d+\.\d % \(", shown.err, re.MULTILINE)
    assert shown.out.startswith("3 members of mine.py:make_ensemble, on points-")
    run = runs.open_run(tmp_path / "run")
    assert (run.config.method, run.config.members) == ("imported", 3)
    weights = load_file(run.checkpoints()[0].weights)
    torch.manual_seed(0)
    namespace: dict = {}
    exec(MINE, namespace)
    torch.manual_seed(0)
    expected = namespace["make_ensemble"]()
    assert all(torch.equal(weights[f"members.{k}.out.weight"], one.out.weight) for k, one in enumerate(expected))
    assert run.status()["state"] == "finished"
    assert trs("evaluate", "run", "--limit", 10, "--attacks", "fgsm").status == 2
    shown = trs("transfer", "run", "--limit", 10, "--allow-code")
    assert shown.status == 0, shown.err
    resumed = trs("train", "--resume", "run")
    assert resumed.status == 2
    assert "nothing is left to train" in resumed.err


@pytest.mark.slow
def test_an_imported_run_is_measured_by_every_command(trs) -> None:
    assert trs("import", "mine.py:make_ensemble", "--data", "mine.py:points", "--out", "run").status == 0
    for command in ("evaluate", "transfer", "compare"):
        shown = trs(command, "run", "--limit", 10, "--allow-code")
        assert shown.status == 0, shown.err


FEW = """
import torch

def make():
    return [torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 4))]

def of(labels):
    return torch.linspace(0, 1, 40).reshape(20, 1, 1, 2), torch.arange(20) % (max(labels) - min(labels) + 1) + min(labels)

def from_one(train):
    return of([1, 4])

def two_of_four(train):
    return of([0, 1])

def seven(train):
    return of([0, 6])
"""


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("import", "mine.py:make_ensemble"), "give the data that the ensemble classifies as --data"),
        (("import", "weights.pt", "--data", "bars"), "'weights.pt' names no code: give file.py:function, or files with --layout"),
        (("import", "a.py:f", "b.py:g", "--data", "bars"), "takes one FILE.py:make_ensemble, got 2"),
        (
            ("import", "mine.py:make_ensemble", "--data", "mnist"),
            "mine.py:make_ensemble fails on images of 1 x 28 x 28, which the data has: ",
        ),
        (("import", "mine.py:points", "--data", "bars"), "missing 1 required positional argument"),
        (("import", "x.pth", "--layout", "nosuch"), "--layout: there is no 'nosuch'. Choose from trs, dverge, adp, gal"),
        (("import", "mine.py:make_ensemble", "--data", "bars", "--out", "."), "exists and is not empty"),
        (("import", "few.py:make", "--data", "few.py:from_one"), "are the data's labels counted from 1? Subtract 1"),
        (("import", "few.py:make", "--data", "few.py:two_of_four"), "has images of some classes only, name all 4 (class_names"),
        (
            ("import", "few.py:make", "--data", "few.py:seven"),
            "for 2 images: is this the data that it was trained on?",
        ),
        (("import", "mine.py:make_ensemble", "--data", "nosuch"), "--data: there is no 'nosuch'"),
        (("import", "mine.py:make_ensemble", "--data", "nosuch.npz"), "nosuch.npz"),
    ],
)
def test_what_cannot_be_imported_is_said_and_leaves_nothing(trs, command: tuple, words: str) -> None:
    Path("few.py").write_text(FEW)
    shown = trs(*command)
    assert shown.status in (1, 2)
    assert words in shown.err
    assert not Path("checkpoints").exists() or not any(Path("checkpoints").iterdir())


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package that adds a method, a model and an attack."""
    site = tmp_path / "site"
    (site / "their_own-1.0.dist-info").mkdir(parents=True)
    (site / "their_own-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: their-own\nVersion: 1.0\n")
    names = {"method.apart": "spread", "model.tiny": "Net", "attack.slide": "right", "data.dots": "points"}
    points = "[trs_explorer]\n" + "".join(f"{name} = their_own:{made}\n" for name, made in names.items())
    (site / "their_own-1.0.dist-info" / "entry_points.txt").write_text(points)
    (site / "their_own.py").write_text(MINE)
    monkeypatch.setattr(sys, "path", [*sys.path, str(site)])
    monkeypatch.delitem(sys.modules, "their_own", raising=False)
    return site


@pytest.mark.slow
def test_installed_packages_add_names_to_help(package: Path) -> None:
    """In processes of their own: help is written when the command is imported. None of their code runs for it."""
    (package / "their_own.py").write_text("raise SystemExit('it has run')\n")
    environment = {**os.environ, "PYTHONPATH": str(package), "COLUMNS": "200"}
    for command, words in (
        ("train", ["gradient-boost, apart, or your own", "mlp, tiny, or your own"]),
        ("evaluate", ["ira, slide; table1"]),
    ):
        arguments = [*python_m("trs_explorer"), command, "--help"]
        shown = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=60)
        assert shown.returncode == 0, shown.stderr
        text = " ".join(shown.stdout.replace("│", " ").split())  # as one line
        assert all(one in text for one in words)


def test_what_installed_packages_add_is_used_by_its_name(trs, package: Path) -> None:
    assert "weight of the disagreement" in trs("train", "--method", "apart", "--help").out
    flags = ("--data", "bars", "--plain", "--epochs", 2, "--members", 2, "--out", "run", "--device", "cpu")
    trained = trs("train", "--method", "apart", "--model", "tiny", "--weight", 0.5, *flags)
    assert trained.status == 0, trained.err
    assert "tiny is code of others" in trs("evaluate", "run", "--limit", 5).err
    shown = trs("evaluate", "run", "--limit", 5, "--attacks", "slide", "--share", 0.5, "--allow-code")
    assert shown.status == 0, shown.err
    assert "slide" in shown.out


TRAINING = ("train", "--plain", "--epochs", 1, "--members", 2, "--model", "mlp", "--method", "standard", "--out", "run")


@pytest.mark.parametrize("name", ["dots", "their_own:points"])
def test_data_of_an_installed_package_is_found_again(trs, package: Path, name: str) -> None:
    trained = trs(*TRAINING, "--data", name)
    assert trained.status == 0, trained.err
    assert json.loads(Path("run/config.json").read_text())["data_dir"] == name
    shown = trs("evaluate", "run", "--limit", 5, "--attacks", "fgsm", "--allow-code")
    assert shown.status == 0, shown.err


def test_data_code_that_has_moved_is_named_by_data_dir(trs, mine: Path, tmp_path: Path) -> None:
    assert trs(*TRAINING, "--data", "mine.py:points").status == 0
    (tmp_path / "moved").mkdir()
    mine.rename(tmp_path / "moved" / "mine.py")
    command = ("evaluate", "run", "--limit", 5, "--attacks", "fgsm")
    assert trs(*command, "--allow-code").status == 2
    shown = trs(*command, "--data-dir", "moved/mine.py:points")  # naming it is permission
    assert shown.status == 0, shown.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "import torch\ndef f(train): return torch.rand(8, 1, 1, 2), torch.arange(8) % 2\n",
            "returns other images each time: seed",
        ),
        ("def f(train): return [], []\n", "--data mine.py:f: "),
        ("def f(train): return undefined\n", "mine.py, line 1, in f: NameError"),
        ("def f(): return 1\n", "--data mine.py:f must take one argument: data(train) -> (images, labels)"),
        ("from numpy import *\ndef f(train): return ones((6, 1, 1, 2)) * 255, arange(6) % 2\n", "divide by 255"),
        ("from numpy import *\ndef f(train): return full((6, 1, 1, 2), nan), arange(6) % 2\n", "image 0 holds NaN or infinity"),
        ("from numpy import *\ndef f(train): return ones((6, 1, 1, 2)), arange(5) % 2\n", "returns 6 images but 5 labels"),
        ("from numpy import *\ndef f(train): return ones((6, 1, 1, 2)), arange(6), 'ab'\n", "2 classes, but a label is 5"),
        ("from numpy import *\ndef f(train): return [ones((1, 1, 2)), ones((1, 2, 2))], [0, 1]\n", "its images are no array"),
        (
            "from torch import *\ndef f(train): return [(ones(1, 1, 2), 0), (ones(1, 2, 2), 1)]\n",
            "must return pairs",
        ),
        ("f = 3\n", "it must be a function, data(train) -> (images, labels), not a int"),
    ],
)
def test_data_code_that_cannot_be_used_is_refused_in_words(trs, mine: Path, text: str, words: str) -> None:
    mine.write_text(text)
    shown = trs(*TRAINING, "--data", "mine.py:f")
    assert (shown.status, Path("run").exists()) == (2, False)
    assert words in shown.err


def test_weights_that_do_not_fit_are_named_and_one_member_is_an_ensemble_too(trs, mine: Path) -> None:
    mine.write_text(MINE.replace("return [Net((1, 1, 2), 2) for _ in range(3)]", "return Net((1, 1, 2), 2)"))
    assert trs("import", "mine.py:make_ensemble", "--data", "bars", "--out", "run").status == 0
    shown = trs("evaluate", "run", "--limit", 5, "--attacks", "fgsm", "--allow-code")
    assert shown.status == 0, shown.err
    assert "already" not in trs("transfer", "run", "--limit", 5, "--steps", 2, "--allow-code").err
    mine.write_text(MINE.replace("return [Net(", "Net((1, 1, 2), 2).load_state_dict({'other': torch.ones(1)})\n    return [Net("))
    shown = trs("import", "mine.py:make_ensemble", "--data", "bars", "--out", "other")
    assert "in make_ensemble: RuntimeError: Error(s) in loading state_dict for Net: Missing key(s)" in shown.err
    assert '"other"' in shown.err
