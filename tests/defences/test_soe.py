"""SoE's terms against the formula on probabilities, its images on linear members, and the choice of the most confident member."""

import math

import pytest
import torch
import torch.nn.functional as F
from defences_plain import turned
from torch import Tensor, nn

from trs_explorer.attacks.pgd import pgd
from trs_explorer.attacks.pgd_members import member_margin, pgd_members
from trs_explorer.defences.soe import confidence_losses, free_shift, images_against_members, smooth_minimum, soe
from trs_explorer.models import build
from trs_explorer.models.ensemble import Ensemble

OPTIONS = {"lambda_confidence": 0.7, "soe_sigma": 0.4, "soe_steps": 2}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plain_confidence_loss(logits: Tensor, label: int) -> Tensor:
    """Of one member at one image: -t log c - (1 - t) log(1 - c), written down on the probabilities."""
    p = logits.softmax(0)
    answer = int(logits.argmax())
    largest = p[answer].detach() if answer == label else p[answer]
    c, t = largest / (1 + (-logits.sum() / len(logits) ** 0.5).exp()), p[label].detach()
    return -t * c.log() - (1 - t) * (1 - c).log()


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_terms_are_the_formula(ensemble, batch, shift):
    """At radius 0 all images are x: ce sees x_ce once and x once for each member, the minimum x alone, the confidence all."""
    (x, y), x_ce = batch, batch[0] + shift
    at, at_ce = ([[F.cross_entropy(one(i[None]), k[None]).item() for i, k in zip(z, y, strict=True)] for one in ensemble.members]
                 for z in (x, x_ce))  # fmt: skip
    ce = (sum(map(sum, at_ce)) + 4 * sum(map(sum, at))) / (5 * 24)
    least = sum(-0.4 * math.log(sum(math.exp(-row[i] / 0.4) for row in at) / 4) for i in range(6)) / 6
    sure, sure_ce = (sum(plain_confidence_loss(one(i[None])[0], int(k)).item() for one in ensemble.members
                         for i, k in zip(z, y, strict=True)) / 24 for z in (x, x_ce))  # fmt: skip
    wanted = {"ce": ce, "collaboration": least, "confidence": 0.7 * (sure_ce + 5 * sure) / 6}
    for members in (ensemble, turned(ensemble)):
        members.voting = "confident"
        terms = soe(members, x, y, **OPTIONS, soe_eps=0.0, generator=seeded(), x_ce=x_ce)
        assert {name: terms[name].item() for name in wanted} == pytest.approx(wanted, rel=1e-9)
        assert terms["total"].item() == pytest.approx(sum(wanted.values()), rel=1e-9)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_confidence_has_the_formulas_slope_and_teaches_a_member_that_is_right_no_other_answer(classes):
    logits = (3 * torch.randn(3, 20, classes, generator=seeded(), dtype=torch.float64)).requires_grad_()
    y = torch.arange(20) % classes
    (found,) = torch.autograd.grad(confidence_losses(logits, y).sum(), logits)
    plain = torch.stack([plain_confidence_loss(row, int(label)) for one in logits for row, label in zip(one, y, strict=True)])
    (wanted,) = torch.autograd.grad(plain.sum(), logits)
    torch.testing.assert_close(found, wanted)
    right = logits.argmax(-1) == y
    assert 0 < right.sum() < right.numel()
    assert torch.allclose(found[right], found[right].mean(-1, keepdim=True).expand_as(found[right]))  # a shift alone
    assert not torch.allclose(found[~right], found[~right].mean(-1, keepdim=True).expand_as(found[~right]))


def test_a_member_that_is_wrong_and_quite_sure_still_learns_it():
    """Its confidence is 1 in float32, where log(1 - c) has no value and a clamped one no slope."""
    logits = torch.tensor([[[60.0, 20.0, 10.0]]], requires_grad=True)
    loss = confidence_losses(logits, torch.tensor([1]))
    (slope,) = torch.autograd.grad(loss.sum(), logits)
    assert loss.item() == pytest.approx(40, abs=1e-3)  # 1 - c is e^-40 of the other classes, and nearly nothing of the head
    assert slope[0, 0].tolist() == pytest.approx([1, -1, 0], abs=1e-3)


