"""MORA's weights of the members against finite differences of the ensemble's log-odds."""

from importlib import import_module

import pytest
import torch

from trs_explorer.attacks.mora import mora, reweighed_margin, weights
from trs_explorer.models.ensemble import Ensemble


@pytest.mark.parametrize("votes", [None, torch.tensor([3.0, 1.0, 0.0], dtype=torch.float64)])
def test_a_member_weighs_what_its_logit_moves(votes):
    torch.manual_seed(0)
    logits, y = torch.randn(3, 40, 5, dtype=torch.float64) + 3 * torch.eye(5, dtype=torch.float64)[0], torch.zeros(40).long()
    right = logits.argmax(-1) == 0
    logits = logits[:, right.all(0)]  # where one is wrong already, it gets nothing: the test below
    y, shares = y[right.all(0)], torch.ones(3, dtype=torch.float64) / 3 if votes is None else votes / votes.sum()

    def log_odds(z, j):
        p = torch.einsum("m,mbc->bc", shares, z.softmax(-1)).log()
        return p.gather(1, j[:, None])[:, 0] - p.gather(1, y[:, None])[:, 0]

    mean = torch.einsum("m,mbc->bc", shares, logits.softmax(-1))
    j = mean.scatter(1, y[:, None], -1.0).argmax(-1)
    slopes = []
    for member in range(3):
        step = torch.zeros_like(logits)
        step[member].scatter_(1, j[:, None], 1e-6)
        slopes.append((log_odds(logits + step, j) - log_odds(logits - step, j)) / 2e-6)
    expected = torch.stack(slopes)
    torch.testing.assert_close(weights(logits.softmax(-1), y, votes), expected / expected.sum(0), rtol=1e-5, atol=1e-8)


def test_members_that_are_wrong_or_have_no_vote_get_nothing():
    p = torch.tensor([[[0.2, 0.8]], [[0.9, 0.1]], [[0.9, 0.1]]])
    assert weights(p, torch.tensor([0])).flatten().tolist() == pytest.approx([0, 0.5, 0.5])
    assert weights(p, torch.tensor([0]), torch.tensor([1.0, 1.0, 0.0])).flatten().tolist() == pytest.approx([0, 1, 0])


@pytest.mark.parametrize("voting", ["weighted", "sum"])
def test_a_member_without_a_vote_does_not_lead_the_attack_astray(voting):
    """The member that votes points one way, the one that does not the other way, and more steeply."""
    members = []
    for scale in (1.0, -50.0):
        member = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False))
        with torch.no_grad():
            member[1].weight.copy_(scale * torch.tensor([[1.0] * 4, [-1.0] * 4]))
        members.append(member)
    ensemble = Ensemble(members, voting)
    x, y = torch.full((3, 1, 2, 2), 0.05), torch.zeros(3).long()
    made = mora(ensemble, x, y, eps=0.3, steps=10, for_transfer=True, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(made, torch.zeros_like(made))  # down the slope of the one that votes, to the end of [0, 1]


def test_of_a_sum_of_logits_it_climbs_the_sums_own_margin():
    """One member is sure, one is wrong, one is neither: in a sum each logit counts its vote, whatever the others say."""
    torch.manual_seed(1)
    members = [torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3)) for _ in range(3)]
    with torch.no_grad():
        members[0][1].weight.mul_(40)
    ensemble = Ensemble(members, "sum")
    ensemble.vote_weights.copy_(torch.tensor([1.0, 2.0, 0.5]))
    x, y = torch.rand(8, 1, 2, 2), torch.zeros(8).long()
    value, outputs = reweighed_margin(ensemble, x, y)
    total = members[0](x) + 2 * members[1](x) + 0.5 * members[2](x)
    torch.testing.assert_close(outputs, total.log_softmax(-1))
    torch.testing.assert_close(value, total[:, 1:].amax(-1) - total[:, 0])


def test_of_a_mean_it_climbs_nine_parts_members_and_one_part_ensemble():
    """Image by image: logits of a member that leads by more than 10 are scaled down to that; the ensemble's, to a lead of 1."""
    torch.manual_seed(2)
    members = [torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3)).double() for _ in range(3)]
    with torch.no_grad():
        members[0][1].weight.mul_(80)
    ensemble, x, y = Ensemble(members), torch.rand(8, 1, 2, 2, dtype=torch.float64), torch.zeros(8).long()
    value, outputs = reweighed_margin(ensemble, x, y)
    torch.testing.assert_close(outputs, ensemble(x))
    for i in range(8):
        logits = torch.stack([member(x[i : i + 1])[0] for member in members])
        top = logits.topk(2).values
        lead = (top[:, 0] - top[:, 1]).max().item()
        logits = logits / max(1.0, lead / 10)
        shares = weights(logits.softmax(-1)[:, None], y[:1])[:, 0]
        total, (first, second) = shares @ logits, outputs[i].topk(2).values
        own = (outputs[i, 1:].max() - outputs[i, 0]) / (first - second)
        assert value[i].item() == pytest.approx((0.9 * (total[1:].max() - total[0]) + 0.1 * own).item())


def test_its_steps_fall_from_twice_the_radius_to_nothing():
    """Seen is each step before its projection, along a gradient that stays; a quarter of the one before is added."""
    member = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        member[1].weight.copy_(torch.tensor([[1.0] * 4, [-1.0] * 4]))
    moves = []

    def ascent(model, x, y, search, update, **options):
        memory = torch.zeros_like(x)
        for step in range(4):
            shift, memory = update(torch.ones_like(x), memory, step)
            moves.append(shift.flatten()[0].item())
        return x

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_module("trs_explorer.attacks.mora"), "projected_ascent", ascent)
        mora(member, torch.full((1, 1, 2, 2), 0.5), torch.zeros(1).long(), eps=0.4, steps=4)
    expected = [0.8]
    for size in (0.6, 0.4, 0.2):
        expected.append(0.75 * size + 0.25 * expected[-1])
    assert moves == pytest.approx(expected)
