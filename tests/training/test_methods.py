"""What single methods need of the loop: start weights, a second batch, member after member, own losses; and that all learn."""

import copy
import json
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from trs_explorer import runs
from trs_explorer.catalogue import METHODS, load
from trs_explorer.catalogue_entries import Method
from trs_explorer.config import resolve
from trs_explorer.defences.dverge import dverge
from trs_explorer.models import build
from trs_explorer.models.stored import load_ensemble
from trs_explorer.options import UsageError
from trs_explorer.training import train
from trs_explorer.training.model_check import check_model
from trs_explorer.training.state import prepare
from trs_explorer.training.steps import EPOCH, epoch_orders, generator, learning_rate, training_step

DIGITS = {"limit": 64, "batch_size": 64, "log_every": 1, "probe_every": 1000, "save_every": 1000, "precision": "float32"}
PLANE = {"data": "bars", "epochs": 3, "batch_size": 100, "log_every": 1, "save_every": 1, "probe_every": 3, "members": 3}


FEW = ("dverge", "fasten", "adaboost")  # of the fast suite; the others take the same paths


def in_time(method: str, fast: tuple[str, ...] = ()) -> object:
    return method if method in fast else pytest.param(method, marks=pytest.mark.slow)


def made(path: Path, **settings) -> runs.Run:
    return runs.create(path, resolve(settings))


def trained(path: Path, **settings) -> runs.Run:
    run = made(path, **settings)
    list(train(run))
    return run


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("start")
    return {
        "bars": str(trained(folder / "bars", method="standard", **PLANE).path),
        "mnist": str(trained(folder / "mnist", method="standard", epochs=2, members=3, **DIGITS).path),
        "boosted": str(trained(folder / "boosted", method="adaboost", **PLANE).path),
    }


def started(method: str, start: str) -> dict[str, str]:
    return {"start_from": start} if METHODS[method].trained_start else {}


@pytest.mark.parametrize("method", [in_time(name) for name in METHODS if name not in ("cos-only", "cos-l2", "smooth-only")])
def test_every_method_learns_64_images_by_heart(tmp_path, start, method):
    settings = {**DIGITS, "epochs": 120, "warmup": 0.1, **started(method, start["mnist"])}
    if method == "fasten":  # it sees no clean image, and at its own rate far moved ones take longer than 120 steps
        settings |= {"distill_eps": 0.1, "lr": 0.05}
    run = trained(tmp_path / "run", method=method, **settings)
    state = prepare(run)
    ensemble, _ = load_ensemble(run)
    right = ensemble(state.images.images(slice(0, 64))).argmax(-1) == state.images.y
    assert right.all(), f"{int(right.sum())} of 64"


@pytest.mark.parametrize("method", [in_time(name, FEW) for name in METHODS if name not in ("trs", "adp")])
def test_every_method_resumes_with_the_same_bits(tmp_path, start, method):
    """Stopped in the middle of the second epoch, where boosted ensembles train their second member."""
    resumed_is_whole(tmp_path, {**PLANE, "method": method, **started(method, start["bars"])}, after=5)


@pytest.mark.slow
def test_adp_and_adversarial_training_resume_with_the_same_bits(tmp_path):
    settings = {**DIGITS, "epochs": 2, "batch_size": 32, "method": "adp", "adversarial": True, "adv_steps": 2}
    resumed_is_whole(tmp_path, settings, after=3)


def resumed_is_whole(tmp_path: Path, settings: dict, *, after: int) -> None:
    whole, parts = trained(tmp_path / "whole", **settings), made(tmp_path / "parts", **settings)
    stop = threading.Event()
    for event in train(parts, stop=stop):
        if event["kind"] == "step" and event["step"] == after:
            stop.set()
    assert parts.status()["state"] == "stopped"
    list(train(parts, resume=True))
    one, other = (load_file(run.checkpoints()[-1].weights) for run in (whole, parts))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "adversarial"), [("small", True), ("lenet", False), ("resnet20", False)])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_every_model(tmp_path, monkeypatch, method, model, adversarial):
    monkeypatch.setattr("trs_explorer.evaluation.probe.IMAGES", 4)  # resnet20 would be probed for ten seconds
    few = {"limit": 8, "batch_size": 4, "epochs": 2, "members": 2, "model": model}
    start = trained(tmp_path / "start", method="standard", **few).path if METHODS[method].trained_start else ""
    options = {name: 1 for name in ("inner_steps", "distill_steps", "soe_steps") if name in METHODS[method].defaults}
    settings = {**few, **options, "method": method, "start_from": str(start), "adversarial": adversarial}
    run = trained(tmp_path / "run", **settings, **({"adv_steps": 1} if adversarial else {}))
    assert run.status()["state"] == "finished"
    load_ensemble(run)


