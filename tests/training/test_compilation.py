"""`--compile`: refused where there is nothing to compile, the same training where there is."""

import subprocess
import sys

import pytest
import torch

from trs_explorer import runs
from trs_explorer.config import resolve
from trs_explorer.defences import support_search
from trs_explorer.options import UsageError
from trs_explorer.training import compilation, steps
from trs_explorer.training.new_run import prepare as prepare_settings
from trs_explorer.training.state import prepare

TRAINING = {"limit": 64, "batch_size": 64, "epochs": 1, "device": "cpu"}


@pytest.fixture
def works(monkeypatch):
    monkeypatch.setattr(compilation, "_compiler_problem", lambda device: "")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"method": "standard"}, "--method standard with these settings has none"),
        ({"method": "cos-only"}, "--method cos-only with these settings has none"),
        ({"method": "cos-l2"}, "--method cos-l2 with these settings has none"),
        ({"method": "trs", "lambda_b": 0.0}, "--method trs with these settings has none"),
        ({"method": "trs", "inner_steps": 1}, "has none of several steps: drop --compile"),
        ({"method": "trs", "smoothness": "beta"}, "--method trs with these settings has none"),
        (
            {"method": "trs", "model": "resnet20"},
            "without batch norm, not resnet20: drop it, or take --model patch, small or lenet",
        ),
    ],
)
def test_what_cannot_be_compiled_is_refused_with_the_way_out(works, settings, reason):
    with pytest.raises(UsageError, match=reason):
        prepare_settings({**settings, "compile": True})
    assert prepare_settings(settings).compile is False


def test_a_machine_without_a_compiler_is_told_so_in_a_line(monkeypatch):
    def fails(*args):
        raise RuntimeError("no g++ here\nand many more lines")

    said = []
    monkeypatch.setattr(torch, "compile", lambda function: fails)
    compilation._compiler_problem.cache_clear()
    with pytest.raises(UsageError, match=r"^--compile: torch.compile does not work here \(no g\+\+ here\): drop it, or install"):
        prepare_settings({"compile": True}, notify=said.append)
    compilation._compiler_problem.cache_clear()
    assert said == ["--compile: trying torch.compile, a few seconds"]


def test_the_steps_of_the_search_after_the_first_are_the_compiled_ones(tmp_path, monkeypatch, works):
    """And only while a step is computed; with what torch.compile would do left out, the weights are the same."""
    calls = []

    def recorded(device):
        return lambda *args: (calls.append(device), support_search._next_point(*args))[1]

    monkeypatch.setattr(support_search, "_compiled", recorded)
    weights = []
    for compiled in (False, True):
        name = f"compiled-{compiled}"
        state = prepare(runs.create(tmp_path / name, resolve({**TRAINING, "inner_steps": 4, "compile": compiled})))
        steps.training_step(state, torch.arange(64)[None])
        assert state.ensemble.compiled is False
        assert len(calls) == (3 * state.parts if compiled else 0)
        weights.append(torch.nn.utils.parameters_to_vector(state.ensemble.parameters()))
    assert torch.equal(*weights)


# In a process of its own: the tests' checks of types and shapes cannot be compiled.
SAME_POINTS = """
import sys

import torch

from trs_explorer.defences.support_search import support_points
from trs_explorer.models import Ensemble, images

torch.manual_seed(3)
ensemble = Ensemble([images.patch((1, 16, 16), 3) for _ in range(2)])
x, y = torch.rand(6, 1, 16, 16), torch.tensor([0, 1, 2, 0, 1, 2])
for delta in (0.1, 0.2):
    found = []
    for compiled in (False, True):
        ensemble.compiled = compiled
        members = ensemble.stacked()
        points, _ = support_points(members, members.arrange(x), y, delta=delta, steps=3, order=sys.argv[1])
        found.append(points)
    print(((found[0] - found[1]).abs() > 1e-6).float().mean().item())
    with torch.no_grad():
        for weight in ensemble.parameters():
            weight += 0.01 * torch.randn_like(weight)
print(torch._dynamo.utils.counters["stats"]["unique_graphs"])
"""


@pytest.mark.slow
@pytest.mark.parametrize("order", ["weighted", "second"])
def test_compiled_the_search_finds_the_same_points_with_one_graph(order):
    """fullgraph=True raises where it is not one; other weights and another radius need no other."""
    done = subprocess.run([sys.executable, "-c", SAME_POINTS, order], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    *different, graphs = done.stdout.split()
    assert max(map(float, different)) < 0.01, "of the pixels: the sign of a slope near 0 may be the other one"
    assert int(graphs) == 1
