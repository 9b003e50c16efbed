"""What a training writes, obeys and refuses."""

import copy
import functools
import json
import math
import signal
import threading

import pytest
import torch

from trs_explorer import runs
from trs_explorer.catalogue import METHODS
from trs_explorer.config import resolve
from trs_explorer.defences import trs as trs_module
from trs_explorer.models import build
from trs_explorer.models.stored import load_ensemble
from trs_explorer.training import TrainingError, train
from trs_explorer.training.parallel import parts_for, terms_and_gradients
from trs_explorer.training.state import prepare
from trs_explorer.training.steps import epoch_orders, learning_rate, training_step

PLANE = {"data": "bars", "epochs": 4, "save_every": 2, "probe_every": 2, "batch_size": 100, "inner_steps": 1, "log_every": 1}


def plane_for(method: str) -> dict:
    return {name: value for name, value in PLANE.items() if name != "inner_steps" or "inner_steps" in METHODS[method].defaults}


@pytest.fixture(scope="module")
def standard_bars(tmp_path_factory) -> str:
    run = runs.create(tmp_path_factory.mktemp("start") / "standard", resolve({**plane_for("standard"), "method": "standard"}))
    list(train(run))
    return str(run.path)


IN_THE_PLANE = [method for method in METHODS if method != "adp"]  # which needs three classes


@pytest.mark.parametrize("method", IN_THE_PLANE)
def test_every_method_trains_and_its_terms_sum_to_its_total(tmp_path, method, standard_bars):
    start = {"start_from": standard_bars} if METHODS[method].trained_start else {}
    run = runs.create(tmp_path / "run", resolve({**plane_for(method), **start, "method": method}))
    events = list(train(run))
    assert events == runs.read_events(run).events
    steps = [event for event in events if event["kind"] == "step"]
    assert [event["step"] for event in steps] == list(range(1, 13))
    for event in steps:
        terms = dict(event["terms"])
        assert terms.pop("total") == pytest.approx(sum(terms.values()), rel=1e-4, abs=2e-6)  # six digits each
    assert [event["epoch"] for event in events if event["kind"] == "matrix"] == [2, 4]
    assert events[-1]["state"] == "finished"
    assert set(steps[0]["terms"]) - {"total", "ce"} or method in ("standard", "adaboost")


LENET = pytest.param("lenet", "cos-l2", marks=pytest.mark.slow)
RESNET = pytest.param("resnet20", "smooth-only", marks=pytest.mark.slow)  # as long as twenty other tests


@pytest.mark.parametrize(("model", "method"), [("small", "trs"), LENET, RESNET])
def test_image_models_train(tmp_path, model, method):
    settings = {"model": model, "method": method, "limit": 8, "batch_size": 4, "epochs": 1, "members": 2, "inner_steps": 1}
    run = runs.create(tmp_path / "run", resolve(settings))
    assert list(train(run))[-1]["state"] == "finished"


@pytest.mark.parametrize("threads", [1, 2])
def test_a_step_is_what_a_plain_loop_does(tmp_path, threads):
    """Three steps against zero_grad, backward, clip, unfused Adam: catches gradients that reach the optimiser garbled."""
    settings = {"method": "cos-l2", "limit": 384, "epochs": 1, "precision": "float32", "warmup": 0.0}
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        state = prepare(runs.create(tmp_path / "run", resolve(settings)))
        assert state.parts == threads
        plain = copy.deepcopy(state.ensemble)
        optimizer = torch.optim.Adam(plain.parameters(), lr=3e-3, fused=False)
        orders = epoch_orders(state)
        for k in range(state.steps):
            batch = orders[:, k * 128 : (k + 1) * 128]
            chosen = batch[0]
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(state.run.config, k, state.steps)
            x, y = state.images.images(chosen), state.images.y[chosen]
            terms = trs_module.trs(plain, x, y, **state.options, progress=0.0, generator=torch.Generator(), x_ce=x)
            optimizer.zero_grad()
            terms["total"].backward()
            torch.nn.utils.clip_grad_norm_(plain.parameters(), 10.0)
            optimizer.step()
            assert training_step(state, batch)["total"].item() == pytest.approx(terms["total"].item(), rel=1e-4)
    finally:
        torch.set_num_threads(before)


