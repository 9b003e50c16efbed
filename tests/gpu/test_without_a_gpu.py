"""What a GPU would refuse or wait for, found without one: every step, attack, probe and slice on a card that is not there."""

import importlib
import types

import pytest
import torch
from fake_cuda import CARD, fake_cuda

from trs_explorer import data
from trs_explorer.attack_catalogue import ATTACKS
from trs_explorer.attacks.options import keywords
from trs_explorer.catalogue import DATA, METHODS, load
from trs_explorer.config import resolve
from trs_explorer.evaluation.probe import probe
from trs_explorer.explore.planes import Plane
from trs_explorer.explore.slices import sample
from trs_explorer.models import to_device
from trs_explorer.models.factory import build, build_for
from trs_explorer.training import state, steps

square = importlib.import_module("trs_explorer.attacks.square")
BATCH = 6
EVERYTHING = {"adversarial": True, "adv_steps": 2, "precision": "bfloat16", "augment": True}
# instead of hundreds of passes
FEW = {"inner_steps": 2, "distill_steps": 2, "soe_steps": 2, "power_steps": 2}


FAST_METHODS = ("trs", "dverge", "fasten", "lotos", "igat")  # which compute the most; the slow tests take all, on every model
FAST_ATTACKS = ("fgsm", "pgd", "apgd-ce", "square", "cw")


def fast(names, chosen):
    """All names, of which only the chosen run in the fast tests."""
    return [pytest.param(name, marks=[] if name in chosen else pytest.mark.slow) for name in names]


@pytest.fixture
def card():
    square._bump.cache_clear()
    with fake_cuda() as card:
        yield card
    square._bump.cache_clear()


def training(card, method, model="patch", **settings):
    """A training between two steps, its ensemble and images on the card."""
    few = {name: value for name, value in FEW.items() if name in METHODS[method].defaults}
    config = resolve({"method": method, "model": model, "batch_size": BATCH, "epochs": 3, "device": "cuda", **few, **settings})
    shape, ensemble = DATA[config.data].shape, card.move(build_for(config))
    images = object.__new__(data.Dataset)  # whose checks read the pixels
    images.__dict__.update(x=card.rand(24, *shape, dtype=torch.uint8), y=card.zeros(24), name="mnist", classes=10, fingerprint="")
    return state.State(
        run=types.SimpleNamespace(config=config),
        device=CARD,
        bfloat16=config.precision == "bfloat16",
        images=images,
        probe_x=card.rand(BATCH, *shape),
        probe_y=card.zeros(BATCH),
        ensemble=ensemble,
        optimizer=state._optimizer(config, ensemble),
        options=dict(config.options),
        parts=1,
        image_memory=card.rand(24, *shape, dtype=torch.uint8),
        weights=card.rand(24),
    )


def check_step(card, method, **settings):
    between = training(card, method, **settings)
    terms = steps.training_step(between, card.zeros(2, BATCH))
    assert card.waits == []
    assert {term.device for term in terms.values()} == {CARD}
    assert {weight.grad.device for weight in between.ensemble.parameters() if weight.grad is not None} == {CARD}


@pytest.mark.parametrize("method", fast(METHODS, FAST_METHODS))
def test_no_step_waits_for_the_card_or_leaves_it(card, method):
    check_step(card, method, members=2, **EVERYTHING)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["patch", "lenet", "resnet20", "small"])
@pytest.mark.parametrize("settings", [{}, EVERYTHING], ids=["plain", "everything"])
@pytest.mark.parametrize("method", METHODS)
def test_no_step_of_any_model_does(card, method, model, settings):
    check_step(card, method, model=model, **settings)


@pytest.mark.parametrize("settings", [{"smoothness": "beta"}, {"inner_order": "second"}, {"inner_order": "first"}], ids=str)
def test_no_kind_of_trs_step_does(card, settings):
    check_step(card, "trs", members=2, **settings)


def attacked(card, name, **options):
    """The waits of an attack, as places in our code."""
    card.waits.clear()
    attack, ensemble = load(ATTACKS[name].function), card.move(build("patch", "mnist", 2, seed=0)).eval()
    x, y = card.rand(BATCH, 1, 28, 28), card.zeros(BATCH)
    few = {"eps": 0.1, "searches": 1, "samples": 2, "reference_steps": 1, "targets": 2}
    given = {**few, "generator": torch.Generator().manual_seed(0), **options}
    x_adv = attack(ensemble, x, y, **{key: value for key, value in given.items() if key in keywords(attack)})
    assert (x_adv.device, x_adv.shape) == (CARD, x.shape)
    return [wait.where for wait in card.waits]


def steps_of(number):
    return {"steps": number, "queries": number, "effort": number / 100}


