"""Random numbers of a training step that depend on an image's place in the batch, not on the part that computes it.

A batch may be computed in parts, by threads or processes. Each part draws for the whole batch and takes its own rows, so that the
result is the same in any number of parts. With an ordinary generator, as in a notebook, the functions draw as torch does.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor


class PartGenerator(torch.Generator):
    """The random numbers of one part of a batch, for the functions below.

    Drawn from directly, as in torch.rand(..., generator=generator), it is an ordinary generator of the part's own: its numbers
    are independent of the other parts', and change with the number of parts.

    - places: of the part's images in the batch.
    - size: of the whole batch.
    - whole: the generator of the whole batch; all parts have one in the same state, and draw from it in the same order.
    - seed: of the part's own numbers.
    """

    def __new__(cls, places: range, size: int, whole: torch.Generator, seed: int) -> "PartGenerator":
        """Make an ordinary generator on the same device; torch's own takes a device here."""
        return super().__new__(cls, whole.device)  # type: ignore[call-arg]

    def __init__(self, places: range, size: int, whole: torch.Generator, seed: int) -> None:
        self.places, self.size, self.whole = places, size, whole
        self.manual_seed(seed)


def rand(
    shape: Sequence[int],
    *,
    generator: torch.Generator,
    dim: int = 0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return numbers of a shape, uniform in [0, 1).

    shape: of the part's numbers.
    dim: the dimension of the images.

    Raises: ValueError if a `PartGenerator` is of another number of images.
    """
    return _own_rows(torch.rand, shape, dim, generator, device=device, dtype=dtype)


def randn(
    shape: Sequence[int],
    *,
    generator: torch.Generator,
    dim: int = 0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return numbers of a shape from the standard normal distribution; arguments and errors as for `rand`."""
    return _own_rows(torch.randn, shape, dim, generator, device=device, dtype=dtype)


def randint(
    high: int, shape: Sequence[int], *, generator: torch.Generator, dim: int = 0, device: torch.device | str = "cpu"
) -> Tensor:
    """Return whole numbers of a shape, uniform in 0 .. high - 1; arguments and errors as for `rand`."""
    return _own_rows(partial(torch.randint, high), shape, dim, generator, device=device)


def shared(generator: torch.Generator) -> torch.Generator:
    """Return the generator of what is the same for all images of a batch, such as a drawn member: equal in all of its parts."""
    return generator.whole if isinstance(generator, PartGenerator) else generator


def _own_rows(draw: Callable[..., Tensor], shape: Sequence[int], dim: int, generator: torch.Generator, **how: object) -> Tensor:
    """Draw for the whole batch, and return the part's rows."""
    if not isinstance(generator, PartGenerator):
        return draw(shape, generator=generator, **how)
    if shape[dim] != len(generator.places):
        raise ValueError(f"the part has {len(generator.places)} images, numbers are drawn for {shape[dim]}")
    whole = list(shape)
    whole[dim] = generator.size
    return draw(whole, generator=generator.whole, **how).narrow(dim, generator.places.start, len(generator.places))
