"""Which images an attack goes on with: besides the checks of its inputs, the only places where the CPU waits for a GPU."""

from jaxtyping import Bool, Int
from torch import Tensor

# Steps between two checks for success: for each, the CPU waits for a GPU, and every further step on a fooled image is wasted.
CHECK_EVERY = 5


def places(mask: Bool[Tensor, " rows"]) -> Int[Tensor, " places"]:
    """The places where a mask is set. On a GPU the CPU waits here, once: to index by the mask itself, it would each time."""
    return mask.nonzero()[:, 0]


def places_if_fewer(mask: Bool[Tensor, " rows"]) -> Int[Tensor, " places"] | None:
    """The `places` where a mask is set; None if it is set everywhere, so that nothing need be indexed."""
    those = places(mask)
    return None if len(those) == len(mask) else those


def numbers(rows: Int[Tensor, " rows"]) -> list[int]:
    """The rows as numbers, to look up the seeds of these images, which are on the CPU. On a GPU the CPU waits here."""
    listed: list[int] = rows.tolist()
    return listed
