"""Seeds and random numbers of attacks: every image has its own seed, so its noise does not depend on the images beside it."""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from trs_explorer.gradients import Images
from trs_explorer.models.to_device import to_device

SEED_RANGE = (-(2**63), 2**64 - 1)  # what PyTorch's generators accept


def seeded(seed: int) -> torch.Generator:
    """A CPU generator that starts from the seed. Raises: ValueError for a seed that PyTorch does not accept."""
    if not SEED_RANGE[0] <= seed <= SEED_RANGE[1]:
        raise ValueError(f"a seed must lie in [-2**63, 2**64 - 1], got {seed}")
    return torch.Generator().manual_seed(seed)


class ImageSeeds(torch.Generator):
    """A generator whose draws by `draw_seeds` are given seeds, one an image: for an attack on some of a larger set's images.

    They then have the noise that they have when the whole set is attacked. For other draws it is an ordinary generator.
    """

    def __new__(cls, seeds: Sequence[int]) -> "ImageSeeds":
        """Make the ordinary generator; torch's own takes a device here, not the seeds."""
        return super().__new__(cls)

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds = list(seeds)


def draw_seeds(count: int, restarts: int, generator: torch.Generator | None) -> list[list[int]]:
    """One seed for every example and restart. Each example takes one draw, from the global generator if there is none.

    The draw is the seed of the first start; those of the others derive from it. With more restarts, an example's first seeds
    stay what they were, so more restarts never lose what fewer had found.
    On the CPU, one call for 8 examples draws what two calls for 3 and 5 draw. So a sweep that hands one generator from batch to
    batch gives each image the same noise whatever the batch size.
    Raises: TypeError for a generator that is none, such as a seed; ValueError for `ImageSeeds` of another number of images.
    """
    if isinstance(generator, ImageSeeds):
        if count != len(generator.seeds):
            raise ValueError(f"there are seeds for {len(generator.seeds)} images, the attack draws for {count}")
        return _with_restarts(generator.seeds, restarts)
    if generator is not None and not isinstance(generator, torch.Generator):
        kind = type(generator).__name__
        raise TypeError(f"generator must be a torch.Generator, got {kind}: torch.Generator().manual_seed(0)")
    device = "cpu" if generator is None else generator.device
    return _with_restarts(torch.randint(2**31 - 1, (count,), generator=generator, device=device).tolist(), restarts)


def _with_restarts(first: list[int], restarts: int) -> list[list[int]]:
    return [[seed, *(_derived_seed(seed, restart) for restart in range(1, restarts))] for seed in first]


def _derived_seed(seed: int, restart: int) -> int:
    """A 32-bit seed. Every bit depends on both numbers."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{restart}".encode(), digest_size=4).digest(), "big")


def uniform(seeds: list[list[int]], shape: tuple[int, ...]) -> Tensor:
    """Numbers [image, *shape], uniform in [0, 1), on the CPU, for every image from its own seed."""
    numbers = torch.empty(len(seeds), *shape)
    generator = torch.Generator()
    for row, (seed,) in zip(numbers, seeds, strict=True):
        generator.manual_seed(seed)
        row.uniform_(generator=generator)
    return numbers


def random_shift(x: Images, seeds: list[int], *, eps: float, norm: str) -> Images:
    """A shift for every image, uniform in the ball of radius eps, from that image's own seed.

    Drawn on the CPU, so that a seed means the same noise on every device; about 7 microseconds an image. A seed outside
    PyTorch's range is taken modulo 2**64.
    """
    shift = torch.empty(len(x), x[0].numel())
    generator = torch.Generator()
    for row, seed in zip(shift, seeds, strict=True):
        generator.manual_seed(seed if SEED_RANGE[0] <= seed <= SEED_RANGE[1] else seed % 2**64)
        if norm == "linf":
            row.uniform_(-eps, eps, generator=generator)
        else:
            row.normal_(generator=generator)
            radius = eps * torch.rand((), generator=generator) ** (1 / len(row))
            row *= radius / torch.linalg.vector_norm(row).clamp_min(torch.finfo(row.dtype).tiny)
    return to_device(shift.view(x.shape), x.device).to(x.dtype)
