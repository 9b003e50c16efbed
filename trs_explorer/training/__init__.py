"""Training: one loop for every method that gives a loss per batch, its checkpoints, and what it needs of the machine."""

from trs_explorer.training.journal import TrainingError
from trs_explorer.training.loop import train

__all__ = ["TrainingError", "train"]
