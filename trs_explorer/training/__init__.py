"""Training: one loop for all defences, checkpoints and resume, requests by viewers, device and arithmetic."""

from trs_explorer.training.loop import train
from trs_explorer.training.state import TrainingError

__all__ = ["TrainingError", "train"]
