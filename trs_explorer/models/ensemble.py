"""The ensemble: members side by side, and the log-probabilities that their vote comes to."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trs_explorer.models.stacked import Stacked, at_least_float32, stackable

Images = Float[Tensor, "batch channel height width"]
VOTINGS = ("mean", "weighted", "sum")


class Ensemble(nn.Module):
    """Members that vote: with their mean softmax (paper, section 3.2), or as a boosted ensemble does.

    Every member takes images in [0, 1]: normalisation is a member's own first layer, so a radius is in raw pixels.
    voting: "mean" of the softmax; "weighted" mean of it; "sum" of the logits. The latter two have a weight for each member,
    the buffer `vote_weights`, saved with the members. A member of weight 0 has no say: at first all but the first have 0.
    autocast: whether members compute in bfloat16 (training); logits and all that follows are float32 at least.
    """

    vote_weights: Float[Tensor, " member"]

    def __init__(self, members: Sequence[nn.Module], voting: str = "mean") -> None:
        """Put members side by side. Raises ValueError if there is none, or for another voting."""
        super().__init__()
        if not members:
            raise ValueError("an ensemble needs at least one member")
        if voting not in VOTINGS:
            raise ValueError(f"voting must be one of {', '.join(VOTINGS)}, got {voting!r}")
        self.members, self.voting = nn.ModuleList(members), voting
        if voting != "mean":
            self.register_buffer("vote_weights", torch.eye(len(members))[0])
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

    def restore(self, x: Tensor) -> Float[Tensor, "member batch channel height width"]:
        """The inverse of `arrange`, for images of every member: as they are."""
        return x

    def member_logits(self, x: Images | Sequence[Images]) -> Float[Tensor, "member batch class"]:
        """Every member's logits: for one batch, or for one batch per member.

        Raises: ValueError if a member returns something else than logits, or members logits of different shapes.
        """
        inputs = [x] * len(self) if isinstance(x, Tensor) else x
        with self.arithmetic(inputs[0].device):
            logits = [member(images) for member, images in zip(self.members, inputs, strict=True)]
        for number, one in enumerate(logits, start=1):
            if not isinstance(one, Tensor) or one.ndim != 2 or one.shape != logits[0].shape:
                raise ValueError(f"member F{number} must return logits [batch, class], got {_what(one)}{_beside(number, logits)}")
        return at_least_float32(torch.stack(logits))

    def arithmetic(self, device: torch.device) -> torch.autocast:
        """A context in which members compute as `autocast` says."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.autocast, cache_enabled=False)

    def forward(self, x: Images) -> Float[Tensor, "batch class"]:
        """Log-probabilities of the vote."""
        return self.vote(self.member_logits(x))

    def vote(self, logits: Float[Tensor, "member batch class"]) -> Float[Tensor, "batch class"]:
        """What the members' logits come to: by logsumexp, so that no probability is clamped away and gradients survive."""
        if self.voting == "mean":
            return logits.log_softmax(-1).logsumexp(0) - math.log(len(self))
        weights = self.votes[:, None, None]
        if self.voting == "sum":
            return (weights * logits).sum(0).log_softmax(-1)
        return (logits.log_softmax(-1) + weights.log()).logsumexp(0)

    @property
    def votes(self) -> Float[Tensor, " member"]:
        """What each member's logits count in a sum, or its probabilities in a mean; the latter add up to 1."""
        if self.voting == "mean":
            return torch.full((len(self),), 1 / len(self))
        return self.vote_weights if self.voting == "sum" else self.vote_weights / self.vote_weights.sum()


def _what(returned: object) -> str:
    """What a member has returned, for messages."""
    return f"a tensor of shape {[*returned.shape]}" if isinstance(returned, Tensor) else f"a {type(returned).__name__}"


def _beside(number: int, logits: Sequence[object]) -> str:
    return f"; F1 returned {_what(logits[0])}" if number > 1 else ""
