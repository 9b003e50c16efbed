"""FASTEN's moved images against a plain loop, its divergences against torch's, its loss against a loop over members."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Categorical, kl_divergence

from trs_explorer.defences.fasten import fasten, inter, intra, one_step, recycled
from trs_explorer.defences.feature_search import drawn_layer
from trs_explorer.models import build
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.features import features

OPTIONS = {"distill_eps": 0.3, "lambda_intra": 2.0, "lambda_inter": 0.5}
FC1 = 1  # a seed that draws the second of two layers: at the first, the image itself, all members move it alike


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def memory_for(images: int, kept: int = 0) -> torch.Tensor:
    return torch.full((images, 1, 2, 2), kept, dtype=torch.uint8)


def loss(ensemble: Ensemble, x: torch.Tensor, y: torch.Tensor, memory: torch.Tensor, **more: object) -> dict[str, torch.Tensor]:
    given = {**OPTIONS, "rows": torch.arange(len(x)), "x_ce": x, **more}
    return fasten(ensemble, x, y, **given, image_memory=memory, generator=generator(), epoch_generator=generator(FC1))


def test_one_step_is_a_sign_step_of_a_single_image_from_the_sum_of_two_noises(ensemble, batch):
    x, _ = batch
    pair = Ensemble([*ensemble.members][:2])
    made = one_step(pair, x, layer="fc1", eps=0.3, generator=generator())
    draws = generator()
    shared, *own = (0.3 * (2 * torch.rand(x.shape, generator=draws, dtype=x.dtype) - 1) for _ in range(3))
    for one, noise, images in zip(pair.members, own, made, strict=True):
        for image, shift, found in zip(x, shared + noise, images, strict=True):
            leaf = (image + shift).clamp(0, 1)[None].requires_grad_()
            (slope,) = torch.autograd.grad(F.mse_loss(one[:2](leaf), one[:2](image[None])), leaf)
            away = leaf[0] + 0.3 * slope[0].sign()
            torch.testing.assert_close(found, torch.minimum(torch.maximum(away, image - 0.3), image + 0.3).clamp(0, 1))


@pytest.mark.parametrize("layer", ["conv1", "conv2", "fc1"])
def test_the_step_leads_away_in_the_features_and_not_out_of_the_ball(layer):
    pair = build("patch", "mnist", 2, seed=0).eval()
    x = torch.rand(8, 1, 28, 28, generator=generator())
    made = one_step(pair, x, layer=layer, eps=0.2, generator=generator(1))
    assert (made - x).abs().max() <= 0.2 + 1e-6
    assert ((made >= 0) & (made <= 1)).all()
    noise = (x + 0.2 * (2 * torch.rand(x.shape, generator=generator(2)) - 1).sign()).clamp(0, 1)  # as long, in no direction
    for one, images in zip(pair.members, made, strict=True):
        far, near = ((features(one, other, layer) - features(one, x, layer)).norm(dim=1) for other in (images, noise))
        assert (far > 1.05 * near).all()


@pytest.mark.parametrize("layer", ["conv1", "fc1"])
def test_members_as_one_network_move_images_alike(monkeypatch, layer):
    pair = build("patch", "mnist", 2, seed=0).double()
    x = torch.rand(4, 1, 28, 28, dtype=torch.float64, generator=generator())
    by_hand = one_step(pair, x, layer=layer, eps=0.3, generator=generator())
    monkeypatch.setattr(Ensemble, "stacked", lambda self: self)
    torch.testing.assert_close(by_hand, one_step(pair, x, layer=layer, eps=0.3, generator=generator()))


def test_nothing_is_mixed_into_images_of_which_nothing_is_kept(batch):
    x, _ = batch
    moved = (x + 0.1 * torch.randn(2, *x.shape, dtype=x.dtype, generator=generator()).sign()).clamp(0, 1)
    images, kept = recycled(x, moved, memory_for(6), eps=0.1, generator=generator())
    torch.testing.assert_close(images, moved)
    assert torch.equal(kept, torch.where(moved[1] > x, 255, 1).to(torch.uint8))


def test_a_kept_perturbation_goes_into_the_first_members_and_that_into_the_seconds(batch):
    """All of one sign, so that a mistaken order or member gives another number."""
    x, _ = batch
    moved = torch.stack([x + 0.1, x - 0.04])
    images, kept = recycled(x, moved, memory_for(6, kept=128 - 127), eps=0.1, generator=generator())  # -.1 is kept
    draws = generator()
    r, s = (torch.rand((), generator=draws, dtype=x.dtype).item() for _ in range(2))
    first = r * 0.1 - (1 - r) * 0.1
    second = -s * 0.04 + (1 - s) * first
    torch.testing.assert_close(images, torch.stack([x + first, x + second]))
    assert torch.equal(kept, memory_for(6, kept=128 + round(second / 0.1 * 127)))


def test_what_is_kept_is_what_the_image_in_0_1_has_and_comes_back_to_a_254th_of_eps():
    x = torch.tensor([0.0, 0.02, 1.0, 0.5]).view(1, 1, 2, 2)
    moved = (x + torch.tensor([-0.1, -0.1, 0.1, 0.0333]).view(1, 1, 2, 2)).expand(2, 1, 1, 2, 2)
    images, kept = recycled(x, moved, torch.zeros(1, 1, 2, 2, dtype=torch.uint8), eps=0.1, generator=generator())
    back = (kept.float() - 128) / 127 * 0.1
    torch.testing.assert_close(x + back, images[1], rtol=0, atol=0.1 / 254 + 1e-6)
    assert kept.flatten()[[0, 2]].tolist() == [128, 128]  # black gets no blacker, white no whiter
    _, none = recycled(x, x.expand(2, 1, 1, 2, 2), kept, eps=0.0, generator=generator())
    assert (none == 128).all()


def test_divergences_are_torchs(batch):
    """Of the paper's two sums, written out: 2 answers, 3 members, 5 images, 4 classes."""
    answers = torch.randn(2, 3, 5, 4, dtype=torch.float64, generator=generator()).log_softmax(-1)
    mean = answers.exp().mean(0)
    within = sum(kl_divergence(Categorical(mean[i]), Categorical(logits=answers[k, i])) for i in range(3) for k in range(2)) / 2
    assert intra(answers).item() == pytest.approx(within.mean().item(), abs=1e-12)
    between = 0.0
    for i in range(3):
        for j in range(3):
            if i != j:
                between += F.kl_div(answers[:, i].mean(0), mean[j], reduction="sum").item() / 5 / 2
    assert inter(answers).item() == pytest.approx(between, abs=1e-12)


