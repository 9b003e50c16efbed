"""A loss by its terms."""

import torch
from torch import Tensor


def with_total(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weighted terms, led by "total", their sum: what a defence returns."""
    return {"total": torch.stack(list(terms.values())).sum(), **terms}
