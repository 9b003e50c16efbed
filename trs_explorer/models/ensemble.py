"""The ensemble: members side by side, log-probabilities of their mean softmax."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trs_explorer.catalogue import DATA, MODELS, entry, load
from trs_explorer.models.stacked import Stacked, at_least_float32, stackable

Images = Float[Tensor, "batch channel height width"]


class Ensemble(nn.Module):
    """Members that vote with their mean softmax (paper, section 3.2).

    Every member takes images in [0, 1]: normalisation is a member's own first layer, so a radius is in raw pixels.
    autocast: whether members compute in bfloat16 (training); logits and all that follows are float32 at least.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        """Put members side by side. Raises ValueError if there is none."""
        super().__init__()
        if not members:
            raise ValueError("an ensemble needs at least one member")
        self.members = nn.ModuleList(members)
        self.autocast = False

    def __len__(self) -> int:
        """How many members."""
        return len(self.members)

    def stacked(self) -> "Stacked | Ensemble":
        """The fastest form for several passes over a small batch: the members as one network if they can be, else self."""
        return Stacked(list(self.members), bfloat16=self.autocast) if stackable(list(self.members)) else self

    def arrange(self, x: Images) -> Images:
        """Images in the order that `member_logits` takes them: as they are (Stacked has another)."""
        return x

    def member_logits(self, x: Images | Sequence[Images]) -> Float[Tensor, "member batch class"]:
        """Every member's logits: for one batch, or for one batch per member."""
        inputs = [x] * len(self) if isinstance(x, Tensor) else x
        with torch.autocast(inputs[0].device.type, torch.bfloat16, enabled=self.autocast, cache_enabled=False):
            logits = [member(images) for member, images in zip(self.members, inputs, strict=True)]
        return at_least_float32(torch.stack(logits))

    def forward(self, x: Images) -> Float[Tensor, "batch class"]:
        """Log-probabilities of the mean softmax."""
        return self.vote(self.member_logits(x))

    def vote(self, logits: Float[Tensor, "member batch class"]) -> Float[Tensor, "batch class"]:
        """What the members' logits come to: by logsumexp, so that no probability is clamped away and gradients survive."""
        return logits.log_softmax(-1).logsumexp(0) - math.log(len(self))


def build(model: str, data: str, members: int, *, seed: int) -> Ensemble:
    """An untrained ensemble for a data set; the seed decides every weight. Raises UsageError for an unknown name."""
    make = load(entry(MODELS, "--model", model).function)
    about = entry(DATA, "--data", data)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return Ensemble([make(about.shape, about.classes) for _ in range(members)])