def test_training_learns(tmp_path):
    run = runs.create(tmp_path / "run", resolve({"data": "bars", "method": "standard", "epochs": 60, "save_every": 60}))
    matrix = next(event for event in train(run) if event["kind"] == "matrix")
    assert matrix["clean"] == matrix["n"]


def test_a_loss_that_is_not_finite_stops_with_term_step_and_advice(tmp_path, monkeypatch):
    run = runs.create(tmp_path / "run", resolve({**PLANE, "save_every": 1, "log_every": 5}))
    original, calls = trs_module.trs, []

    @functools.wraps(original)
    def breaks(*args, **options):
        terms = original(*args, **options)
        calls.append(1)
        if len(calls) == 8:
            terms["smoothness"] = terms["smoothness"] * math.nan
            terms["total"] = terms["total"] * math.nan
        return terms

    monkeypatch.setattr(trs_module, "trs", breaks)
    with pytest.raises(TrainingError, match=r"term smoothness was nan at step 8\. The last good checkpoint is 0002; try"):
        list(train(run))
    last = runs.read_events(run).events
    assert last[-1]["state"] == "failed"
    assert last[-2]["terms"]["smoothness"] is None
    assert "terms.smoothness" in last[-2]["nonfinite"]
    assert run.status()["error"].startswith("the term smoothness")
    assert [c.name for c in run.checkpoints()] == ["0001", "0002"]


def test_viewers_pause_change_save_note_and_stop(tmp_path):
    run = runs.create(tmp_path / "run", resolve(PLANE))
    seen, polls = [], iter(range(100))

    def later(action, **fields):
        runs.request(run, action, **fields)

    for event in train(run):
        seen.append(event)
        if event["kind"] == "step" and next(polls) == 1:
            later("set", name="lambda_a", value=0.25)
            later("set", name="lambda_a", value=-1)
            later("set", name="clip", value=1)
            later("dance")
            later("note", text="look here")
            later("save")
            later("pause")
            threading.Timer(0.3, later, ["resume"]).start()
        if event["kind"] == "control" and event["action"] == "pause":
            assert run.status()["state"] == "paused"
        if event["kind"] == "step" and event["step"] == 5:
            later("stop")
    control = {event["action"]: event for event in seen if event["kind"] == "control"}
    assert set(control) == {"set", "dance", "note", "save", "pause", "resume", "stop"}
    assert "error" in control["dance"]
    errors = [event.get("error") for event in seen if event["kind"] == "control" and event["action"] == "set"]
    assert errors[0] is None
    assert "must be >= 0" in errors[1]
    assert "no weight 'clip'" in errors[2]
    assert seen[-1]["state"] == "stopped"
    after = [event["options"]["lambda_a"] for event in seen if event["kind"] == "step" and event["step"] > 2]
    assert after
    assert set(after) == {0.25}
    resumed = [event for event in train(run, resume=True) if event["kind"] == "step"]
    assert resumed[0]["options"]["lambda_a"] == 0.25, "an intervention survives resume"


def test_requests_to_a_trainer_that_is_gone_are_not_carried_out(tmp_path):
    run = runs.create(tmp_path / "run", resolve(PLANE))
    runs.request(run, "stop")
    assert list(train(run))[-1]["state"] == "finished"


def test_parts_of_a_batch_give_the_batchs_mean_and_largest(tmp_path):
    weight = torch.tensor([2.0, -1.0], requires_grad=True)
    rows = torch.arange(14.0).view(7, 2)

    def loss(part, places):
        assert part in range(3)
        indices = [*places]
        total = (rows[indices] @ weight).square().mean()
        return {"total": total, "grad_norm": rows[indices].max()}

    whole, (expected,) = terms_and_gradients(loss, 7, [weight], 1)
    split, (gradient,) = terms_and_gradients(loss, 7, [weight], 3)
    assert torch.allclose(gradient, expected)
    assert split["total"].item() == pytest.approx(whole["total"].item())
    assert split["grad_norm"].item() == 13


