from functools import partial

import pytest
import torch
from torch import nn

from trs_explorer.attack_catalogue import ATTACKS, PATH_ATTACKS, takes
from trs_explorer.attacks.fgsm import fgsm
from trs_explorer.attacks.pgd import pgd
from trs_explorer.catalogue import load
from trs_explorer.data import load_for
from trs_explorer.explore.attack_paths import attack_path, attack_path_on, attack_paths
from trs_explorer.explore.compute_lock import PriorityLock
from trs_explorer.gradients import log_odds
from trs_explorer.models import build
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.stored import load_ensemble
from trs_explorer.shipped import shipped_runs

Y = torch.tensor([0])


class Margin(nn.Module):
    """Class 0 where w . (x - .5) + c > 0; the attack's direction is -w everywhere."""

    def __init__(self, w, c):
        super().__init__()
        self.w, self.c = nn.Parameter(torch.tensor(w)), c

    def forward(self, x):
        margin = (x.flatten(1) - 0.5) @ self.w + self.c
        return torch.stack([margin, -margin], -1)


X = torch.full((1, 1, 1, 2), 0.5)


def test_the_path_of_pgd_on_a_linear_model_is_known():
    model = Margin([1.0, -2.0], 0.2)
    path = attack_path(model, X, Y, pgd, eps=0.375, steps=6, step_size=0.125, random_start=False, early_stop=False)
    shift = torch.tensor([0.0, 0.125, 0.25, 0.375])[:, None] * torch.tensor([-1.0, 1.0])
    assert torch.allclose(path.images.flatten(1), 0.5 + shift)  # then it stays in the corner: no repetitions
    assert torch.allclose(path.images[-1:], path.x_adv)
    assert path.fooled
    assert all(module.training for module in model.modules())
    assert model.w.grad is None


def test_the_path_of_fgsm_is_one_step():
    path = attack_path(Margin([1.0, -2.0], 0.2), X, Y, fgsm, eps=0.3)
    assert torch.allclose(path.images.flatten(1), torch.tensor([[0.5, 0.5], [0.2, 0.8]]))
    assert path.fooled


def test_a_path_that_fools_nobody_ends_at_the_image_of_highest_loss():
    """The attack itself returns x: drawn so, a failed attack would walk back to where it began."""
    path = attack_path(Margin([1.0, -2.0], 5.0), X, Y, fgsm, eps=0.3)
    assert not path.fooled
    assert torch.allclose(path.images.flatten(1), torch.tensor([[0.5, 0.5], [0.2, 0.8]]))
    assert torch.allclose(path.x_adv.flatten(), torch.tensor([0.2, 0.8]))
    still = attack_path(Margin([1.0, -2.0], 5.0), X, Y, fgsm, eps=0.0)
    assert len(still.images) == 1
    assert torch.equal(still.x_adv, X)


@pytest.mark.parametrize("targeted", [False, True])
def test_a_failed_path_that_passes_its_highest_loss_comes_back_to_it(targeted):
    """Along x1 from .5: .4 .3 .2 .3, of which .2 is nearest to class 1."""

    def wandering(model, x, y, *, generator=None, targeted=False):
        for place in (0.4, 0.3, 0.2, 0.3):
            point = x.clone()
            point[..., 0] = place
            model(point)
        return x

    label = torch.tensor([1]) if targeted else Y
    path = attack_path(Margin([1.0, 0.0], 5.0), X, label, wandering, **({"targeted": True} if targeted else {}))
    assert torch.allclose(path.images[:, 0, 0, 0], torch.tensor([0.5, 0.4, 0.3, 0.2, 0.3, 0.2]))
    assert path.x_adv[0, 0, 0, 0].item() == pytest.approx(0.2)
    assert not path.fooled


