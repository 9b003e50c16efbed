"""Attacks: each searches an eps-ball around an image for a misclassified input.

    attack(model, x, y, *, eps, ..., targeted=False, generator=None) -> x_adv

Every attack here keeps these promises:

- x has any floating type from float16 to float64 that the model takes. x_adv has the same type, and lies in the ball exactly:
  no rounding leaves it.
- x and x_adv lie in [0, 1]; eps is a radius in those raw pixels; y is the true class, or the wanted one if targeted.
- The model may return logits or log-probabilities. It runs in eval mode. Modes, buffers and .grad are left as they were.
- Per example, the result is the iterate of highest loss among all that fool the model, over all restarts, x itself included.
  Where no iterate fools it, the result is x, unchanged. The attacks without a radius return the nearest such image instead.
- More restarts never lose an image that fewer restarts fooled.
- The loss is summed over the batch and every example draws its own noise. So what happens to an image does not depend on the
  images beside it, up to the rounding of a differently shaped matrix product.

Each function has its name in the catalogue, with _ for -; the module of that name is what `importlib` gives.
A reader starts at `pgd`: the whole algorithm is there, and most other attacks are its loop with another step or gradient.
"""

from trs_explorer.attacks.apgd import apgd, apgd_dlr
from trs_explorer.attacks.apgd_targeted import apgd_t
from trs_explorer.attacks.cw import cw
from trs_explorer.attacks.di2 import di2, mdi2
from trs_explorer.attacks.ead import ead
from trs_explorer.attacks.fab import fab_t
from trs_explorer.attacks.fgsm import fgsm
from trs_explorer.attacks.ila import ila
from trs_explorer.attacks.ira import ira
from trs_explorer.attacks.mim import mim
from trs_explorer.attacks.mora import mora
from trs_explorer.attacks.pgd import bim, pgd
from trs_explorer.attacks.pgd_members import pgd_members
from trs_explorer.attacks.square import square
from trs_explorer.attacks.strong import strong

apgd_ce = apgd  # its name in the catalogue

__all__ = [
    "apgd",
    "apgd_ce",
    "apgd_dlr",
    "apgd_t",
    "bim",
    "cw",
    "di2",
    "ead",
    "fab_t",
    "fgsm",
    "ila",
    "ira",
    "mdi2",
    "mim",
    "mora",
    "pgd",
    "pgd_members",
    "square",
    "strong",
]
