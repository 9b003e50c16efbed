"""A step that several processes share is the step of one: terms, gradients and weights, for every method of the catalogue."""

import dataclasses
import threading

import pytest
import torch
from threads_as_processes import in_threads

from trs_explorer import runs
from trs_explorer.catalogue import METHODS, load
from trs_explorer.config import resolve
from trs_explorer.data import Dataset
from trs_explorer.training import steps
from trs_explorer.training.parallel import own_parts, parts_for, terms_and_gradients
from trs_explorer.training.processes import ALONE, Processes, ProcessLost
from trs_explorer.training.state import Progress, State, prepare

BATCH = 14  # neither 3 nor 4 divides it
SETTINGS = {
    "model": "patch",
    "limit": 28,
    "batch_size": BATCH,
    "epochs": 6,
    "members": 3,
    "device": "cpu",
    "precision": "float32",
}
SETTINGS |= {"optimizer": "sgd", "warmup": 0.0, "seed": 3}  # Adam would make rounding errors as large as gradients


class Doubles(Dataset):
    """Images in float64."""

    def images(self, indices):
        return super().images(indices).double()


def made(path, processes: Processes, method: str, *, double: bool = True, member: int = 0, **more) -> State:
    """The state of a training, of a boosted method of its given member."""
    few = {name: 2 for name in ("inner_steps", "distill_steps", "soe_steps") if name in METHODS[method].defaults}
    grows = {"delta_start": 0.1} if METHODS[method].defaults.get("delta") and "delta" not in METHODS[method].fixed else {}
    config = resolve({**SETTINGS, **few, **grows, "method": method, **({"adv_steps": 2} if method == "igat" else {}), **more})
    with LOCK:
        state = prepare(runs.Run(path, dataclasses.replace(config, data_fingerprint={})), processes)
    if double:
        state.ensemble.double()
        state.images = Doubles(**vars(state.images))
        state.probe_x = state.probe_x.double()
    state.options |= {"delta_start": 0.1} if "delta_start" in state.options else {}
    if METHODS[method].boost:
        state.progress = Progress(epoch=2 * member)
        state.update_weights(member, training=True)
    return state


LOCK = threading.Lock()


def stepped(state: State, number: int = 2) -> list:
    """Terms and gradients of each of some steps, the weights after them, and what is kept of the images."""
    seen = []
    first = state.progress.epoch * state.steps_per_epoch
    orders = steps.epoch_orders(state)
    for k in range(number):
        state.progress = Progress(state.progress.epoch, k, first + k)
        terms = steps.training_step(state, orders[:, k * BATCH : (k + 1) * BATCH])
        seen += [terms, {n: p.grad.clone() for n, p in state.ensemble.named_parameters() if p.grad is not None}]
    kept = {} if state.image_memory is None else {"image_memory": state.image_memory.clone()}
    return [*seen, {name: value.detach().clone() for name, value in state.ensemble.state_dict().items()} | kept]


