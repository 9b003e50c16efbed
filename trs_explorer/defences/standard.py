"""The paper's ECE ensemble: cross-entropy only."""

from torch import Tensor

from trs_explorer.defences.terms import with_total
from trs_explorer.gradients import Images, Labels, member_losses
from trs_explorer.models.ensemble import Ensemble


def standard(ensemble: Ensemble, x: Images, y: Labels, *, x_ce: Images) -> dict[str, Tensor]:
    """Return the mean cross-entropy over members and images (paper, section 3.2, first term)."""
    del x
    ce = member_losses(ensemble.member_logits(x_ce), y).mean()
    return with_total({"ce": ce})
