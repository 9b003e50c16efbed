"""iGAT against its formula, image by image with numpy; who learns an image, by its frequencies; and that a training uses PGD."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from defences_plain import turned
from torch import nn

from trs_explorer import runs
from trs_explorer.config import resolve
from trs_explorer.defences.adp import adp
from trs_explorer.defences.adversarial import adversarial_images
from trs_explorer.defences.igat import draw_members, igat, wrong_class_loss
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.training import steps
from trs_explorer.training.state import prepare

OPTIONS = {"lambda_global": 5.0, "lambda_wrong": 10.0, "lambda_entropy": 2.0, "lambda_logdet": 0.5}


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def fooling(ensemble, batch) -> torch.Tensor:
    """Images of the batch's labels; the ensemble misclassifies some of them, and some members are right on those."""
    x = (batch[0] + 3 * torch.randn(batch[0].shape, generator=noise(3), dtype=torch.float64)).clamp(0, 1)
    with torch.no_grad():
        fooled = ensemble(x).argmax(-1) != batch[1]
    assert 0 < fooled.sum() < len(x)
    return x


def probabilities(ensemble: Ensemble, x: torch.Tensor) -> np.ndarray:
    """[member, image, class]."""
    logits = np.stack([one(x).detach().numpy() for one in ensemble.members])
    return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


def explicit(ensemble: Ensemble, x: torch.Tensor, y: torch.Tensor, drawn: list[int]) -> dict[str, float]:
    """The three terms at adversarial images x, of which the drawn members learn those that fool the ensemble."""
    p = probabilities(ensemble, x)
    terms = {"adversarial": 0.0, "global": 0.0, "wrong": 0.0}
    for i, label in enumerate(y.tolist()):
        terms["adversarial"] -= np.log(p[:, i, label]).sum() / len(y)
        if p[:, i].mean(0).argmax() != label:
            terms["global"] -= 5 * np.log(p[drawn[i], i, label]) / len(y)
            terms["wrong"] -= 10 * sum(np.log(1 - np.delete(one, label).max()) for one in p[:, i]) / len(y)
    return terms


def test_terms_are_those_of_adp_at_the_images_and_the_formula_at_the_adversarial_ones(ensemble, batch, fooling):
    (x, y), p = batch, probabilities(ensemble, fooling)
    losses = torch.tensor(-np.log(p[:, range(6), y]))
    drawn = draw_members(losses, generator=noise()).tolist()
    of_adp = adp(ensemble, x, y, lambda_entropy=2.0, lambda_logdet=0.5, x_ce=x)
    expected = {name: of_adp[name].item() for name in ("ce", "entropy", "logdet")} | explicit(ensemble, fooling, y, drawn)
    terms = {name: value.item() for name, value in igat(ensemble, x, y, **OPTIONS, generator=noise(), x_ce=fooling).items()}
    assert len(set(drawn)) > 1
    assert terms.pop("total") == pytest.approx(sum(expected.values()), abs=1e-9)
    assert terms == pytest.approx(expected, abs=1e-9)


def test_an_image_that_only_members_misclassify_is_not_shared_out(ensemble, batch):
    with torch.no_grad():
        y = ensemble(batch[0]).argmax(-1)
    terms = igat(ensemble, batch[0], y, **OPTIONS, generator=noise(), x_ce=batch[0])
    assert (ensemble.member_logits(batch[0]).argmax(-1) != y).any()
    assert terms["global"] == terms["wrong"] == 0


def test_the_order_of_the_members_does_not_matter_but_for_the_draw(ensemble, batch, fooling):
    one, other = (igat(e, *batch, **OPTIONS, generator=noise(), x_ce=fooling) for e in (ensemble, turned(ensemble)))
    for name in ("ce", "entropy", "logdet", "adversarial", "wrong"):
        assert one[name].item() == pytest.approx(other[name].item(), abs=1e-9)


@pytest.mark.parametrize("members", [2, 3])
def test_the_better_a_member_has_an_image_the_likelier_it_gets_it(members):
    """Probabilities 2/3, 1/3 and 4/7, 2/7, 1/7, in the order of the losses, whatever their sizes."""
    losses = torch.tensor([[0.2], [9.0], [0.1]])[-members:]
    counts = torch.bincount(draw_members(losses.expand(-1, 20_000), generator=noise()), minlength=members) / 20_000
    expected = {2: [1 / 3, 2 / 3], 3: [2 / 7, 1 / 7, 4 / 7]}[members]
    assert counts.tolist() == pytest.approx(expected, abs=0.015)  # over four standard errors