def test_the_smooth_minimum_is_between_minimum_and_mean_and_weighs_by_softmax():
    losses = torch.tensor([[0.1, 2.0], [1.0, 2.0], [3.0, 2.0]], dtype=torch.float64, requires_grad=True)
    assert smooth_minimum(losses, 1e-3).tolist() == pytest.approx([0.1 + 1e-3 * math.log(3), 2.0])
    assert smooth_minimum(losses, 1e5).tolist() == pytest.approx([4.1 / 3, 2.0], abs=1e-4)
    (weights,) = torch.autograd.grad(smooth_minimum(losses, 0.5).sum(), losses)
    parts = [math.exp(-loss / 0.5) for loss in (0.1, 1.0, 3.0)]
    assert weights[:, 0].tolist() == pytest.approx([part / sum(parts) for part in parts])


def linear(*rows: list[float], bias: tuple[float, ...] = ()) -> nn.Sequential:
    member = nn.Sequential(nn.Flatten(), nn.Linear(4, len(rows)))
    with torch.no_grad():
        member[1].weight.copy_(torch.tensor(rows))
        member[1].bias.copy_(torch.tensor(bias or [0.0] * len(rows)))
    return member


def test_the_images_of_each_linear_member_reach_its_own_corner():
    one, other = [1.0, -1, 1, -1], [1.0, 1, -1, -1]
    ensemble = Ensemble([linear(row, [-w for w in row]) for row in (one, other)], "confident")
    x, y, starts = torch.full((3, 1, 2, 2), 0.5), torch.tensor([0, 0, 1]), torch.rand(2, 3, 1, 2, 2, generator=seeded())
    made = images_against_members(ensemble, x, y, starts=starts, eps=0.2, steps=4)
    for images, row in zip(made, (one, other), strict=True):
        corner = 0.2 * torch.tensor(row).view(1, 1, 2, 2)
        torch.testing.assert_close(images, x + torch.stack([-corner, -corner, corner])[:, 0])


@pytest.mark.parametrize("model", ["patch", "small"])
def test_images_of_members_run_as_one_network_are_those_of_each(model):
    ensemble = build(model, "mnist", 2, seed=0, method="soe")
    x, y = torch.rand(8, 1, 28, 28, generator=seeded()), torch.arange(8)
    starts = torch.rand(2, *x.shape, generator=seeded(1))
    made = images_against_members(ensemble, x, y, starts=starts, eps=0.1, steps=1)
    for images, member, start in zip(made, ensemble.members, starts, strict=True):
        leaf = (x + 0.1 * (2 * start - 1)).clamp(0, 1).requires_grad_()
        (slope,) = torch.autograd.grad(F.cross_entropy(member(leaf), y, reduction="sum"), leaf)
        wanted = (x + (leaf.detach() + 0.25 * slope.sign() - x).clamp(-0.1, 0.1)).clamp(0, 1)
        assert (images - wanted).abs().gt(1e-6).float().mean() < 1e-3  # a slope of about 0 may have either sign


def test_running_averages_take_in_what_is_trained_on_and_not_the_search():
    norm = nn.BatchNorm2d(1, momentum=1.0)
    ensemble = Ensemble([nn.Sequential(norm, nn.Flatten(), nn.Linear(4, 2))], "confident").train()
    before = norm.running_mean.clone()
    x = torch.rand(6, 1, 2, 2, generator=seeded())
    images_against_members(ensemble, x, torch.zeros(6).long(), starts=torch.rand(1, *x.shape), eps=0.1, steps=2)
    assert torch.equal(norm.running_mean, before)
    soe(ensemble, x, torch.zeros(6).long(), **OPTIONS, soe_eps=0.0, generator=seeded(), x_ce=x)
    torch.testing.assert_close(norm.running_mean, x.mean().view(1))