def test_batches_are_not_split_where_that_would_change_the_model():
    cpu = torch.device("cpu")
    assert parts_for(torch.nn.BatchNorm2d(1), 128, 784, cpu) == 1
    assert parts_for(torch.nn.Linear(1, 1), 128, 2, cpu) == 1
    assert parts_for(torch.nn.Linear(1, 1), 40, 784, cpu) == 1


def test_learning_rate_rises_then_falls_to_zero():
    config = resolve({"lr": 1.0, "warmup": 0.1})
    rates = [learning_rate(config, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9]
    assert rates[50] == pytest.approx(0.5)
    assert rates[99] < 0.001


@pytest.mark.parametrize("data", ["bars", "mnist"])
@pytest.mark.parametrize("method", ["standard", "trs", "cos-only", "cos-l2", "smooth-only"])
def test_no_weighted_term_is_idle(tmp_path, method, data):
    """Each method is itself: a term with a weight is not 0, and no two methods are the same training."""
    settings = {"method": method, "data": data, "epochs": 1, "limit": 64, "log_every": 1}
    run = runs.create(tmp_path / "run", resolve(settings))
    step = next(event for event in train(run) if event["kind"] == "step")
    for name, weight in (("similarity", "lambda_a"), ("smoothness", "lambda_b")):
        assert (step["terms"].get(name, 0) > 0) == (run.config.options.get(weight, 0) > 0), name


def test_batch_norm_averages_come_from_clean_images_alone(tmp_path):
    torch.manual_seed(0)
    ensemble = build("resnet20", "mnist", 2, seed=0).train()
    x, y = torch.rand(8, 1, 28, 28), torch.arange(8)
    expected = copy.deepcopy(ensemble)
    expected.member_logits(x[1::2])  # of those images that move
    trs_module.trs(ensemble, x, y, **resolve({"inner_steps": 1}).options, progress=1.0, generator=torch.Generator(), x_ce=x)
    for one, other in zip(ensemble.buffers(), expected.buffers(), strict=True):
        assert torch.allclose(one.float(), other.float(), atol=1e-5)


def test_weights_that_are_not_finite_are_not_saved(tmp_path, monkeypatch):
    run = runs.create(tmp_path / "run", resolve({**PLANE, "save_every": 1}))

    def poison(state, indices):
        terms = training_step(state, indices)
        if state.progress.step == 6:
            state.ensemble.members[0][-1].bias.data.fill_(math.nan)
        return terms

    monkeypatch.setattr("trs_explorer.training.loop.training_step", poison)
    with pytest.raises(TrainingError, match="not finite at step 6: not saved"):
        list(train(run))
    assert [c.name for c in run.checkpoints()] == ["0001"]
    load_ensemble(run)


def test_a_gradient_that_is_not_finite_names_its_step(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: torch.tensor(math.inf))
    run = runs.create(tmp_path / "run", resolve(PLANE))
    with pytest.raises(TrainingError, match="update_norm was inf at step 1"):
        list(train(run))


def test_any_other_failure_is_in_the_status_and_the_log(tmp_path, monkeypatch):
    def breaks(*_, **__):
        raise ArithmeticError("division by nothing")

    monkeypatch.setattr(trs_module, "trs", breaks)
    run = runs.create(tmp_path / "run", resolve(PLANE))
    with pytest.raises(ArithmeticError):
        list(train(run))
    assert run.status()["state"] == "failed"
    assert run.status()["error"] == "ArithmeticError: division by nothing"
    assert runs.read_events(run).events[-1]["error"] == "ArithmeticError: division by nothing"


def test_a_full_disk_while_writing_an_event_is_said_with_the_way_out(tmp_path):
    resource = pytest.importorskip("resource")
    run = runs.create(tmp_path / "run", resolve({**PLANE, "save_every": 4}))
    before, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        with pytest.raises(runs.RunError, match=r"cannot write to .*--resume"):
            list(train(run))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert list(train(run, resume=True))[-1]["state"] == "finished"


def test_config_on_disk_is_the_resolved_one(tmp_path):
    run = runs.create(tmp_path / "run", resolve(PLANE))
    stored = json.loads((run.path / "config.json").read_text())
    assert stored["format"] == 1
    assert stored["options"]["smoothness"] == "beta"
    assert stored["versions"]["torch"]
    assert runs.open_run(run.path).config == run.config
