"""The ensemble: members side by side, and the log-probabilities of their vote."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from trs_explorer.models.stacked import Stacked, at_least_float32, stackable

Images = Float[Tensor, "batch channel height width"]
VOTINGS = ("mean", "weighted", "sum", "confident")
WEIGHTED = ("weighted", "sum")  # those with a weight per member


class Ensemble(nn.Module):
    """Members that vote: with their mean softmax (paper, section 3.2), as a boosted ensemble does, or by the most confident one.

    Every member takes images in [0, 1]: normalisation is a member's first layer, so every radius is in raw pixels.

    members: the members' modules.
    voting: "mean" of the softmax; "weighted" mean of the softmax; "sum" of the logits; "confident": the softmax of the member of
        the highest `log_confidences`, image by image, which is also the only one that its gradient sees.
    vote_weights: a weight per member for "weighted" and "sum", a buffer that is saved with the members. A member of weight 0 does
        not vote: initially only the first one votes.
    autocast: whether members compute in bfloat16 (training); logits and all later results are at least float32.
    compiled: whether the search for support points runs as one graph of torch.compile (training).
    """

    vote_weights: Float[Tensor, " member"]

    def __init__(self, members: Sequence[nn.Module], voting: str = "mean") -> None:
        """Combine members. Raises ValueError if there are none, or for an unknown voting."""
        super().__init__()
        if isinstance(members, nn.Module) and not isinstance(members, nn.ModuleList):
            raise ValueError(f"an ensemble takes a list of members, got one {type(members).__name__}: put it into a list")
        wrong = next((type(member).__name__ for member in members if not isinstance(member, nn.Module)), None)
        if wrong or not members:
            raise ValueError(f"an ensemble needs at least one member, a torch.nn.Module{f', got a {wrong}' if wrong else ''}")
        if voting not in VOTINGS:
            raise ValueError(f"voting must be one of {', '.join(VOTINGS)}, got {voting!r}")
        self.members, self.voting = nn.ModuleList(members), voting
        if voting in WEIGHTED:
            self.register_buffer("vote_weights", torch.eye(len(members))[0])
        self.autocast = self.compiled = False

    def __len__(self) -> int:
        """The number of members."""
        return len(self.members)

    def stacked(self) -> "Stacked | Ensemble":
        """Return the fastest form for several passes over a small batch: the members as one network if possible, else self."""
        members = list(self.members)
        return Stacked(members, bfloat16=self.autocast, compiled=self.compiled) if stackable(members) else self

    def arrange(self, x: Images) -> Images:
        """Return images in the layout that `member_logits` takes: unchanged (`Stacked` has its own layout)."""
        return x

    def restore(self, x: Tensor) -> Float[Tensor, "member batch channel height width"]:
        """Invert `arrange`, for images of every member: unchanged."""
        return x

    def member_logits(self, x: Images | Sequence[Images]) -> Float[Tensor, "member batch class"]:
        """Return every member's logits: for one batch, or for one batch per member.

        Raises: ValueError unless all members return logits, [batch, class], of the same shape.
        """
        inputs = [x] * len(self) if isinstance(x, Tensor) else x
        with self.arithmetic(inputs[0].device):
            logits = [member(images) for member, images in zip(self.members, inputs, strict=True)]
        for number, output in enumerate(logits, start=1):
            if not isinstance(output, Tensor) or output.ndim != 2 or output.shape != logits[0].shape:
                problem = f"got {_describe(output)}{_compare_with_first(number, logits)}"
                raise ValueError(f"member F{number} must return logits [batch, class], {problem}")
        return at_least_float32(torch.stack(logits))

    def arithmetic(self, device: torch.device) -> torch.autocast:
        """Return a context in which members compute as `autocast` says."""
        kind = "cpu" if device.type == "meta" else device.type  # meta tensors, of shapes alone, are in float32
        return torch.autocast(kind, torch.bfloat16, enabled=self.autocast, cache_enabled=False)

    def forward(self, x: Images) -> Float[Tensor, "batch class"]:
        """Return the log-probabilities of the vote."""
        return self.vote(self.member_logits(x))

    def vote(self, logits: Float[Tensor, "member batch class"]) -> Float[Tensor, "batch class"]:
        """Combine the members' logits, by logsumexp: no probability is clamped, so gradients never vanish by rounding."""
        if self.voting == "mean":
            return logits.log_softmax(-1).logsumexp(0) - math.log(len(self))
        if self.voting == "confident":
            chosen = log_confidences(logits).argmax(0)[None, :, None]
            return logits.gather(0, chosen.expand(1, -1, logits.shape[-1]))[0].log_softmax(-1)
        weights = self.votes[:, None, None]
        if self.voting == "sum":
            return (weights * logits).sum(0).log_softmax(-1)
        return (logits.log_softmax(-1) + weights.log()).logsumexp(0)

    @property
    def votes(self) -> Float[Tensor, " member"]:
        """The weight of each member's logits in a sum, or of its probabilities in a mean; the latter add up to 1.

        They are equal where the most confident member answers.
        """
        if self.voting not in WEIGHTED:
            return torch.full((len(self),), 1 / len(self))
        return self.vote_weights if self.voting == "sum" else self.vote_weights / self.vote_weights.sum()


def confidence_logits(logits: Float[Tensor, "member batch class"]) -> Float[Tensor, "member batch"]:
    """Return g, the sum of the logits over the root of their number: the part of them that their softmax ignores.

    A last linear layer computes it like a logit of its own: g is a turned coordinate of the K logits, and the other K - 1 are
    all that the softmax depends on. So every member has a head for its confidence, without another weight.
    Source: our choice, in place of one more output (Cui et al. 2022).
    """
    return logits.sum(-1) / math.sqrt(logits.shape[-1])


def log_confidences(logits: Float[Tensor, "member batch class"]) -> Float[Tensor, "member batch"]:
    """Return the log of every member's confidence: its largest probability times sigmoid(`confidence_logits`).

    Source: Cui et al., "Synergy-of-experts", NeurIPS 2022, by their code; the product is from Pang et al., "Two coupled rejection
    metrics can tell adversarial examples apart", CVPR 2022.
    """
    return logits.log_softmax(-1).amax(-1) + F.logsigmoid(confidence_logits(logits))


def _describe(returned: object) -> str:
    """Describe what a member has returned, for messages."""
    return f"a tensor of shape {[*returned.shape]}" if isinstance(returned, Tensor) else f"a {type(returned).__name__}"


def _compare_with_first(number: int, logits: Sequence[object]) -> str:
    return f"; F1 returned {_describe(logits[0])}" if number > 1 else ""