@pytest.mark.parametrize("last", [nn.Softmax(-1), nn.LogSoftmax(-1)])
def test_members_that_return_probabilities_are_refused(last):
    good = linear([1.0, 0, 0, 0], [0.0, 1, 0, 0])
    free_shift(Ensemble([good]), torch.rand(2, 1, 2, 2))
    with pytest.raises(ValueError, match="member F2 returns probabilities or their logarithms"):
        free_shift(Ensemble([good, nn.Sequential(good, last)]), torch.rand(2, 1, 2, 2))


def test_cross_entropy_and_the_head_of_the_confidence_use_different_directions_of_the_last_layer():
    """So a member's logits hold both, and training one head does not turn the other."""
    member = build("patch", "mnist", 1, seed=0, method="soe").members[0]
    logits = member(torch.rand(5, 1, 28, 28, generator=seeded()))
    of_answer = torch.autograd.grad(F.cross_entropy(logits, torch.arange(5)), member.fc2.weight, retain_graph=True)[0]
    of_head = torch.autograd.grad(F.logsigmoid(logits.sum(-1) / 10**0.5).sum(), member.fc2.weight)[0]
    assert of_answer.norm() > 1e-3
    assert of_head.norm() > 1e-3
    assert (of_answer * of_head).sum().abs() < 1e-6 * of_answer.norm() * of_head.norm()


@pytest.mark.parametrize("targeted", [False, True])
def test_an_attack_on_members_also_makes_a_wrong_member_the_one_that_answers(targeted):
    """Whatever the image, F1 and F3 are right, F2 is wrong; F2 is the more confident the darker the first pixel, F3 the brighter
    the second, but never as much as F1.

    The vote's gradient only sees F1, so that PGD on it fools nothing; margins of members alone say nothing of the choice.
    """
    right = linear([0.0, 0, 0, 0], [0.0, 0, 0, 0.01], bias=(3.0, -1.0))
    wrong = linear([-9.0, 0, 0, 0], [-9.0, 0, 0, 0], bias=(3.0, 7.0))
    third = linear([0, 0.1, 0, 0], [0, 0.1, 0, 0], bias=(2.9, -1.1))
    ensemble = Ensemble([right, wrong, third], "confident").eval()
    x, y = torch.full((8, 1, 2, 2), 0.6), torch.full((8,), int(targeted))
    # All have p_max 1 / (1 + e^-4); the sums of the logits are about 2, 10 - 18 p and 1.9: F2 answers for p < .44.
    assert (ensemble(x).argmax(-1) == 0).all()
    made = pgd(ensemble, x, y, eps=0.2, steps=40, targeted=targeted, loss="margin", random_start=False)
    assert torch.equal(ensemble(made).argmax(-1), torch.zeros(8).long())
    made = pgd_members(ensemble, x, y, eps=0.2, steps=40, targeted=targeted, generator=seeded())
    assert torch.equal(ensemble(made).argmax(-1), torch.ones(8).long())
    assert (made[:, 0, 0, 0] < 0.45).all()


class Rows(nn.Module):
    """A member whose logits are one row of the image."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0, self.number]


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("targeted", [False, True])
def test_what_is_attacked_of_members_is_above_0_where_the_ensemble_is_fooled_and_lowest_where_they_are_right(targeted, members):
    ensemble = Ensemble([Rows(number) for number in range(members)], "confident")
    x, y = torch.randn(200, 1, members, 4, generator=seeded()), torch.arange(200) % 4
    values, reached = [], []
    for number in range(members):
        value, outputs = member_margin(number, targeted=targeted)(ensemble, x, y)
        is_y = x[:, 0, number].argmax(-1) == y
        values.append(-value if targeted else value)
        reached.append(is_y if targeted else ~is_y)
    values, reached = torch.stack(values), torch.stack(reached)
    fooled = (outputs.argmax(-1) == y) if targeted else (outputs.argmax(-1) != y)
    assert torch.equal((values > 0).any(0), fooled)
    assert ((values > 0).sum(0) <= 1).all()
    assert torch.equal(values < -1, ~reached)
    assert fooled.any()
    assert not fooled.all()