ALLOWED = {"attacks/checks.py:check_images", "attacks/checks.py:check_labels"}
TO_STOP = {f"attacks/remaining.py:{name}" for name in ("places", "numbers")}
PLACES = {"attacks/square.py:_bump"}  # once for each size of a square and device, not for each call


@pytest.mark.parametrize("name", fast(ATTACKS, FAST_ATTACKS))
def test_an_attack_waits_only_to_check_its_inputs_and_to_drop_fooled_images(card, name):
    waits = attacked(card, name, **steps_of(2))
    assert set(waits) <= ALLOWED | TO_STOP | PLACES


@pytest.mark.slow
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize(
    ("name", "norm"),
    [
        pytest.param(name, norm, marks=[pytest.mark.campaign] * (name == "strong"))  # its parts are measured alone too
        for name, attack in ATTACKS.items()
        for norm in attack.norms
    ],
)
def test_more_steps_need_no_more_waits_unless_fooled_images_are_dropped(card, name, norm, targeted):
    few, more = (attacked(card, name, norm=norm, targeted=targeted, early_stop=False, **steps_of(number)) for number in (12, 24))
    assert len([wait for wait in few if wait not in PLACES]) == len([wait for wait in more if wait not in PLACES])


@pytest.mark.parametrize(("name", "every"), [("pgd", 5), pytest.param("fab-t", 5, marks=pytest.mark.slow)])
def test_fooled_images_are_dropped_by_one_wait_in_five_steps(card, name, every):
    few, more = (attacked(card, name, targets=1, targeted=True, **steps_of(number)).count("attacks/remaining.py:places")
                 for number in (every, 2 * every))  # fmt: skip
    assert more - few == 1


def test_a_probe_and_a_transfer_matrix_stay_on_the_card(card):
    ensemble = card.move(build("patch", "mnist", 2, seed=0)).eval()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trs_explorer.evaluation.probe.STEPS", 2)
        probe(ensemble, card.rand(BATCH, 1, 28, 28), card.zeros(BATCH), eps=0.1, seed=0)


def test_a_slice_copies_each_batch_to_the_card_and_back_once(card):
    ensemble = card.move(build("patch", "mnist", 2, seed=0)).eval()
    u, v = torch.zeros(2, 1, 28, 28)
    plane = Plane(torch.rand(1, 28, 28), u, v, ("a", "b"), "images")
    samples = sample(ensemble, plane, torch.rand(20, 2).double().numpy(), batch=10)
    assert samples.shape == (20, 2, 10)
    assert len(card.waits) == 2


def test_batches_are_copied_to_the_card_without_waiting(card):
    copied = to_device.to_device(torch.rand(3), CARD)
    assert (copied.device, card.waits) == (CARD, [])
    assert len(torch.rand(3).to(CARD)) == 3
    assert len(card.waits) == 1


class TestTheCardItself:
    """What it must notice."""

    def test_tensors_of_two_devices(self, card):
        with pytest.raises(RuntimeError, match="on the CPU"):
            torch.nn.functional.conv2d(card.rand(1, 1, 3, 3), torch.rand(1, 1, 2, 2))

    def test_generators_of_another_device(self, card):
        on_card, on_cpu = torch.Generator("cuda").manual_seed(0), torch.Generator().manual_seed(0)
        assert torch.rand(3, device="cuda", generator=on_card).device == CARD
        for device, generator in (("cuda", on_cpu), ("cpu", on_card)):
            with pytest.raises(RuntimeError, match="for generator"):
                torch.rand(3, device=device, generator=generator)
            with pytest.raises(RuntimeError, match="for generator"):
                torch.empty(3, device=device).uniform_(generator=generator)

    @pytest.mark.parametrize(
        "look",
        [
            lambda x: x.sum().item(),
            lambda x: x.tolist(),
            lambda x: float(x[0]),
            lambda x: bool((x > 0).all()),
            lambda x: x[x > 0],
            lambda x: x.nonzero(),
            lambda x: x.cpu(),
            lambda x: torch.rand(3).to(x.device),
            lambda x: torch.tensor([1.0], device=x.device),
            lambda x: torch.multinomial(x, 1),
            lambda x: torch.equal(x, x),
        ],
    )
    def test_waits(self, card, look):
        look(card.rand(4))
        assert len(card.waits) == 1

    def test_autocast_computes_in_bfloat16(self, card):
        with torch.autocast("cuda", torch.bfloat16, enabled=True, cache_enabled=False):
            assert torch.nn.functional.linear(card.rand(2, 3), card.rand(4, 3)).dtype == torch.bfloat16
        assert torch.nn.functional.linear(card.rand(2, 3), card.rand(4, 3)).dtype == torch.float32
