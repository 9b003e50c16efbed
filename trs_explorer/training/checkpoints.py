"""Save and load checkpoints, so that a kill at any moment loses no earlier one; `prune` deletes what it leaves.

Weights are safetensors; the training state is loaded with weights_only, so no code is unpickled.
"""

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
    """Write a checkpoint: first the state, then the weights. Each file is replaced atomically and is durable before the next.

    run, ensemble: whose weights are saved.
    state: the training state.
    epoch, step_in_epoch: name the checkpoint.

    A state without weights is not a checkpoint, and `prune` removes it.
    Returns: the fields of the checkpoint's event: its name and the files' SHA-256.
    Raises: RunError if the disk is full or the folder is not writable; earlier checkpoints remain.
    """
    checkpoint = run.new_checkpoint(epoch, step_in_epoch)
    weights = pack_weights({name: value.detach().cpu().contiguous() for name, value in ensemble.state_dict().items()})
    digest = hashlib.sha256(weights).hexdigest()
    buffer = io.BytesIO()
    torch.save({**state, "weights": digest}, buffer)
    assert checkpoint.state is not None
    try:
        write_atomically(checkpoint.state, lambda path: path.write_bytes(buffer.getbuffer()))
        write_atomically(checkpoint.weights, lambda path: path.write_bytes(weights))
    except OSError as error:
        remove_orphans(run)
        raise RunError(cannot_write(run.path, error, f"continue with --resume {run.path}")) from error
    return {"name": checkpoint.name, "sha256": digest, "state_sha256": hashlib.sha256(buffer.getbuffer()).hexdigest()}


def load_state(checkpoint: Checkpoint, weights: str, ensemble: Ensemble, expected: str | None, more: int = 0) -> tuple[dict, str]:
    """Load a checkpoint's training state; returns it with its SHA-256. Its contents are not checked here.

    checkpoint: whose state is loaded.
    weights: the SHA-256 of the checkpoint's weights, which the state must name.
    ensemble: bounds the size of the file.
    expected: the state's SHA-256 in the log, None if it is not known.
    more: bytes that the state may have besides.

    Raises: RunError if the state is damaged, too large, or belongs to other weights.
    """
    assert checkpoint.state is not None
    tensors = sum(1 for _ in ensemble.parameters())
    try:
        raw = read_bytes(
            checkpoint.state, 4 * bytes_of(ensemble) + 4096 * tensors + more + (1 << 20)
        )  # Adam stores two values per weight
    except OSError as error:
        raise RunError(f"{checkpoint.state}: {reason(error)}") from error
    digest = hashlib.sha256(raw).hexdigest()
    if expected not in (None, digest):
        raise RunError(f"{checkpoint.state} is not what the training saved: damaged or replaced")
    try:
        with warnings.catch_warnings(action="ignore"):  # about the file's format
            state = torch.load(_stored_only(raw), weights_only=True, map_location="cpu")
    except _NOT_A_STATE as error:  # not torch's message: it quotes the file, and says how to run its code
        raise RunError(f"{checkpoint.state} is damaged, or no training state that trs has written") from error
    if not isinstance(state, dict) or state.get("weights") != weights:
        raise RunError(f"{checkpoint.state} does not belong to {checkpoint.weights.name}")
    return state, digest


def _stored_only(raw: bytes) -> io.BytesIO:
    """Rewrite a zip file, so that torch reads no more than `raw` contains, whatever sizes the file declares.

    Raises: zipfile.BadZipFile if an entry is compressed, or if entries overlap.
    """
    checked = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as archive, zipfile.ZipFile(checked, "w") as copy:
        entries = archive.infolist()
        compressed = any(entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size for entry in entries)
        if compressed or sum(entry.file_size for entry in entries) > len(raw):
            raise zipfile.BadZipFile("not as torch.save writes it")
        for entry in entries:
            copy.writestr(zipfile.ZipInfo(entry.filename), archive.read(entry))
    checked.seek(0)
    return checked


def prune(run: Run, keep_weights_every: int) -> None:
    """Delete old checkpoints: keep the two newest with their state, and the weights of every N-th epoch before them."""
    remove_orphans(run)
    with_state = [c for c in run.checkpoints() if c.state is not None]
    for checkpoint in with_state[:-2]:
        assert checkpoint.state is not None
        if checkpoint.name.isdigit() and int(checkpoint.name) % keep_weights_every:
            checkpoint.weights.unlink(missing_ok=True)
        checkpoint.state.unlink(missing_ok=True)


def remove_orphans(run: Run) -> None:
    """Delete states without weights, left by an interrupted save or `prune`."""
    for state in run.path.glob("state-*.pt"):
        name = state.stem.removeprefix("state-")
        if re.fullmatch(r"[0-9]{4,}(-[0-9]{6,})?", name) and not (run.path / f"epoch-{name}.safetensors").exists():
            with contextlib.suppress(OSError):
                state.unlink(missing_ok=True)