@pytest.mark.parametrize(("run", "image", "model"), [("bars-cos-only", None, 0), ("mnist-trs", 15, 0)])
def test_failed_attacks_on_shipped_runs_end_away_from_the_image(run, image, model):
    chosen = next(one for one in shipped_runs() if one.name == run)
    ensemble, test = load_ensemble(chosen)[0], load_for(chosen, train=False)
    attack = partial(pgd, eps=0.05 if image is None else 0.1, steps=10)
    failed = 0
    for k in range(12) if image is None else (image,):
        x, y = test.images(torch.tensor([k])), test.y[k : k + 1]
        for path, network in zip(attack_paths(ensemble, x, y, attack, seed=0), [*ensemble.members, ensemble], strict=True):
            if path.fooled:
                continue
            failed += 1
            assert (path.x_adv - x).abs().amax() > 0.02
            with torch.no_grad():
                losses = log_odds(network.eval()(path.images), y.expand(len(path.images)))
            assert losses[-1] == pytest.approx(losses.max().item(), abs=1e-4)
    assert failed


def test_a_targeted_attack_has_fooled_when_the_class_is_the_wanted_one():
    wanted = torch.tensor([1])
    near, far = (attack_path(Margin([1.0, -2.0], c), X, wanted, fgsm, eps=0.3, targeted=True) for c in (0.2, 5.0))
    assert (near.fooled, far.fooled) == (True, False)