@pytest.mark.parametrize("method", ["adaboost", "gradient-boost"])
def test_members_are_trained_one_after_another(tmp_path, method):
    run = made(tmp_path / "run", method=method, **{**PLANE, "epochs": 4})
    before = prepare(run).ensemble.state_dict()
    seen, saved = [], {}
    for event in train(run):
        if event["kind"] == "step":
            seen.append(event["member"])
        if event["kind"] == "checkpoint":
            saved[event["epoch"]] = load_file(run.checkpoints()[-1].weights)
    assert seen == [0] * 3 + [1] * 3 + [2] * 6
    changed = [
        {name.split(".")[1] for name in before if "fc" in name and not torch.equal(a[name], b[name])}
        for a, b in ((before, saved[1]), (saved[1], saved[2]), (saved[2], saved[4]))
    ]
    assert changed == [{"0"}, {"1"}, {"2"}]
    votes = [(saved[epoch]["vote_weights"] > 0).tolist() for epoch in (1, 2, 3, 4)]
    assert votes == [[True, False, False], [True, True, False], [True] * 3, [True] * 3]
    notes = [event["text"] for event in runs.read_events(run).events if event["kind"] == "note"]
    assert [note.split(" is")[0] for note in notes] == ["member 1 of 3", "member 2 of 3", "member 3 of 3"]


def test_the_last_votes_of_adaboost_are_those_of_its_trained_members(tmp_path):
    run = trained(tmp_path / "run", method="adaboost", **PLANE)
    state = prepare(run)
    ensemble, _ = load_ensemble(run)
    votes = ensemble.vote_weights.clone()
    load(METHODS["adaboost"].boost)(ensemble, state.images, done=3, training=False)
    assert torch.equal(votes, ensemble.vote_weights)


def test_the_learning_rate_rises_and_falls_for_every_member(tmp_path):
    run = trained(tmp_path / "run", method="gradient-boost", **{**PLANE, "epochs": 6})
    rates = [event["lr"] for event in runs.read_events(run).events if event["kind"] == "step"]
    assert rates[:6] == rates[6:12] == rates[12:]
    assert rates[0] == max(rates) > rates[5]


@pytest.mark.slow
@pytest.mark.parametrize("boosted", ["adaboost", "gradient-boost"])
def test_running_averages_of_a_trained_member_stay(tmp_path, boosted):
    settings = {"limit": 32, "batch_size": 16, "epochs": 2, "members": 2, "model": "resnet20", "log_every": 1}
    state = prepare(made(tmp_path / "run", method=boosted, **settings))
    state.progress = type(state.progress)(epoch=1)
    assert state.member == 1
    state.update_weights(1, training=True)
    before = [member.bn1.running_mean.clone() for member in state.ensemble.members]
    training_step(state, epoch_orders(state)[:, :16])
    assert torch.equal(before[0], state.ensemble.members[0].bn1.running_mean)
    assert not torch.equal(before[1], state.ensemble.members[1].bn1.running_mean)


def test_dverge_draws_a_second_order_anew_every_epoch(tmp_path, start):
    state = prepare(made(tmp_path / "run", method="dverge", **PLANE, start_from=start["bars"]))
    first = epoch_orders(state)
    state.progress = type(state.progress)(epoch=1)
    second = epoch_orders(state)
    orders = [*first, *second]
    assert all(order.sort().values.equal(torch.arange(300)) for order in orders)
    assert not any(a.equal(b) for i, a in enumerate(orders) for b in orders[:i])


