"""A run's weights as one plain file: a PyTorch state dict (.pt) or .safetensors."""

import io
from pathlib import Path

import torch
from safetensors.torch import save

from trs_explorer.models.ensemble import Ensemble
from trs_explorer.options import UsageError, unknown
from trs_explorer.results import why_unsaved
from trs_explorer.runs import Checkpoint, Run, RunError


def find_checkpoint(run: Run, name: str | None) -> Checkpoint:
    """A run's checkpoint of that name, such as "0007"; None: the newest.

    Raises: RunError if there is none at all, UsageError for another name.
    """
    checkpoints = {checkpoint.name: checkpoint for checkpoint in run.checkpoints()}
    if not checkpoints:
        raise RunError(why_unsaved(run))
    if name is not None and name not in checkpoints:
        raise UsageError(unknown("--checkpoint", name, checkpoints))
    return checkpoints[name or list(checkpoints)[-1]]


def pack_weights(path: Path, ensemble: Ensemble, about: dict[str, str]) -> bytes:
    """The content of a file with an ensemble's state dict: members.0.conv1.weight and so on, on the CPU.

    path: its suffix decides. .pt is read by torch.load(path, weights_only=True), .safetensors by safetensors.torch.load_file.
    about: the metadata of a .safetensors file. A .pt file has none: it is the state dict and nothing else.
    """
    weights = {name: value.detach().cpu().clone().contiguous() for name, value in ensemble.state_dict().items()}
    if path.suffix == ".safetensors":
        return save(weights, metadata=about)
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    return buffer.getvalue()
