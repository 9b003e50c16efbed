"""Weights and training state on disk. Weights are safetensors, state is read with weights_only: nothing is unpickled."""

import contextlib
import hashlib
import io
import pickle
import re
import warnings
import zipfile
import zlib

import torch
from safetensors.torch import save as pack_weights

from trs_explorer.files import cannot_write, read_bytes, reason, write_atomically
from trs_explorer.models import Ensemble
from trs_explorer.models.stored import bytes_of
from trs_explorer.runs import Checkpoint, Run, RunError

_NOT_A_STATE = (RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError, IndexError, MemoryError, OverflowError,
                NotImplementedError, OSError, zlib.error, pickle.UnpicklingError, zipfile.BadZipFile)  # fmt: skip


def save(run: Run, ensemble: Ensemble, state: dict, *, epoch: int, step_in_epoch: int) -> dict[str, str]:
    """Write state and weights, each in one piece and durable before the next; returns the event fields that name them.

    The weights come last: they make the checkpoint. A state without them is nothing, and `prune` removes it.
    Raises RunError when the disk is full or the folder not writable; earlier checkpoints stay as they were.
    """
    checkpoint = run.new_checkpoint(epoch, step_in_epoch)
    weights = pack_weights({name: value.detach().cpu().contiguous() for name, value in ensemble.state_dict().items()})
    digest = hashlib.sha256(weights).hexdigest()
    packed = io.BytesIO()
    torch.save({**state, "weights": digest}, packed)
    assert checkpoint.state is not None
    try:
        write_atomically(checkpoint.state, lambda path: path.write_bytes(packed.getbuffer()))
        write_atomically(checkpoint.weights, lambda path: path.write_bytes(weights))
    except OSError as error:
        remove_orphans(run)
        raise RunError(cannot_write(run.path, error, f"continue with --resume {run.path}")) from error
    return {"name": checkpoint.name, "sha256": digest, "state_sha256": hashlib.sha256(packed.getbuffer()).hexdigest()}


def load_state(checkpoint: Checkpoint, weights: str, ensemble: Ensemble, expected: str | None) -> tuple[dict, str]:
    """The training state that belongs to weights with that SHA-256, and its own; what is in it is not checked.

    expected: its SHA-256 by the log, if that is known. Raises RunError if it is damaged, too large, or of other weights.
    """
    assert checkpoint.state is not None
    size = sum(1 for _ in ensemble.parameters())
    try:
        raw = read_bytes(checkpoint.state, 4 * bytes_of(ensemble) + 4096 * size + (1 << 20))  # Adam keeps two of each weight
    except OSError as error:
        raise RunError(f"{checkpoint.state}: {reason(error)}") from error
    digest = hashlib.sha256(raw).hexdigest()
    if expected not in (None, digest):
        raise RunError(f"{checkpoint.state} is not what the training saved: damaged or replaced")
    try:
        with warnings.catch_warnings(action="ignore"):  # of the file's looks
            state = torch.load(_stored_only(raw), weights_only=True, map_location="cpu")
    except _NOT_A_STATE as error:  # torch's own words name what is in the file, and how to run it
        raise RunError(f"{checkpoint.state} is damaged, or no training state that trs has written") from error
    if not isinstance(state, dict) or state.get("weights") != weights:
        raise RunError(f"{checkpoint.state} does not belong to {checkpoint.weights.name}")
    return state, digest


def _stored_only(raw: bytes) -> io.BytesIO:
    """The same zip file, written anew: what torch is given is no larger than raw, whatever the file says of itself.

    Raises: zipfile.BadZipFile if an entry is packed, or entries lie upon one another.
    """
    checked = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as given, zipfile.ZipFile(checked, "w") as copy:
        entries = given.infolist()
        packed = any(entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size for entry in entries)
        if packed or sum(entry.file_size for entry in entries) > len(raw):
            raise zipfile.BadZipFile("not as torch.save writes it")
        for entry in entries:
            copy.writestr(zipfile.ZipInfo(entry.filename), given.read(entry))
    checked.seek(0)
    return checked


def prune(run: Run, keep_weights_every: int) -> None:
    """Keep the two newest states; of the epochs' weights without a state keep every N-th."""
    remove_orphans(run)
    with_state = [c for c in run.checkpoints() if c.state is not None]
    for checkpoint in with_state[:-2]:
        assert checkpoint.state is not None
        if checkpoint.name.isdigit() and int(checkpoint.name) % keep_weights_every:
            checkpoint.weights.unlink(missing_ok=True)
        checkpoint.state.unlink(missing_ok=True)


def remove_orphans(run: Run) -> None:
    """Remove states without weights: what a save or `prune` that was cut off has left."""
    for state in run.path.glob("state-*.pt"):
        name = state.stem.removeprefix("state-")
        if re.fullmatch(r"[0-9]{4,}(-[0-9]{6,})?", name) and not (run.path / f"epoch-{name}.safetensors").exists():
            with contextlib.suppress(OSError):
                state.unlink(missing_ok=True)
