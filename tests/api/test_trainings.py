"""`trs.train`: the same bits as the command, functions and tensors of a notebook, and a folder that can be used again."""

import json
import signal
from pathlib import Path

import pytest
import torch
from custom_code import forgotten
from safetensors.torch import load_file
from torch import nn

import trs_explorer as trs
from trs_explorer import plugins, runs
from trs_explorer.config import resolve
from trs_explorer.training import loop

FEW = {"members": 2, "epochs": 2, "batch_size": 10, "device": "cpu", "log_every": 1}


class Net(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.layer = nn.Linear(shape[0] * shape[1] * shape[2], classes)

    def forward(self, x):
        return self.layer(x.flatten(1))


def loss(ensemble, x, y, *, weight: float = 1.0):
    return {"mine": torch.tensor(weight), "total": weight * nn.functional.nll_loss(ensemble(x), y)}


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(40, 1, 4, 4, generator=generator)
    return x, (x.flatten(1).mean(1) > 0.5).long()


def steps(events):
    return [event["terms"] for event in events if event["kind"] == "step"]


def test_a_training_is_that_of_the_command_bit_for_bit():
    settings = {"method": "cos-only", "data": "bars", **FEW}
    events = list(trs.train("cos-only", data="bars", out="ours", **FEW))
    run = runs.create("theirs", resolve(settings))
    expected = list(loop.train(run))
    assert steps(events) == steps(expected)
    assert events[-1]["kind"] == "stopped"
    assert events[-1]["state"] == "finished"
    ours, theirs = (json.loads(Path(name, "config.json").read_text()) for name in ("ours", "theirs"))
    assert {**ours, "created": ""} == {**theirs, "created": ""}
    for one, other in zip(trs.load("ours").parameters(), trs.load("theirs").parameters(), strict=True):
        assert torch.equal(one, other)
    assert runs.read_events(runs.open_run("ours")).events == events


def test_functions_and_tensors_of_a_notebook_are_trained_and_loaded(images):
    x, y = images
    training = trs.train(loss, data=((x, y), (x[:6], y[:6])), model=Net, weight=2.0, **FEW)
    assert training.path == Path("checkpoints/loss-" + training.run.config.data + "-1")
    assert {terms["mine"] for terms in steps(training)} == {2.0}
    config = json.loads((training.path / "config.json").read_text())
    assert config["method"] == f"{__name__}:loss"
    assert config["model"] == f"{__name__}:Net"
    assert config["options"] == {"weight": 2.0}
    ensemble = trs.load(training.path)
    assert [type(member) for member in ensemble.members] == [Net, Net]
    assert torch.equal(trs.load_data(training.path)[0], x[:6])
    assert torch.equal(trs.load_data(str(training.path), train=True)[0], x)


def test_a_cell_that_is_run_again_replaces_its_function(images):
    def of_weight(value):
        def loss(ensemble, x, y, *, weight: float = value):
            return {"mine": torch.tensor(weight), "total": weight * nn.functional.nll_loss(ensemble(x), y)}

        return loss

    for value in (1.0, 3.0):
        assert {terms["mine"] for terms in steps(trs.train(of_weight(value), data=images, model=Net, **FEW))} == {value}


def test_bytes_stay_bytes_and_a_fifth_is_held_out(images):
    whole = (images[0] * 255).round().to(torch.uint8)
    said = []
    list(trs.train("standard", data=(whole, images[1]), model=Net, out="run", notify=said.append, **FEW))
    x, y = (torch.cat([train, test]) for train, test in zip(trs.load_data("run", train=True), trs.load_data("run"), strict=True))
    assert len(trs.load_data("run")[0]) == 8
    assert load_file("run/data.safetensors")["x"].dtype == torch.uint8
    assert len(x) == len(y) == 40
    assert {tuple(row) for row in x.flatten(1).tolist()} == {tuple(row) for row in (whole.float() / 255).flatten(1).tolist()}
    assert said
    assert "/" not in said[0]
    assert said[0].endswith("to choose it yourself, pass ((x, y), (x_test, y_test))")


def test_what_a_notebook_defined_cannot_be_found_by_another_process(images, monkeypatch):
    monkeypatch.setattr(loss, "__module__", "__main__")
    list(trs.train(loss, data=images, model=Net, out="run", **FEW))
    with forgotten():
        plugins.allow_runs()
        run = runs.open_run("run")  # a dashboard shows it
        assert run.config.options == {"weight": 1.0}
        assert trs.load("run", allow_code=True)  # what measures it needs its model alone
        with pytest.raises(
            trs.UsageError, match="__main__:loss was defined in a notebook or a script of another process: put it"
        ):
            list(loop.train(run, resume=True))


def test_who_stops_a_training_can_go_on_with_it_to_the_same_weights():
    settings = {**FEW, "epochs": 3}
    whole = trs.train("standard", data="bars", out="whole", **settings)
    list(whole)
    training = trs.train("standard", data="bars", out="parts", **settings)
    for event in training:
        if event.get("step") == 7:
            break  # paused
    assert next(training)["step"] == 8
    training.stop()
    assert "parts, stopped" in repr(training)
    assert runs.open_run("parts").status()["state"] == "stopped"
    assert next(training, None) is None
    resumed = list(trs.train(resume="parts"))
    assert resumed[0]["resumed"]
    for one, other in zip(trs.load("whole").parameters(), trs.load("parts").parameters(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(trs.UsageError, match="parts is finished: nothing is left to train"):
        trs.train(resume="parts")
    with pytest.raises(trs.UsageError, match=r"takes every setting from the run's config.json: drop epochs, out"):
        trs.train(resume="parts", epochs=3, out="x")


def test_an_interrupt_saves_first(images):
    def interrupted(ensemble, x, y, *, at: int = 4):
        seen.append(1)
        if len(seen) == at:
            signal.raise_signal(signal.SIGINT)
        return {"total": nn.functional.nll_loss(ensemble(x), y)}

    seen = []
    training = trs.train(interrupted, data=images, model=Net, out="run", **FEW)
    handler = signal.getsignal(signal.SIGINT)
    kinds = []
    with pytest.raises(KeyboardInterrupt, match=r"saved; go on with trs.train\(resume='run'\)"):
        kinds.extend(event["kind"] for event in training)
    assert runs.open_run("run").status()["state"] == "stopped"
    assert runs.open_run("run").checkpoints()[-1].name == "0000-000002"  # its first two calls were checks
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_training_that_fails_before_it_begins_leaves_nothing(images, monkeypatch):
    training = trs.train("standard", data=images, model=Net, out="run", **FEW)
    assert Path("run/data.safetensors").is_file()

    def broken(*_):
        raise trs.UsageError("no device")

    monkeypatch.setattr(loop, "prepare", broken)
    with pytest.raises(trs.UsageError, match="no device"):
        next(training)
    assert not Path("run").exists()


WRONG = {
    "--epochs must be >= 1, got 0": {"epochs": 0},
    "there is no 'epoch'. Did you mean epochs?": {"epoch": 3},
    "model must be a name or a function or class that builds one member, not a Linear: a new one": {"model": nn.Linear(2, 2)},
    "<lambda> is called as <lambda>(shape, classes), with the shape": {"model": lambda: None},
    "method must be a name or a function that returns loss terms, not a int": {"method": 3},
    "x: images must lie in [0, 1], got [0, 2]": {"data": (2 * torch.eye(4)[:, None, None], [0, 1, 0, 1])},
    "data must be pairs, (images, labels), got 3 parts": {"data": ((1, 2, 3), (1, 2))},
    "data must be (images, labels) or ((images, labels), (test images, test labels)), got 3 parts": {"data": (1, 2, 3)},
    "data must be a name or a path, (images, labels) or a function data(train), not a int": {"data": 3},
    "data has one image per class: no test split can be held out": {"data": (torch.rand(2, 1, 4, 4), [0, 1])},
}


@pytest.mark.parametrize("text", WRONG)
def test_what_cannot_be_trained_is_said_and_nothing_is_made(text):
    with pytest.raises(trs.UsageError) as error:
        trs.train(**{"method": "standard", "data": "bars", "out": "run", **WRONG[text]})
    assert text in str(error.value)
    assert not list(Path().iterdir())


def test_a_function_that_fails_is_named_with_its_line(images):
    def fails(ensemble, x, y):
        return {"total": nothing}

    with pytest.raises(trs.UsageError, match=r"test_trainings.py, line \d+, in fails: NameError: name 'nothing' is not defined"):
        trs.train(fails, data=images, model=Net, out="run", **FEW)
    assert not Path("run").exists()


def test_a_folder_that_is_taken_is_refused_at_once():
    Path("taken").mkdir()
    Path("taken/file").write_text("kept")
    with pytest.raises(trs.RunError, match="taken exists and is not empty"):
        trs.train("standard", data="bars", out="taken")


def test_an_ensemble_of_a_notebook_becomes_a_run(images):
    members = [nn.Sequential(Net((1, 4, 4), 2), nn.Softmax(-1)), *(Net((1, 4, 4), 2) for _ in range(2))]

    def trained():
        return members

    said = []
    path = trs.import_run(trained, data=lambda train: images, out="run", notify=said.append)
    found = trs.load(path)
    assert len(found) == 3
    assert torch.equal(found.member_logits(images[0]), trs.Ensemble(members).eval().member_logits(images[0]))
    assert [text for text in said if "probabilities" in text and text.startswith("warning: F1: ")]
    with pytest.raises(trs.UsageError, match="make_ensemble must be a function that returns the members, or its name, not a Net"):
        trs.import_run(members[1], data="mnist", out="other")
    with pytest.raises(trs.UsageError, match="'mnist-trs' names no code"):
        trs.import_run("mnist-trs", data="mnist", out="other")
