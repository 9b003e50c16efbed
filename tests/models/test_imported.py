"""Whatever a user's function returns, as an ensemble."""

import pytest
import torch
from custom_code import forgotten, write_mine
from torch import nn

from trs_explorer import plugins
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.imported import JointEnsemble, make_imported
from trs_explorer.options import UsageError

NETS = """
import torch
from torch import nn
from trs_explorer.models import Ensemble


def net(width, classes=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(4, width), nn.ReLU(), nn.Linear(width, classes))


class Joint(nn.Module):
    def __init__(self):
        super().__init__()
        self.nets = nn.ModuleList([net(5), net(7)])
        self.drop = nn.Dropout(0.5)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return torch.stack([self.drop(one(x)) for one in self.nets])


def two(): return [net(5), net(7)]
def module_list(): return nn.ModuleList(two())
def ours(): return Ensemble(two(), "sum")
def joint(): return Joint()
def one(): return net(4)
ready = two()
def nothing(): return []
def number(): return 3
def classes(): return [nn.Linear, nn.Linear]
def same(): return [ready[0], ready[0]]
def wide(): return [net(5, 4), net(7, 4)]
def mixed(): return [net(5, 3), net(7, 4)]
def tall(): return [nn.Sequential(nn.Flatten(), nn.Linear(9, 3))]
def fails(): return undefined
def text(): return Text()
class Text(nn.Module):
    def forward(self, x): return "logits"
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = write_mine(tmp_path_factory.mktemp("nets"), NETS, "nets.py")
    with forgotten():

        def make(name: str) -> Ensemble:
            plugins.allow("model", f"{path}:{name}")
            return make_imported(f"{path}:{name}", (1, 2, 2), 3)

        yield make


@pytest.mark.parametrize(
    ("name", "members"), [("two", 2), ("module_list", 2), ("ours", 2), ("joint", 2), ("one", 1), ("ready", 2)]
)
def test_all_these_are_ensembles(made, name, members):
    ensemble = made(name)
    assert len(ensemble) == members
    assert all(module.training for module in ensemble.members.modules())  # as torch makes them
    assert ensemble.member_logits(torch.rand(5, 1, 2, 2)).shape == (members, 5, 3)
    assert ensemble.voting == ("sum" if name == "ours" else "mean")


def test_members_may_be_of_different_architectures_and_vote_as_the_paper_says(made):
    ensemble, x = made("two"), torch.rand(5, 1, 2, 2)
    mean = sum(member(x).softmax(-1) for member in ensemble.members) / 2
    torch.testing.assert_close(ensemble(x).exp(), mean)


def test_a_joint_module_is_called_once_for_all_members_and_its_weights_are_saved_once(made):
    ensemble, x = made("joint").eval(), torch.rand(5, 1, 2, 2)
    assert isinstance(ensemble, JointEnsemble)
    joint = ensemble.members[0].joint
    joint.calls = 0
    logits = ensemble.member_logits(x)
    assert joint.calls == 1
    for k, member in enumerate(ensemble.members):
        assert torch.equal(member(x), logits[k])
        assert torch.equal(ensemble.member_logits([x, x])[k], logits[k])
    assert set(ensemble.state_dict()) == {f"members.0.joint.{name}" for name in joint.state_dict()}
    ensemble.train()
    assert joint.drop.training


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing", "must return a sequence of torch.nn.Module, one for each member, it returned none"),
        ("number", "it returned a int"),
        ("classes", "it returned a type among them"),
        ("same", "returned one module twice"),
        ("wide", r"must return 3 logits an image for this data, got \[2, 4\] for 2 images"),
        ("mixed", "member F2 must return logits"),
        ("tall", r"fails on images of 1 x 2 x 2, which the data has: .*mat1 and mat2 shapes cannot be multiplied"),
        ("fails", "nets.py, line 36, in fails: NameError: name 'undefined' is not defined"),
        ("text", r"must return logits \[batch, class\], or \[member, batch, class\], it returned a str"),
    ],
)
def test_what_is_no_ensemble_is_refused_in_words(made, name, words):
    with pytest.raises(UsageError, match=words):
        made(name)


def test_building_is_the_same_every_time(made):
    first, again = made("two").state_dict(), made("two").state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert isinstance(made("one").members[0], nn.Sequential)