def test_only_the_drawn_member_learns_from_the_global_term(ensemble, batch, fooling):
    y = batch[1]
    with torch.no_grad():
        fooled = (ensemble(fooling).argmax(-1) != y).nonzero()[:1, 0]
        losses = torch.stack([F.cross_entropy(one(fooling[fooled]), y[fooled], reduction="none") for one in ensemble.members])
    drawn = int(draw_members(losses, generator=noise()))
    term = igat(ensemble, fooling[fooled], y[fooled], **OPTIONS, generator=noise(), x_ce=fooling[fooled])["global"]
    slopes = torch.autograd.grad(term, [one.fc2.bias for one in ensemble.members], allow_unused=True)
    wanted = ensemble.members[drawn](fooling[fooled]).softmax(-1)[0] - F.one_hot(y[fooled], 3)[0]
    torch.testing.assert_close(slopes[drawn], 5 * wanted)
    assert all(slope is None or not slope.any() for i, slope in enumerate(slopes) if i != drawn)


def test_a_member_that_is_certain_of_a_wrong_class_still_learns():
    """-log(1 - p) of class 1 rises by p in its logit; the true class 0 and the third share 1 - p."""
    logits = torch.tensor([[[0.0, 200.0, 0.0]], [[0.0, 1.0, 0.5]]], requires_grad=True)
    losses = wrong_class_loss(logits, torch.tensor([0]))
    p = float(np.exp(1) / (1 + np.exp(1) + np.exp(0.5)))
    assert losses[:, 0].tolist() == pytest.approx([200 - np.log(2), -np.log(1 - p)], rel=1e-6)
    losses.sum().backward()
    assert logits.grad[0, 0].tolist() == pytest.approx([-0.5, 1.0, -0.5])
    assert logits.grad[1, 0, 1].item() == pytest.approx(p, rel=1e-5)


def test_with_two_classes_the_wrong_class_term_is_cross_entropy():
    members = [nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).double() for _ in range(2)]
    ensemble, x, y = Ensemble(members), torch.rand(7, 1, 2, 2, dtype=torch.float64), torch.tensor([0, 1, 0, 1, 1, 0, 0])
    wanted = torch.stack([F.cross_entropy(one(x), y, reduction="none") for one in members])
    torch.testing.assert_close(wrong_class_loss(ensemble.member_logits(x), y), wanted)
    total = igat(ensemble, x, y, **OPTIONS, generator=noise(), x_ce=x)["total"]
    assert all(slope.isfinite().all() for slope in torch.autograd.grad(total, list(ensemble.parameters())))


def test_in_bfloat16_the_terms_are_float32():
    members = [nn.Sequential(nn.Flatten(), nn.Linear(784, 10)) for _ in range(3)]
    ensemble, x, y = Ensemble(members), torch.rand(8, 1, 28, 28), torch.arange(8)
    ensemble.autocast = True
    assert all(term.dtype == torch.float32 for term in igat(ensemble, x, y, **OPTIONS, generator=noise(), x_ce=x).values())


def test_a_training_step_attacks_the_ensemble(tmp_path, monkeypatch):
    """By its recipe alone: ten PGD steps at the usual radius, and a draw of its own in each step."""
    state = prepare(runs.create(tmp_path / "run", resolve({"method": "igat", "limit": 64, "batch_size": 32})))
    seen = []

    def recorded(ensemble, x, y, *, generator, x_ce, lambda_global, lambda_wrong, lambda_entropy, lambda_logdet):
        seen.append((x, y, x_ce, generator.initial_seed()))
        return igat(ensemble, x, y, **OPTIONS, generator=generator, x_ce=x_ce)

    monkeypatch.setattr(steps, "load", lambda _: recorded)
    state.parts, orders = 1, steps.epoch_orders(state)
    with torch.no_grad():
        state.ensemble.train()
    x, y = state.images.images(orders[0, :32]), state.images.y[orders[0, :32]]
    state.ensemble.autocast = state.bfloat16
    draws = steps.generator(0, steps.ADVERSARIAL, 0, 0)
    wanted = adversarial_images(state.ensemble, x, y, eps=0.2, steps=10, generator=draws)
    for k in range(2):
        steps.training_step(state, orders[:, 32 * k : 32 * (k + 1)])
    (given_x, given_y, given_adversarial, first), (*_, second) = seen
    assert torch.equal(given_x, x)
    assert torch.equal(given_y, y)
    assert torch.equal(given_adversarial, wanted)
    assert (wanted - x).abs().amax(dim=(1, 2, 3)).allclose(torch.full((32,), 0.2), atol=1e-6)
    assert first != second
