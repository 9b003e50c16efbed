"""What every stored result says about itself."""

import platform
from typing import TYPE_CHECKING

from trs_explorer import __version__
from trs_explorer.runs import Run

if TYPE_CHECKING:
    import torch


def about(run: Run, weights: str, n: int, device: "torch.device", seed: int) -> dict:
    """Run, checkpoint, weights' SHA-256, images, seed, device and versions."""
    import torch

    return {
        "run": run.name,
        "checkpoint": run.checkpoints()[-1].name,
        "weights": weights,
        "data": f"{run.config.data}, first {n} test images",
        "seed": seed,
        "device": str(device),
        "versions": {"trs_explorer": __version__, "torch": torch.__version__, "python": platform.python_version()},
    }
