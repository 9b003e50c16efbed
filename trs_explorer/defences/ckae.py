"""CKAE: members with dissimilar features, measured by linear CKA."""

import torch
from jaxtyping import Float
from torch import Tensor

from trs_explorer.defences.terms import with_total
from trs_explorer.gradients import Images, Labels, member_losses, pair_mean
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.features import feature_layers, features_and_outputs
from trs_explorer.models.stacked import at_least_float32


def ckae(ensemble: Ensemble, x: Images, y: Labels, *, lambda_cka: float, x_ce: Images) -> dict[str, Tensor]:
    """Return mean cross-entropy + lambda_cka * mean over pairs of the linear CKA of their features on this batch.

    The features are those of the last layer that the model declares; in resnets it precedes the pooling.
    Source: our reading. The TRS paper's CKAE only cites the similarity: Kornblith et al., "Similarity of neural network
    representations revisited", ICML 2019, section 3.
    """
    layer = feature_layers(ensemble)[-1]
    with ensemble.arithmetic(x.device):
        outputs, logits = zip(*(features_and_outputs(member, x, layer) for member in ensemble.members), strict=True)
    ce_logits = at_least_float32(torch.stack(logits)) if x_ce is x else ensemble.member_logits(x_ce)
    similarity = pair_mean(linear_cka(at_least_float32(torch.stack(outputs))))
    terms = {"ce": member_losses(ce_logits, y).mean(), "cka": lambda_cka * similarity}
    return with_total(terms)


def linear_cka(features: Float[Tensor, "member batch feature"]) -> Float[Tensor, "member member"]:
    """Return |Y^T X|^2 / (|X^T X| |Y^T Y|) of every two members' centred features, with Frobenius norms; in [0, 1].

    Computed by the images' Gram matrices: <XX^T, YY^T> is |Y^T X|^2, and a batch is usually smaller than a layer.
    """
    centred = features - features.mean(1, keepdim=True)
    grams = (centred @ centred.mT).flatten(1)
    grams = grams / grams.detach().abs().amax(-1, keepdim=True).clamp_min(torch.finfo(grams.dtype).tiny)
    products = grams @ grams.T
    norms = (products.diagonal() + 1e-12).sqrt()
    return products / (norms[:, None] * norms[None])