def test_divergences_of_members_that_are_sure_are_finite():
    logits = torch.tensor([[0.0, 1e3, -1e3], [1e3, 0.0, -1e3]]).repeat(2, 2, 1, 1).requires_grad_()
    answers = logits.log_softmax(-1)
    total = intra(answers) - inter(answers)
    (slope,) = torch.autograd.grad(total, logits)
    assert math.isfinite(total.item())
    assert slope.isfinite().all()


def taken_images(ensemble: Ensemble, x: torch.Tensor, memory: torch.Tensor) -> tuple[list[torch.Tensor], list[int], torch.Tensor]:
    """The images that each member is trained on by the same draws, the two members that moved them, and what is kept."""
    draws = generator()
    pair = torch.randperm(len(ensemble), generator=draws)[:2].tolist()
    layer = drawn_layer(ensemble, generator(FC1))
    moved = one_step(Ensemble([ensemble.members[i] for i in pair]), x, layer=layer, eps=0.3, generator=draws)
    images, kept = recycled(x, moved, memory, eps=0.3, generator=draws)
    others = torch.randint(2, (len(ensemble),), generator=draws).tolist()
    return [images[1 if i == pair[0] else 0 if i == pair[1] else others[i]] for i in range(len(ensemble))], pair, kept


@pytest.mark.parametrize("members", [2, 4])
@pytest.mark.parametrize("adversarial", [False, True])
@pytest.mark.parametrize("kept", [0, 200])
def test_the_loss_is_a_loop_over_members(ensemble, batch, members, adversarial, kept):
    x, y = batch
    ensemble = Ensemble([*ensemble.members][:members])
    x_ce, memory = (x + 0.1 if adversarial else x), memory_for(6, kept)
    images, _, _ = taken_images(ensemble, x, memory.clone())
    terms = loss(ensemble, x, y, memory, x_ce=x_ce)
    seen = [[x, images[i], *([x_ce] if adversarial else [])] for i in range(members)]
    p = [torch.stack([one(batch).softmax(-1) for batch in of]) for one, of in zip(ensemble.members, seen, strict=True)]
    ce = sum(F.nll_loss(p[i][k].log(), y).item() for i in range(members) for k in range(1, len(seen[i])))
    within = sum((q.mean(0) * (q.mean(0) / one).log()).sum(-1).mean().item() for q in p for one in q) / len(seen[0])
    pairs = [(i, j) for i in range(members) for j in range(members) if i != j]
    between = sum((p[j].mean(0) * (p[j].mean(0).log() - p[i].log().mean(0))).sum(-1).mean().item() for i, j in pairs)
    expected = {"ce": ce, "intra": 2.0 * within, "inter": -0.5 * between / (members - 1)}
    assert {name: value.item() for name, value in terms.items() if name != "total"} == pytest.approx(expected, abs=1e-9)
    assert terms["total"].item() == pytest.approx(sum(expected.values()), abs=1e-9)


