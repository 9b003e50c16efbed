"""The printed code loads the weights by torch alone, and computes what the ensemble does."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from trs_explorer.catalogue import METHODS, MODELS
from trs_explorer.export.loading_code import loading_code
from trs_explorer.export.weights import find_checkpoint, pack_weights
from trs_explorer.models import Ensemble, build
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError, open_run
from trs_explorer.shipped import folder

SHAPE = (1, 28, 28)


def _saved(ensemble: Ensemble, path: Path) -> str:
    path.write_bytes(pack_weights(path, ensemble, {"run": "x"}))
    return loading_code(ensemble, str(path), SHAPE)


def _varied(ensemble: Ensemble) -> Ensemble:
    """In eval mode, with buffers and vote weights that are not those of a new one."""
    generator = torch.Generator().manual_seed(1)
    for name, buffer in ensemble.named_buffers():
        if buffer.is_floating_point() and not name.endswith((".mean", ".std")):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return ensemble.eval()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("model", MODELS)
def test_the_code_of_every_model_computes_the_vote(model: str, suffix: str, tmp_path: Path) -> None:
    methods = {method.voting: name for name, method in METHODS.items()}  # one for each kind of vote
    leaky = next(name for name, method in METHODS.items() if method.leaky)
    for method in {*methods.values(), leaky} if model == "patch" else {"standard"}:
        ensemble = _varied(build(model, "mnist", 2, seed=3, method=method))
        code = _saved(ensemble, tmp_path / f"weights{suffix}")
        assert "trs" not in code.replace(str(tmp_path), "")
        assert (", weights_only=True)" in code) == (suffix == ".pt")
        names: dict = {}
        exec(code, names)
        x = torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            assert torch.equal(names["log_probabilities"](x), ensemble(x))


@pytest.mark.slow
def test_another_python_without_trs_runs_it(tmp_path: Path) -> None:
    ensemble = _varied(build("patch", "mnist", 3, seed=0))
    code = _saved(ensemble, tmp_path / "weights.pt")
    assert len(code.splitlines()) <= 30
    x = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    torch.save(x, tmp_path / "x.pt")
    no_trs = 'import sys; sys.modules["trs_explorer"] = None\n'
    run = "torch.save(log_probabilities(torch.load('x.pt')), 'out.pt')\n"
    (tmp_path / "load.py").write_text(no_trs + code + run)
    done = subprocess.run([sys.executable, "-I", "load.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        assert torch.equal(torch.load(tmp_path / "out.pt"), ensemble(x))


class Own(nn.Module):
    """A user's class: its code is not to be had from its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(784, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.flatten(1)).relu()


def test_members_of_several_architectures_are_written_one_by_one(tmp_path: Path) -> None:
    one = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    other = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(784, 5), nn.Tanh()), nn.Linear(5, 10))
    ensemble = Ensemble([one, other]).eval()
    names: dict = {}
    exec(_saved(ensemble, tmp_path / "w.pt"), names)
    x = torch.rand(3, *SHAPE)
    with torch.no_grad():
        assert torch.equal(names["log_probabilities"](x), ensemble(x))


@pytest.mark.parametrize("case", ["own class", "hook", "string"])
def test_members_that_cannot_be_written_are_described_and_their_weights_load(case: str, tmp_path: Path) -> None:
    if case == "own class":
        members: list[nn.Module] = [Own(), Own()]
    else:
        members = [nn.Sequential(nn.Flatten(), nn.Linear(784, 10)) for _ in range(2)]
        if case == "hook":  # the layers alone do not say what it computes
            members[0].register_forward_hook(lambda module, inputs, output: output + 1)
        else:  # a layer whose description is not Python
            members[0].insert(0, nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"))
    ensemble = Ensemble(members).eval()
    code = _saved(ensemble, tmp_path / "w.pt")
    assert "members = [...]" in code
    assert f"#   F1: {type(members[0]).__name__}(" in code
    fresh = [Own() for _ in members] if case == "own class" else [build_like(member) for member in members]
    names = {"fresh": fresh}
    exec(code.replace("[...]", "fresh"), names)
    x = torch.rand(2, *SHAPE)
    with torch.no_grad():
        assert all(torch.equal(theirs.state_dict()[name], value) for theirs, ours in zip(fresh, members, strict=True)
                   for name, value in ours.state_dict().items())  # fmt: skip
        assert torch.isfinite(fresh[1](x)).all()


def build_like(member: nn.Sequential) -> nn.Module:
    """The same layers with other weights."""
    from copy import deepcopy

    copied = deepcopy(member)
    for value in copied.parameters():
        nn.init.zeros_(value)
    return copied


def test_a_checkpoint_is_found_by_its_name(tmp_path: Path) -> None:
    run = open_run(folder("checkpoints") / "mnist-trs")
    names = [checkpoint.name for checkpoint in run.checkpoints()]
    assert find_checkpoint(run, None).name == names[-1]
    assert find_checkpoint(run, names[0]).name == names[0]
    with pytest.raises(UsageError, match=f"--checkpoint: there is no '9999'.*{names[-1]}"):
        find_checkpoint(run, "9999")
    (tmp_path / "config.json").write_bytes((run.path / "config.json").read_bytes())
    with pytest.raises(RunError, match="no checkpoint yet"):
        find_checkpoint(open_run(tmp_path), None)