@pytest.mark.parametrize("options", [{}, {"norm": "l2", "eps": 3.0}, {"restarts": 2}, {"early_stop": True}])
def test_recording_changes_nothing(options):
    ensemble = build("patch", "mnist", 2, seed=0).eval()
    x = torch.rand(1, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    y = ensemble(x).argmax(-1)
    arguments = {"eps": 0.3, "steps": 6, **options}
    path = attack_path(ensemble, x, y, pgd, generator=torch.Generator().manual_seed(2), **arguments)
    direct = pgd(ensemble, x, y, generator=torch.Generator().manual_seed(2), **arguments)
    assert not torch.equal(direct, x)
    assert torch.equal(path.x_adv, direct)
    assert path.fooled == (ensemble(direct).argmax(-1) != y).item()
    assert torch.equal(path.images[0], x[0])
    assert torch.equal(path.images[-1], direct[0])
    assert len(path.images) > 3
    assert all(not torch.equal(a, b) for a, b in zip(path.images, path.images[1:], strict=False))


def test_an_attack_that_works_in_place_or_lies_is_recorded_as_it_was():
    def creeping(model, x, y, *, generator=None):
        point = x.clone()
        for _ in range(3):
            model(point)
            point -= 0.1
        return point

    path = attack_path(Margin([1.0, 0.0], 0.25), X, Y, creeping)
    assert torch.allclose(path.images[:, 0, 0, 0], torch.tensor([0.5, 0.4, 0.3, 0.2]))
    assert path.fooled  # nobody but the model says so


def test_members_and_ensemble_are_attacked_at_once_and_to_the_end():
    twins = Ensemble([Margin([1.0, -2.0], 0.1), Margin([1.0, -2.0], 0.1), Margin([-1.0, 2.0], 0.1)])
    found = attack_paths(twins, X, Y, partial(pgd, eps=0.3, steps=5, random_start=False), seed=3)
    assert len(found) == 4
    assert torch.equal(found[0].images, found[1].images)
    for model, path in zip([*twins.members, twins], found, strict=True):
        alone = attack_path(model, X, Y, pgd, eps=0.3, steps=5, random_start=False, early_stop=False)
        assert torch.equal(path.images, alone.images)
        assert torch.equal(path.x_adv, alone.x_adv)
        assert path.fooled == alone.fooled
    assert not torch.equal(found[0].images[2], found[2].images[2])
    found = attack_paths(twins, X, Y, partial(pgd, eps=0.3, steps=5), seed=3)
    assert torch.equal(found[1].images, attack_paths(twins, X, Y, partial(pgd, eps=0.3, steps=5), seed=3)[1].images)
    assert len(found[0].images) >= 6  # early_stop would have left before
    other = attack_paths(twins, X, Y, pgd, seed=4, eps=0.3, steps=5)
    assert not torch.equal(other[0].images[1], found[0].images[1])
    assert len(attack_paths(twins, X, Y, fgsm, seed=0, eps=0.3)) == 4  # which has no early_stop


def test_an_attack_that_takes_its_batch_apart_goes_from_one_model_to_the_next():
    def one_by_one(model, x, y, *, eps, generator=None):
        assert len({tuple(image.flatten().tolist()) for image in x}) == 1
        return torch.cat([fgsm(model, image.repeat(5, 1, 1, 1), y[:1].repeat(5), eps=eps)[:1] for image in x.split(1)])

    pair = Ensemble([Margin([1.0, -2.0], 0.1), Margin([-1.0, 2.0], 0.1)])
    found, expected = attack_paths(pair, X, Y, one_by_one, seed=0, eps=0.3), attack_paths(pair, X, Y, fgsm, seed=0, eps=0.3)
    assert [path.fooled for path in found] == [path.fooled for path in expected]
    assert all(torch.equal(one.x_adv, other.x_adv) for one, other in zip(found, expected, strict=True))


def test_the_path_on_one_model_begins_with_the_noise_that_it_has_among_all():
    ensemble = build("mlp", "bars", 3, seed=1)
    x, y = torch.full((1, 1, 1, 2), 0.5), torch.tensor([0])
    arguments = {"eps": 0.3, "steps": 4}
    together = attack_paths(ensemble, x, y, pgd, seed=7, **arguments)
    assert len({tuple(path.images[1].flatten().tolist()) for path in together}) == 4  # each has a start of its own
    for number, path in enumerate(together):
        alone = attack_path_on(ensemble, number, x, y, pgd, seed=7, **arguments)
        assert torch.allclose(alone.images[1], path.images[1], atol=1e-6)
        assert torch.allclose(alone.x_adv, path.x_adv, atol=1e-6)


@pytest.mark.parametrize("name", PATH_ATTACKS)
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_path_of_every_attack_with_a_radius_stays_in_its_ball_and_ends_at_its_result(name, norm):
    ensemble = build("patch", "mnist", 2, seed=0).eval()
    x = torch.rand(1, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    y = ensemble(x).argmax(-1)
    few = {key: 3 for key in ("steps", "reference_steps") if takes(name, key)}
    attack = partial(load(ATTACKS[name].function), eps=0.2, norm=norm, **few)
    recorded = attack_paths(ensemble, x, y, attack, seed=5)
    assert len(recorded) == 3
    for number, path in enumerate(recorded):
        shift = (path.images - x).flatten(1)
        assert (shift.abs().amax(1) if norm == "linf" else shift.norm(dim=1)).max() <= 0.2 + 1e-5
        assert torch.equal(path.images[-1], path.x_adv[0])
        assert len(path.images) >= 2
        alone = attack_path_on(ensemble, number, x, y, PriorityLock().yielding(attack), seed=5)
        torch.testing.assert_close(alone.x_adv, path.x_adv)
        assert len(alone.images) == len(path.images)


def test_models_are_attacked_one_by_one_where_an_attack_cannot_take_them_together():
    """An attack of others may pass single images to the model, or read attributes of it."""
    ensemble = Ensemble([Margin([1.0, -2.0], 0.2), Margin([2.0, 1.0], 0.1)])
    sizes = []

    def attack(model, x, y, *, eps, generator):
        sizes.append(len(x))
        return x - eps * torch.rand(1, generator=generator)

    paths = attack_paths(ensemble, X, Y, attack, seed=3, eps=0.1, together=False)
    assert sizes == [1, 1, 1]
    alone = [attack_path_on(ensemble, k, X, Y, attack, seed=3, eps=0.1) for k in range(3)]
    assert all(torch.equal(one.x_adv, other.x_adv) for one, other in zip(paths, alone, strict=True))
