"""Random shifts and mirroring of training images, batch by batch, on the batch's device."""

import torch
import torch.nn.functional as F
from jaxtyping import Float32
from torch import Tensor

from trs_explorer.batch_noise import rand, randint

PAD = 4  # pixels

Images = Float32[Tensor, "batch channel height width"]


def crop_and_flip(x: Images, generator: torch.Generator) -> Images:
    """Shift each image by -4 to 4 pixels in both directions, padded with black, and mirror it with probability 1/2.

    Pixels stay in [0, 1]. generator: on x's device; the draws are uniform, and independent for every image.
    Source: He et al. 2016 (arXiv:1512.03385), section 4.2: a random crop of the image padded by 4 pixels, or of its mirror image.
    """
    batch, _, height, width = x.shape
    windows = F.pad(x, (PAD, PAD, PAD, PAD)).unfold(2, height, 1).unfold(3, width, 1)  # a view: every crop of every image
    top, left = randint(2 * PAD + 1, (2, batch), generator=generator, dim=1, device=x.device)
    crops = windows[torch.arange(batch, device=x.device), :, top, left]
    mirrored = rand((batch,), generator=generator, device=x.device) < 0.5
    return torch.where(mirrored[:, None, None, None], crops.flip(-1), crops)
