"""A wrapper around a model that reports every batch the model is given."""

from collections.abc import Callable
from typing import cast

from torch import Tensor, nn

from trs_explorer.models.ensemble import Ensemble


class RecordingModel(nn.Module):
    """A model, with on_forward(x) called before each forward pass, including calls of an ensemble's `member_logits`.

    Everything else that an attack may use of an ensemble is passed through.
    """

    def __init__(self, model: nn.Module, on_forward: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.model, self.on_forward = model, on_forward

    def forward(self, x: Tensor) -> Tensor:
        """Return what the model returns."""
        self.on_forward(x)
        outputs: Tensor = self.model(x)
        return outputs

    @property
    def member_logits(self) -> Callable[[Tensor], Tensor]:
        """The ensemble's `member_logits`, recorded. Raises AttributeError for other models."""
        member_logits = cast(Ensemble, self.model).member_logits

        def recorded(x: Tensor) -> Tensor:
            self.on_forward(x)
            return member_logits(x)

        return recorded

    @property
    def vote_weights(self) -> Tensor:
        """The vote weights of a boosted ensemble. Raises AttributeError for other models."""
        return cast(Ensemble, self.model).vote_weights

    @property
    def voting(self) -> str:
        """The ensemble's kind of vote. Raises AttributeError for other models."""
        return cast(Ensemble, self.model).voting

    @property
    def vote(self) -> Callable[[Tensor], Tensor]:
        """The ensemble's `vote`. Raises AttributeError for other models."""
        return cast(Ensemble, self.model).vote