def test_the_two_members_are_trained_on_each_others_images(ensemble, batch, monkeypatch):
    """Seen in what they are given, with images that say by their brightness who has moved them."""
    from trs_explorer.defences import fasten as module

    x, y = batch
    bright = torch.stack([torch.full_like(x, 0.25), torch.full_like(x, 0.75)])
    monkeypatch.setattr(module, "recycled", lambda x, moved, kept, **_: (bright, kept))
    given: dict[int, list[float]] = {}
    for number, member in enumerate(ensemble.members):
        member.register_forward_pre_hook(lambda _, args, n=number: given.setdefault(n, []).append(args[0].mean().item()))
    drawn, pairs = set(), set()
    for seed in range(30):
        given.clear()
        first, second, *rest = torch.randperm(4, generator=generator(seed)).tolist()
        options = {**OPTIONS, "image_memory": memory_for(6), "rows": torch.arange(6), "x_ce": x}
        module.fasten(ensemble, x, y, **options, generator=generator(seed), epoch_generator=generator(FC1))
        assert (given[first][-1], given[second][-1]) == (0.75, 0.25)
        pairs.add((first, second))
        drawn |= {(number, given[number][-1]) for number in rest}
    assert drawn == {(number, shade) for number in range(4) for shade in (0.25, 0.75)}
    assert len(pairs) > 8


def test_the_memory_is_written_at_the_rows_of_the_batch_and_used_there(ensemble, batch):
    x, y = batch
    rows, memory = torch.tensor([7, 0, 3, 9, 2, 5]), memory_for(10)
    _, _, kept = taken_images(ensemble, x, memory_for(6))
    first = loss(ensemble, x, y, memory, rows=rows)["total"]
    assert torch.equal(memory[rows], kept)
    assert (memory[[1, 4, 6, 8]] == 0).all()
    assert loss(ensemble, x, y, memory, rows=rows)["total"] != first  # by the same draws: what was kept is in the images


def test_a_members_loss_touches_its_own_weights_only_and_the_reward_does(ensemble, batch):
    """Each member's terms by themselves, all others as constants, give the same slopes as their sum."""
    x, y = batch
    together = torch.autograd.grad(loss(ensemble, x, y, memory_for(6))["total"], list(ensemble.parameters()))
    images, _, _ = taken_images(ensemble, x, memory_for(6))
    with torch.no_grad():
        answers = torch.stack([torch.stack([m(b) for m, b in zip(ensemble.members, images, strict=True)])])
        clean = torch.stack([m(x) for m in ensemble.members])
    alone = []
    for i, one in enumerate(ensemble.members):
        mine = answers[0].clone()
        logits = one(images[i])
        log_p = torch.stack([clean[i], logits]).log_softmax(-1)
        mean = log_p.exp().mean(0)
        others = [torch.stack([clean[j], mine[j]]).softmax(-1).mean(0) for j in range(4) if j != i]
        reward = sum(F.kl_div(log_p.mean(0), other, reduction="batchmean") for other in others) / 3
        within = sum((mean * (mean.log() - q)).sum(-1).mean() for q in log_p) / 2
        total = F.cross_entropy(logits, y) + 2.0 * within - 0.5 * reward
        alone += torch.autograd.grad(total, list(one.parameters()))
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a, b)
    slopes = torch.autograd.grad(loss(ensemble, x, y, memory_for(6))["inter"], list(ensemble.parameters()))
    assert all(slope.abs().max() > 0 for slope in slopes)


def test_running_averages_see_no_image_on_its_way():
    norm = torch.nn.BatchNorm2d(1)
    one = torch.nn.Sequential()
    one.add_module("norm", norm)
    one.add_module("flatten", torch.nn.Flatten())
    one.feature_layers = ("norm", "flatten")
    before = norm.running_mean.clone()
    one_step(Ensemble([one, one]).train(), torch.rand(3, 1, 2, 2), layer="norm", eps=0.1, generator=generator())
    assert torch.equal(norm.running_mean, before)
