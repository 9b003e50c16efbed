"""The paper's ECE ensemble: nothing but cross-entropy."""

from torch import Tensor

from trs_explorer.defences.terms import with_total
from trs_explorer.gradients import Images, Labels, losses_of
from trs_explorer.models.ensemble import Ensemble


def standard(ensemble: Ensemble, x: Images, y: Labels, *, x_ce: Images) -> dict[str, Tensor]:
    """Mean cross-entropy over members and images (paper, section 3.2, first term)."""
    del x
    ce = losses_of(ensemble.member_logits(x_ce), y).mean()
    return with_total({"ce": ce})
