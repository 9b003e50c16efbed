"""Random numbers of a training step that depend on an image's place in the batch, not on the part that computes it.

A batch may be computed in parts, by threads or processes. Each part draws for the whole batch and takes its own rows, so that the
result is the same in any number of parts. With an ordinary generator, as in a notebook, the functions draw as torch does.
"""

from collections.abc import Sequence

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
    drawn = torch.rand(_whole_shape(shape, dim, generator), generator=shared(generator), device=device, dtype=dtype)
    return _own_rows(drawn, dim, generator)


def randn(
    shape: Sequence[int],
    *,
    generator: torch.Generator,
    dim: int = 0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return numbers of a shape from the standard normal distribution; arguments and errors as for `rand`."""
    drawn = torch.randn(_whole_shape(shape, dim, generator), generator=shared(generator), device=device, dtype=dtype)
    return _own_rows(drawn, dim, generator)


def randint(
    high: int, shape: Sequence[int], *, generator: torch.Generator, dim: int = 0, device: torch.device | str = "cpu"
) -> Tensor:
    """Return whole numbers of a shape, uniform in 0 .. high - 1; arguments and errors as for `rand`."""
    drawn = torch.randint(high, _whole_shape(shape, dim, generator), generator=shared(generator), device=device)
    return _own_rows(drawn, dim, generator)


def shared(generator: torch.Generator) -> torch.Generator:
    """Return the generator of what is the same for all images of a batch, such as a drawn member: equal in all of its parts."""
    return generator.whole if isinstance(generator, PartGenerator) else generator


def _whole_shape(shape: Sequence[int], dim: int, generator: torch.Generator) -> list[int]:
    whole = list(shape)
    if isinstance(generator, PartGenerator):
        if whole[dim] != len(generator.places):
            raise ValueError(f"the part has {len(generator.places)} images, numbers are drawn for {whole[dim]}")
        whole[dim] = generator.size
    return whole


def _own_rows(drawn: Tensor, dim: int, generator: torch.Generator) -> Tensor:
    if not isinstance(generator, PartGenerator):
        return drawn
    return drawn.narrow(dim, generator.places.start, len(generator.places))