def are_close(one: list, other: list, tolerance: float) -> None:
    for ours, theirs in zip(one, other, strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            torch.testing.assert_close(
                value, theirs[name], rtol=tolerance, atol=tolerance, msg=lambda text, n=name: f"{n}: {text}"
            )


def are_equal(one: list, other: list) -> bool:
    return all(torch.equal(value, theirs[name]) for ours, theirs in zip(one, other, strict=True) for name, value in ours.items())


def shared_is_alone(path, size: int, method: str, *, tolerance: float = 1e-10, **more) -> None:
    """Check that `size` processes take the steps of one, all with the same bits; and that each has its part of the work."""
    alone = stepped(made(path, ALONE, method, **more))
    state = []
    by_rank = in_threads(size, lambda processes: (state.append(made(path, processes, method, **more)), stepped(state[-1]))[1])
    whole = METHODS[method].whole_batch
    assert {one.parts for one in state} == {1 if whole else size}
    assert all(are_equal(by_rank[0], other) for other in by_rank[1:])
    are_close(by_rank[0], alone, tolerance)


# One for each way to share a step: closed form, distilled images, a whole batch, weights of images, other losses of members.
FAST_METHODS = ("trs", "dverge", "gal", "adaboost", "fasten", "soe")


@pytest.mark.parametrize(
    ("method", "size"),
    [
        pytest.param(method, size, marks=[] if (method in FAST_METHODS and size == 3) else pytest.mark.slow)
        for method in METHODS
        for size in (2, 3)
    ],
)
def test_terms_gradients_and_weights_are_those_of_one_process(tmp_path, method, size):
    shared_is_alone(tmp_path, size, method)


@pytest.mark.parametrize("method", [name for name in METHODS if METHODS[name].boost])
def test_a_later_member_of_a_boosted_ensemble_too(tmp_path, method):
    shared_is_alone(tmp_path, 2, method, member=1)


@pytest.mark.parametrize(
    "method", ["trs", *(pytest.param(one, marks=pytest.mark.slow) for one in ("adp", "dverge", "fasten", "gradient-boost"))]
)
def test_adversarial_images_are_the_same_too(tmp_path, method):
    shared_is_alone(tmp_path, 2, method, adversarial=True, adv_steps=2)


@pytest.mark.parametrize("method", ["dverge", pytest.param("standard", marks=pytest.mark.slow)])
def test_augmented_images_are_the_same_too(tmp_path, method):
    """In float32, which images have: 1e-5."""
    shared_is_alone(tmp_path, 3, method, double=False, augment=True, tolerance=1e-5)


@pytest.mark.parametrize("method", ["gal", *(pytest.param(one, marks=pytest.mark.slow) for one in ("trs", "lotos"))])
def test_in_bfloat16_to_its_rounding(tmp_path, method):
    """Eight bits of a number: 1 % of terms and gradients; sums in another order round differently."""
    shared_is_alone(tmp_path, 2, method, double=False, precision="bfloat16", tolerance=0.02)


def test_the_beta_of_the_plane_is_drawn_the_same_for_any_number(tmp_path):
    shared_is_alone(tmp_path, 2, "trs", smoothness="beta")


def test_more_processes_than_images_and_batch_norm_are_only_no_faster(tmp_path):
    """The rest compute what another one does; the running averages are equal, too."""
    alone = stepped(made(tmp_path, ALONE, "standard", batch_size=2, limit=BATCH * 2), 1)
    by_rank = in_threads(3, lambda processes: stepped(made(tmp_path, processes, "standard", batch_size=2, limit=BATCH * 2), 1))
    assert all(are_equal(by_rank[0], other) for other in by_rank[1:])
    are_close(by_rank[0], alone, 1e-10)


@pytest.mark.slow
def test_batch_norm_sees_the_whole_batch(tmp_path):
    shared = {"model": "resnet20", "members": 2}
    alone = stepped(made(tmp_path, ALONE, "standard", **shared), 1)
    by_rank = in_threads(2, lambda processes: stepped(made(tmp_path, processes, "standard", **shared), 1))
    assert are_equal(*by_rank)
    are_close(by_rank[0], alone, 1e-10)


def test_a_step_costs_one_collective(tmp_path):
    def sent(processes: Processes) -> int:
        state = made(tmp_path, processes, "trs")
        stepped(state, 2)
        weights = sum(weight.numel() for weight in state.ensemble.parameters())
        assert processes.bytes == 2 * 8 * (weights + 4 + 9 + 2 + 2)  # 4 terms, |cos| of 3 x 3, the norm's two slots, two flags
        return processes.sent

    assert in_threads(2, sent) == [2, 2]


def test_flags_of_any_process_reach_all_with_the_step(tmp_path):
    def hears(processes: Processes) -> list:
        state = made(tmp_path, processes, "standard")
        stepped(state, 1)
        before = list(processes.received)
        processes.flags = [processes.rank == 2, processes.rank == 0]
        stepped(state, 1)
        return [before, processes.received]

    assert in_threads(3, hears) == [[[False, False], [True, True]]] * 3


@pytest.mark.parametrize(("parts", "size", "expected"), [(4, 2, [2, 2]), (4, 3, [2, 1, 1]), (1, 3, [1, 0, 0]), (5, 2, [3, 2])])
def test_parts_are_shared_out_evenly_and_rank_0_has_one(parts, size, expected):
    own = [own_parts(parts, Processes(rank, size)) for rank in range(size)]
    assert [len(one) for one in own] == expected
    assert [part for one in own for part in one] == [*range(parts)]


def test_each_process_has_its_threads_and_a_part_where_that_is_possible(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    cpu, net = torch.device("cpu"), torch.nn.Linear(1, 1)
    assert parts_for(net, 128, 784, cpu, 2) == 4
    assert parts_for(net, 128, 784, cpu, 3) == 3  # 128 images are at most 4 parts
    assert parts_for(net, 128, 2, cpu, 2) == 2  # not over threads
    assert parts_for(net, 2, 784, cpu, 3) == 2
    assert parts_for(torch.nn.BatchNorm2d(1), 128, 784, cpu, 2) == 1
    assert parts_for(net, 128, 784, torch.device("cuda"), 2) == 2


def test_a_process_that_is_lost_leaves_the_state_as_it_was(tmp_path, monkeypatch):
    """FASTEN writes its memory, and batch norm its averages, before the gradients are exchanged."""
    lost = Processes(0, 2)

    def fails(values, group=None):
        raise ProcessLost("gone")

    monkeypatch.setattr(lost, "_all_reduce", fails)
    for method, model in (("fasten", "patch"), ("standard", "resnet20")):
        state = made(tmp_path, lost, method, model=model, members=2)
        before = {name: value.clone() for name, value in state.ensemble.state_dict().items()}
        memory = None if state.image_memory is None else state.image_memory.clone()
        with pytest.raises(ProcessLost):
            stepped(state, 1)
        assert all(torch.equal(value, before[name]) for name, value in state.ensemble.state_dict().items())
        assert memory is None or torch.equal(state.image_memory, memory)


def test_parts_and_processes_together_are_the_batchs_mean():
    """Two processes with two threads each, and one with four parts."""
    weight = torch.tensor([2.0, -1.0], dtype=torch.float64, requires_grad=True)
    rows = torch.rand(7, 2, dtype=torch.float64)

    def loss(part, places):
        return {"total": (rows[places.start : places.stop] @ weight).square().mean(), "grad_norm": rows[[*places]].max()}

    whole, (expected,) = terms_and_gradients(loss, 7, [weight], 1)
    for terms, (gradient,) in in_threads(2, lambda processes: terms_and_gradients(loss, 7, [weight], 4, processes)):
        assert torch.allclose(gradient, expected, rtol=1e-12)
        assert terms["total"].item() == pytest.approx(whole["total"].item(), rel=1e-12)
        assert terms["grad_norm"] == rows.max()


def test_a_users_plain_draws_are_independent_between_parts(tmp_path, monkeypatch):
    drawn = {}

    def method(ensemble, x, y, *, generator, x_ce, places):
        drawn[places.start] = torch.rand(4, generator=generator).tolist()
        return {"total": ensemble(x).mean()}

    monkeypatch.setattr(steps, "load", lambda path: method if not callable(path) and "standard" in str(path) else load(path))
    in_threads(2, lambda processes: stepped(made(tmp_path, processes, "standard"), 1))
    assert len(drawn) == 2
    assert drawn[0] != drawn[7]
