"""Named loss terms and their total."""

import torch
from torch import Tensor

# Besides its weighted terms and "total", a defence may return diagnostics by these names. They are logged and shown in places of
# their own, and are no part of the total. Where a batch is computed in parts, the means and the largest of the parts are the
# whole batch's.
COSINE = "cosine"  # mean |cos| of the members' input gradients, [member, member]
GRAD_NORM = "grad_norm"  # the largest norm of an input gradient


def with_total(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add "total", the sum of the weighted terms, in front: the form that a defence returns."""
    return {"total": torch.stack(list(terms.values())).sum(), **terms}
