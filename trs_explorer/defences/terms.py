"""Named loss terms and their total."""

import torch
from torch import Tensor


def with_total(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add "total", the sum of the weighted terms, in front: the form that a defence returns."""
    return {"total": torch.stack(list(terms.values())).sum(), **terms}
