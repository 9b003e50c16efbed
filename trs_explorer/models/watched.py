"""A model that tells what it is shown."""

from collections.abc import Callable

from torch import Tensor, nn


class Watched(nn.Module):
    """The model, with see(x) called before each of its passes, also those of an ensemble's members."""

    def __init__(self, model: nn.Module, see: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.model, self.see = model, see

    def forward(self, x: Tensor) -> Tensor:
        """What the model returns."""
        self.see(x)
        return self.model(x)

    @property
    def member_logits(self) -> Callable[[Tensor], Tensor]:
        """The ensemble's own; an AttributeError for other models."""
        inner = self.model.member_logits

        def seen(x: Tensor) -> Tensor:
            self.see(x)
            return inner(x)

        return seen

    @property
    def vote_weights(self) -> Tensor:
        """A boosted ensemble's own; an AttributeError for other models."""
        return self.model.vote_weights

    @property
    def voting(self) -> str:
        """The ensemble's own."""
        return self.model.voting

    @property
    def vote(self) -> Callable[[Tensor], Tensor]:
        """The ensemble's own."""
        return self.model.vote
