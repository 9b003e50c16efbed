import pytest
import torch

from trs_explorer.data.plane import to_plane, to_unit
from trs_explorer.models import build
from trs_explorer.models.stacked_mlp import margins_and_gradients, stack_mlps, unstack_mlps


@pytest.fixture
def pair():
    return build("mlp", "bars", 2, seed=5)


def plain(pair, p):
    """Margins of class 1, and their gradients in the plane, by the members themselves and autograd."""
    p = p.clone().requires_grad_()
    margins = [(logits := member(to_unit(p)))[:, 1] - logits[:, 0] for member in pair.members]
    gradients = [torch.autograd.grad(margin.sum(), p, create_graph=True)[0] for margin in margins]
    return torch.stack(margins), torch.stack(gradients)


def points(n=7):
    return 3.8 * torch.rand(n, 2, generator=torch.Generator().manual_seed(1)) - 1.9


def test_margins_and_gradients_are_those_of_the_members(pair):
    found, wanted = margins_and_gradients(stack_mlps(pair), points()), plain(pair, points())
    assert found[0].shape == (2, 7)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_loss_of_both_has_the_slope_that_autograd_finds(pair):
    weights = stack_mlps(pair)
    for margins, gradients in (margins_and_gradients(weights, points()), plain(pair, points())):
        (margins.square().mean() + (gradients[0] * gradients[1]).sum(-1).abs().mean()).backward()
    members = [dict(member.named_parameters()) for member in pair.members]
    for name in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"):
        wanted = torch.stack([member[name].grad for member in members])
        torch.testing.assert_close(weights[name].grad, wanted, rtol=1e-3, atol=1e-5)
    for name in ("fc3.weight", "fc3.bias"):  # the margin's is that of the logit of class 1
        wanted = torch.stack([member[name].grad[1:] for member in members])
        torch.testing.assert_close(weights[name].grad, wanted, rtol=1e-3, atol=1e-5)


def test_what_is_written_back_has_the_same_margins(pair):
    weights = stack_mlps(pair)
    with torch.no_grad():
        for values in weights.values():
            values.add_(0.1 * torch.randn(values.shape, generator=torch.Generator().manual_seed(2)))
    unstack_mlps(weights, pair)
    torch.testing.assert_close(plain(pair, points())[0], margins_and_gradients(weights, points())[0], rtol=1e-4, atol=1e-5)
    assert torch.equal(to_plane(to_unit(points())).round(decimals=4), points().round(decimals=4))
