"""The probe: a small measurement of transfer and gradient similarity that a training makes once per epoch."""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from trs_explorer.attacks.fgsm import fgsm
from trs_explorer.attacks.pgd import pgd
from trs_explorer.data import Dataset
from trs_explorer.evaluation.accuracy import correct, right
from trs_explorer.evaluation.transfer import transfer_matrix
from trs_explorer.files import Json
from trs_explorer.gradients import MIN_NORM, Images, Labels, MemberGradients, input_gradients, log_odds, pairwise_cosine
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.eval_mode import eval_mode

STEPS = 10
IMAGES = 128  # the last ones of the test split, so that a training's probe and a later one are of the same images


def probe(ensemble: Ensemble, x: Images, y: Labels, *, eps: float, seed: int) -> Json:
    """Probe an ensemble on a few held-out images. Returns values ready for JSON; floats may be NaN if the weights are.

    - x, y: one batch, on the ensemble's device. 128 images take two forward-backward passes per member for the gradients,
      and about twenty for the attacks.
    - eps: in [0, 1] pixels, maximum norm.
    - seed: of the attacks' random starts. The global random state is not changed.

    Returns a dictionary with

    - fooled, eligible: [surrogate][target] counts under PGD of 10 steps of eps/4 (`transfer.TransferMatrix`).
    - transfer_interval: 95 % interval of the pooled transfer rate, in which an image counts once (`TransferMatrix`).
    - log_odds_cosine: [member][member] mean of |cos| of the gradients of the log-odds, over the images where both have a
      direction (`gradients.log_odds`); NaN without any.
    - cosine: the same of the cross-entropy's gradients, over all images, as float32 has them; 0 for a gradient below 1e-6.
    - grad_norm: per member, the largest L2 norm of an image's gradient of the cross-entropy.
    - zero_gradients: per member, the share of images with a gradient of the cross-entropy below 1e-6.
    - clean, fgsm, pgd: how many of n the ensemble classifies correctly, clean and after attacks on the ensemble.
    - member_clean: how many of n each member classifies correctly.
    """
    with eval_mode(ensemble):
        _, directions = input_gradients(ensemble, x, y, of=log_odds)
        _, gradients = input_gradients(ensemble, x, y)
        with torch.no_grad():
            member_clean = right(ensemble.member_logits(x), y).sum(-1)
    cosine = pairwise_cosine(gradients).abs().mean(-1)
    norm = torch.linalg.vector_norm(gradients.flatten(2), dim=-1)
    attack = partial(pgd, eps=eps, steps=STEPS, step_size=eps / 4)
    matrix = transfer_matrix(ensemble, x, y, attack=attack, seed=seed, batch_size=len(x))
    one_step = fgsm(ensemble, x, y, eps=eps)
    ten_steps = attack(ensemble, x, y, generator=torch.Generator().manual_seed(seed))
    return {
        "n": len(x),
        "eps": eps,
        "attack": f"pgd-{STEPS}",
        "fooled": matrix.fooled,
        "eligible": matrix.eligible,
        "transfer_interval": list(matrix.pooled_interval()),
        "log_odds_cosine": _mean_where_directed(directions).tolist(),
        "cosine": cosine.tolist(),
        "grad_norm": norm.amax(-1).tolist(),
        "zero_gradients": (norm < MIN_NORM).float().mean(-1).tolist(),
        "clean": int(correct(ensemble, x, y).sum()),
        "fgsm": int(correct(ensemble, one_step, y).sum()),
        "pgd": int(correct(ensemble, ten_steps, y).sum()),
        "member_clean": member_clean.tolist(),
    }


def probe_images(held_out: Dataset) -> tuple[Images, Labels]:
    """Return the images of every probe of a data set's test split, and their labels."""
    chosen = torch.arange(max(0, len(held_out) - IMAGES), len(held_out))
    return held_out.images(chosen), held_out.y[chosen]


def _mean_where_directed(directions: MemberGradients) -> Float[Tensor, "member member"]:
    """Return the mean |cos| of every pair over the images where neither gradient vanishes; NaN without any."""
    directed = torch.linalg.vector_norm(directions.flatten(2), dim=-1) > MIN_NORM
    both = directed[:, None] & directed[None]
    means: Tensor = (pairwise_cosine(directions).abs() * both).sum(-1) / both.sum(-1)
    return means