def test_one_optimiser_is_an_optimiser_each_where_losses_are_apart(tmp_path, start):
    """Three steps of DVERGE by SGD against members that are clipped and stepped each by itself, by hand."""
    settings = {**PLANE, "optimizer": "sgd", "lr": 0.05, "weight_decay": 1e-3, "clip": 0.5, "warmup": 0.0}
    state = prepare(made(tmp_path / "run", method="dverge", **settings, start_from=start["bars"]))
    ensemble = copy.deepcopy(state.ensemble).train()
    memory = [torch.zeros_like(weight) for weight in ensemble.parameters()]
    orders, images = epoch_orders(state), state.images
    for k in range(3):
        rows = orders[:, k * 100 : (k + 1) * 100]
        (x, y), other = ((images.images(numbers), images.y[numbers]) for numbers in rows)
        layer = generator(0, EPOCH, 0)
        total = dverge(ensemble, x, y, distill_eps=0.3, distill_steps=10, other=other, epoch_generator=layer, x_ce=x)["total"]
        slopes = torch.autograd.grad(total, list(ensemble.parameters()))
        rate, each = learning_rate(state.run.config, k, state.steps), len(slopes) // 3
        lengths = [torch.cat([slope.flatten() for slope in slopes[m * each : (m + 1) * each]]).norm() for m in range(3)]
        with torch.no_grad():
            for number, (weight, slope) in enumerate(zip(ensemble.parameters(), slopes, strict=True)):
                clipped = slope * min(1.0, 0.5 / (lengths[number // each].item() + 1e-6)) + 1e-3 * weight
                memory[number] = 0.9 * memory[number] + clipped
                weight -= rate * memory[number]
        assert training_step(state, rows)["update_norm"].item() == pytest.approx(max(lengths).item(), rel=1e-4)
        assert max(lengths) > 0.5  # clipping counts, and not for all alike
        assert max(lengths) > 1.2 * min(lengths)
    for a, b in zip(state.ensemble.parameters(), ensemble.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_a_start_gives_its_weights_and_is_named_with_its_digest(tmp_path, start):
    run = made(tmp_path / "run", method="dverge", **PLANE, start_from=start["bars"])
    events = []
    for event in train(run):
        events.append(event)
        if event["kind"] == "note":
            break
    source = runs.open_run(Path(start["bars"]))
    assert source.recorded(source.checkpoints()[-1])["sha256"] in events[-1]["text"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"method": "dverge"}, "dverge starts from trained members: name their run by --from RUN"),
        ({"method": "trs", "members": 2, "from": True}, "it has members 3, this training 2"),
        ({"method": "trs", "data": "moons", "from": True}, "it has data bars, this training moons"),
        (
            {"method": "gal", "model": "patch", "data": "mnist", "from": "mnist"},
            "of standard are built differently from those of gal",
        ),
        ({"method": "trs", "from": "boosted"}, "members of adaboost are built differently from those of trs"),
        ({"method": "trs", "from": "nowhere"}, "--from: nowhere: no such run folder"),
        ({"method": "trs", "from": "unsaved"}, "has no checkpoint yet"),
    ],
)
def test_what_cannot_start_says_why(tmp_path, start, settings, words):
    settings = {**PLANE, **settings}
    source = settings.pop("from", None)
    if source == "unsaved":
        made(tmp_path / "unsaved", method="standard", **PLANE)
        source = str(tmp_path / "unsaved")
    if source:
        settings["start_from"] = start.get("bars" if source is True else source, source)
    with pytest.raises(UsageError, match=words):
        trained(tmp_path / "run", **settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"method": "adp", "members": 10}, "adp needs fewer members than classes: 10 are too many for mnist; take --members 9"),
        ({"method": "adp", "data": "bars"}, "2 are too many for bars; take another method, or another --data"),
        ({"method": "adaboost", "epochs": 2}, "--epochs must be at least --members, got 2"),
        ({"method": "gradient-boost", "start_from": "x"}, "drop --from"),
        ({"adv_eps": 0.1}, "--adv-eps belongs to --adversarial: add it, or drop it"),
    ],
)
def test_what_a_method_cannot_train_with_is_refused_before_a_folder_is_made(settings, words):
    with pytest.raises(UsageError, match=words):
        resolve(settings)


def test_a_defence_that_would_ignore_adversarial_images_is_refused(tmp_path, monkeypatch):
    def clean_only(ensemble, x, y):
        return {"total": ensemble.member_logits(x).mean()}

    def both(ensemble, x, y, *, x_ce):
        return clean_only(ensemble, x_ce, y)

    for name, function in (("clean_only", clean_only), ("both", both)):
        monkeypatch.setitem(METHODS, name, Method(function, ""))
    for settings in ({"method": "clean_only"}, {"method": "both", "adversarial": True}):
        check_model(resolve({**PLANE, **settings}))
    settings = {**PLANE, "method": "clean_only", "adversarial": True}
    with pytest.raises(UsageError, match=r"^--adversarial: clean_only has no parameter x_ce, .*: drop the flag$"):
        check_model(resolve(settings))
    with pytest.raises(UsageError, match="--adversarial"):
        trained(tmp_path / "run", **settings)


def test_gal_gets_leaky_relus_and_others_none():
    kinds = {
        method: {type(layer).__name__ for layer in build("patch", "mnist", 2, seed=0, method=method).members[1]}
        for method in METHODS
    }
    assert [method for method, layers in kinds.items() if "LeakyReLU" in layers] == ["gal"]
    assert "ReLU" not in kinds["gal"]
    blocks = build("resnet20", "mnist", 2, seed=0, method="gal").members[0].stage1[0]
    assert type(blocks.relu2).__name__ == "LeakyReLU"


def test_the_config_says_where_it_started(tmp_path, start):
    run = made(tmp_path / "run", method="dverge", **PLANE, start_from=start["bars"])
    assert json.loads((run.path / "config.json").read_text())["start_from"] == start["bars"]
    assert runs.open_run(run.path).config.start_from == start["bars"]
