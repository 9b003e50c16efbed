"""Load a run's trained members from its weights files, without unpickling anything."""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_weights
from torch import Tensor

from trs_explorer.files import open_for_reading, read_bytes, reason
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.factory import build_for
from trs_explorer.results import why_unsaved
from trs_explorer.runs import Checkpoint, Run, RunError

# Files that are sometimes found in place of weights, by their first bytes: what they are, and what to do.
_WRONG_FILES = {
    b"PK\x03\x04": ("a file of torch.save (.pth), a pickle", "load it in torch and write it with safetensors.torch.save_file"),
    b"\x80": ("a pickle (.pth)", "load it in torch and write it with safetensors.torch.save_file"),
    b"version https://git-lfs": ("a Git LFS pointer, not the file itself", "fetch it by: git lfs pull"),
    b"/annex/": ("a git-annex pointer, not the file itself", "fetch it by: git annex get"),
    b"../.git/annex/": ("a git-annex pointer, not the file itself", "fetch it by: git annex get"),
}
_EXACT = (torch.float16, torch.bfloat16)  # types whose every value float32 can represent


def load_weights(path: Path, ensemble: Ensemble, expected: str | None = None) -> str:
    """Load a weights file into an ensemble and return the file's SHA-256. Weights of 16 bits are converted, which is exact.

    Raises RunError if the file is missing, damaged, not finite, for another architecture, or not the expected one.
    """
    raw = _read(path, ensemble)
    digest = hashlib.sha256(raw).hexdigest()
    if expected not in (None, digest):
        raise RunError(f"{path} is not what the training saved (its SHA-256 differs from events.jsonl): damaged or replaced")
    try:
        weights = parse_weights(raw)
    except MemoryError:
        raise RunError(f"{path}: there is not enough memory for its {len(raw):,} bytes") from None
    except (SafetensorError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise RunError(f"{path} is missing or damaged: it is not a safetensors file, or truncated") from error
    wanted = ensemble.state_dict()
    if {name: value.shape for name, value in weights.items()} != {name: value.shape for name, value in wanted.items()}:
        raise RunError(f"{path} holds other weights than config.json says: another model or number of members")
    for name, value in weights.items():
        if value.dtype != wanted[name].dtype and not (wanted[name].dtype == torch.float32 and value.dtype in _EXACT):
            theirs, ours = (str(kind).removeprefix("torch.") for kind in (value.dtype, wanted[name].dtype))
            raise RunError(f"{path}: {name} is {theirs}, trs computes in {ours}: convert it by .to(torch.{ours}), save it again")
        # A buffer of others may hold infinities by design, such as an attention mask: the model as built has them too.
        if value.is_floating_point() and not torch.equal(value.isfinite(), wanted[name].isfinite().cpu()):
            raise RunError(f"{path} is damaged: {name} is not finite")
    ensemble.load_state_dict(weights)
    return digest


def bytes_of(ensemble: Ensemble) -> int:
    """Return the size of an ensemble's weights in bytes."""
    return sum(_size(value) for value in ensemble.state_dict().values())


def _size(value: Tensor) -> int:
    return value.numel() * value.element_size()


def _read(path: Path, ensemble: Ensemble) -> bytes:
    """Read a weights file, at most twice what the ensemble needs (for float64), so that no file can fill the memory."""
    most = 2 * bytes_of(ensemble) + 1024 * len(ensemble.state_dict()) + (1 << 20)
    try:
        with open_for_reading(path) as file:
            head = file.read(64)
        for magic, (what, way_out) in _WRONG_FILES.items():
            if head.startswith(magic) and head[8:9] != b"{":  # safetensors begin with a length of 8 bytes, any, and JSON
                raise RunError(f"{path} is {what}: {way_out}")
        if not head:
            raise RunError(f"{path} is missing or damaged: it is empty")
        return read_bytes(path, most)
    except MemoryError:
        raise RunError(f"{path}: there is not enough memory to read it") from None
    except OSError as error:
        raise RunError(f"{path} is missing or damaged: {reason(error)}") from error


def load_ensemble(run: Run, *, device: torch.device | str = "cpu", checkpoint: Checkpoint | None = None) -> tuple[Ensemble, str]:
    """Load a run's trained ensemble, in eval mode, and return it with its weights' SHA-256; by default, the newest checkpoint.

    Raises RunError if there is no checkpoint, or its weights are damaged or not those recorded in the log.
    """
    checkpoints = [checkpoint] if checkpoint else run.checkpoints()[-1:]
    if not checkpoints:
        raise RunError(why_unsaved(run))
    config = run.config
    ensemble = build_for(config)
    digest = load_weights(checkpoints[0].weights, ensemble, run.recorded(checkpoints[0]).get("sha256"))
    return ensemble.to(device).eval(), digest
