"""Members as one network give what they give one by one: logits, gradients of weights and images, derivatives along a line."""

import pytest
import torch
from torch import nn

from trs_explorer.gradients import gradient_norms, input_gradients
from trs_explorer.models import Ensemble, build
from trs_explorer.models.images import lenet, patch, small
from trs_explorer.models.linear_piece import LinearPiece
from trs_explorer.models.stacked import Stacked, stackable


def odd_net() -> nn.Sequential:
    """Stride, padding, a missing bias, a leaky ReLU, no pixel-unshuffle in front and two before the flattening."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False),
        nn.ReLU(),
        nn.PixelUnshuffle(2),
        nn.Conv2d(16, 5, 2),
        nn.LeakyReLU(0.1),
        nn.Flatten(),
        nn.Linear(45, 8, bias=False),
        nn.ReLU(),
        nn.Linear(8, 4),
    )


def flat_net() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 6), nn.ReLU(), nn.Linear(6, 4))


def pooled_net() -> nn.Sequential:
    """A ReLU and overlapping maxima of the images, padded and incomplete ones between the convolutions."""
    return nn.Sequential(
        nn.ReLU(),
        nn.MaxPool2d(3, stride=1),
        nn.Conv2d(3, 6, 3),
        nn.LeakyReLU(0.2),
        nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True),
        nn.Conv2d(6, 4, 2),
        nn.MaxPool2d((2, 1), dilation=(1, 1)),
        nn.Flatten(),
        nn.Linear(4 * 3 * 6, 4),
    )


NETS = {
    "odd": (odd_net, (3, 16, 16)),
    "flat": (flat_net, (3, 16, 16)),
    "pooled": (pooled_net, (3, 16, 16)),
    "patch": (lambda: patch((1, 28, 28), 4), (1, 28, 28)),
    "small": (lambda: small((1, 28, 28), 4), (1, 28, 28)),
    "lenet": (lambda: lenet((1, 28, 28), 4), (1, 28, 28)),
}


@pytest.fixture(params=NETS)
def net(request):
    """An ensemble of three, in float64, and a batch of five for it."""
    make, shape = NETS[request.param]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        ensemble = Ensemble([make() for _ in range(3)]).double()
    return ensemble, torch.rand(5, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))


def test_logits_of_one_batch_and_of_a_batch_a_member(net):
    ensemble, x = net
    together = ensemble.stacked()
    assert isinstance(together, Stacked)
    assert len(together) == 3
    torch.testing.assert_close(together.member_logits(together.arrange(x)), ensemble.member_logits(x))
    others = [x, x.flip(0), 1 - x]
    torch.testing.assert_close(together.member_logits([together.arrange(one) for one in others]), ensemble.member_logits(others))


@pytest.mark.parametrize("of", ["losses", "gradients", "both"])
def test_losses_and_gradients_and_what_they_give_the_weights(net, of):
    """Against autograd of each member alone, for sums with other factors for every image."""
    ensemble, x = net
    y = torch.tensor([0, 1, 2, 3, 0])
    together = ensemble.stacked()
    factors = torch.rand(2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(6)) + 0.1

    def slopes(members, images):
        losses, gradients = input_gradients(members, images, y, create_graph=True)
        sums = {"losses": (factors[0] * losses).sum(), "gradients": (factors[1] * gradient_norms(gradients)).sum()}
        total = sums[of] if of in sums else sums["losses"] + sums["gradients"]
        weights = torch.autograd.grad(total, list(ensemble.parameters()))
        return losses, gradients, weights

    losses, gradients, weights = slopes(together, together.arrange(x))
    expected_losses, expected, expected_weights = slopes(ensemble, x)
    torch.testing.assert_close(losses, expected_losses)
    torch.testing.assert_close(gradients, torch.stack([together.arrange(g) for g in expected]))
    for one, other in zip(weights, expected_weights, strict=True):
        torch.testing.assert_close(one, other)


def test_the_linear_piece_has_the_slope_of_the_logits(net):
    ensemble, x = net
    together = ensemble.stacked()
    piece = LinearPiece(together, together.arrange(x))
    assert torch.equal(piece.logits, together.member_logits(together.arrange(x)))
    draw = torch.Generator().manual_seed(5)
    directions = torch.randn(3, *x.shape, dtype=torch.float64, generator=draw)
    slope = piece.jvp(torch.stack([together.arrange(d) for d in directions]))
    expected = [torch.autograd.functional.jvp(member, x, d)[1] for member, d in zip(ensemble.members, directions, strict=True)]
    torch.testing.assert_close(slope.double(), torch.stack(expected), rtol=1e-5, atol=1e-6)
    weights = torch.randn(slope.shape, dtype=torch.float64, generator=draw)
    back = piece.vjp(weights.to(slope.dtype))
    expected = [torch.autograd.functional.vjp(member, x, w)[1] for member, w in zip(ensemble.members, weights, strict=True)]
    torch.testing.assert_close(back.double(), torch.stack([together.arrange(g) for g in expected]), rtol=1e-5, atol=1e-6)
    assert not slope.requires_grad
    assert not back.requires_grad


def test_bfloat16_is_close_and_comes_out_in_float32(net):
    ensemble, x = net
    ensemble = ensemble.float()
    ensemble.autocast = True
    together = ensemble.stacked()
    logits = together.member_logits(together.arrange(x.float()))
    assert logits.dtype == torch.float32
    ensemble.autocast = False
    torch.testing.assert_close(logits, ensemble.member_logits(x.float()), rtol=0.05, atol=0.02)


@pytest.mark.parametrize(
    "members",
    [
        [nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), nn.Sequential(nn.Flatten(), nn.Linear(4, 2))],
        [nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Tanh())],
        [nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.LeakyReLU(-0.1))],
        [nn.Sequential(nn.Conv2d(2, 2, 1, groups=2), nn.Flatten())],
        [nn.Sequential(nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), nn.Flatten())],
        [nn.Linear(4, 3)],
        [nn.Sequential(nn.Linear(4, 3), nn.Flatten())],
        [nn.Sequential(nn.Flatten(2), nn.Linear(4, 3))],
        [nn.Sequential(nn.BatchNorm2d(1), nn.Flatten())],
        [nn.Sequential(nn.MaxPool2d(2, return_indices=True), nn.Flatten())],
    ],
)
def test_what_cannot_be_stacked_stays_as_it_is(members):
    assert not stackable(members)
    ensemble = Ensemble(members)
    assert ensemble.stacked() is ensemble


@pytest.mark.parametrize("path", ["conv2", ""])
@pytest.mark.parametrize("kind", ["forward_hook", "forward_pre_hook"])
def test_a_hook_is_heard(path, kind):
    ensemble, heard = build("patch", "mnist", 2, seed=0), []
    getattr(ensemble.members[0].get_submodule(path), f"register_{kind}")(lambda *_: heard.append(1))
    ensemble.stacked().member_logits(torch.rand(2, 1, 28, 28))
    assert heard == [1]
