"""Training: one loop for every method that gives a loss per batch, its checkpoints, and what it needs of the machine."""

from trs_explorer.training.loop import train
from trs_explorer.training.state import TrainingError

__all__ = ["TrainingError", "train"]
