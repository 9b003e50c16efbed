"""Strong on shipped runs, judged from outside: AutoAttack (standard), as published, leaves no fewer images correct."""

import pytest
import torch

from trs_explorer import data
from trs_explorer.attacks.noise import seeded
from trs_explorer.attacks.strong import strong
from trs_explorer.models.stored import load_ensemble
from trs_explorer.runs import open_run
from trs_explorer.shipped import folder

published = pytest.importorskip("pyautoattack")

pytestmark = pytest.mark.slow
NUMBER, EPS = 30, 0.15


@pytest.mark.parametrize("name", ["mnist-adp", "mnist-dverge", "mnist-trs"])
def test_autoattack_leaves_no_fewer_correct(name) -> None:
    model, _ = load_ensemble(open_run(folder("checkpoints") / name))
    test = data.load("mnist", train=False)
    places = slice(200, 200 + NUMBER)
    x, y = test.images(places), test.y[places]
    ours = strong(model, x, y, eps=EPS, generator=seeded(0))
    assert (ours.double() - x.double()).abs().max() <= EPS
    judge = published.AutoAttack(model, norm="Linf", eps=EPS, version="standard", seed=0)
    judge.verbose = False
    theirs, _ = judge.run_standard_evaluation(x, y)
    with torch.no_grad():
        left = [int((model(images).argmax(-1) == y).sum()) for images in (x, ours, theirs)]
    assert left[0] > 0.9 * NUMBER
    assert left[1] <= left[2]
