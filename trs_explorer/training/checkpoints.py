"""Weights and training state on disk. Weights are safetensors, state is read with weights_only: nothing is unpickled."""

import hashlib
import io
import pickle
import warnings
import zipfile

import torch
from safetensors.torch import save as pack_weights

from trs_explorer.files import write_atomically
from trs_explorer.models import Ensemble
from trs_explorer.runs import Checkpoint, Run, RunError

_NOT_A_STATE = (RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError, IndexError, MemoryError,
                pickle.UnpicklingError, zipfile.BadZipFile)  # fmt: skip


def save(run: Run, ensemble: Ensemble, state: dict, *, epoch: int, step_in_epoch: int) -> dict[str, str]:
    """Write weights and state, each in one piece and durable before the next; returns the event fields that name them.

    Raises RunError when the disk is full or the folder not writable; earlier checkpoints stay as they were.
    """
    checkpoint = run.new_checkpoint(epoch, step_in_epoch)
    weights = pack_weights({name: value.detach().cpu().contiguous() for name, value in ensemble.state_dict().items()})
    digest = hashlib.sha256(weights).hexdigest()
    packed = io.BytesIO()
    torch.save({**state, "weights": digest}, packed)
    assert checkpoint.state is not None
    try:
        write_atomically(checkpoint.weights, lambda path: path.write_bytes(weights))
        write_atomically(checkpoint.state, lambda path: path.write_bytes(packed.getbuffer()))
    except OSError as error:
        raise RunError(
            f"cannot save {checkpoint.weights}: {error.strerror or error}. Make room, then continue with --resume {run.path}"
        ) from error
    return {"name": checkpoint.name, "sha256": digest, "state_sha256": hashlib.sha256(packed.getbuffer()).hexdigest()}


def load_state(run: Run, checkpoint: Checkpoint, weights: str) -> dict:
    """The training state that belongs to weights with that SHA-256. Raises RunError if it is damaged or of other weights."""
    assert checkpoint.state is not None
    expected = run.recorded(checkpoint).get("state_sha256")
    try:
        raw = checkpoint.state.read_bytes()
    except OSError as error:
        raise RunError(f"{checkpoint.state}: {error.strerror or error}") from error
    if expected not in (None, hashlib.sha256(raw).hexdigest()):
        raise RunError(f"{checkpoint.state} is not what the training saved: damaged or replaced")
    try:
        with warnings.catch_warnings(action="ignore"):  # of the file's looks; what is wrong with it is said below
            state = torch.load(io.BytesIO(raw), weights_only=True, map_location="cpu")
    except _NOT_A_STATE as error:
        raise RunError(f"{checkpoint.state} is damaged: {(str(error) or repr(error)).splitlines()[0]}") from error
    if not isinstance(state, dict) or state.get("weights") != weights:
        raise RunError(f"{checkpoint.state} does not belong to {checkpoint.weights.name}")
    return state


def prune(run: Run, keep_weights_every: int) -> None:
    """Keep the two newest states; of the epochs' weights without a state keep every N-th."""
    with_state = [c for c in run.checkpoints() if c.state is not None]
    for checkpoint in with_state[:-2]:
        assert checkpoint.state is not None
        checkpoint.state.unlink(missing_ok=True)
        if checkpoint.name.isdigit() and int(checkpoint.name) % keep_weights_every:
            checkpoint.weights.unlink(missing_ok=True)
