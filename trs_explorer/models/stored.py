"""A run's trained members: its weights files, read without unpickling anything."""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_weights

from trs_explorer.models.ensemble import Ensemble, build
from trs_explorer.runs import Checkpoint, Run, RunError


def load_weights(path: Path, ensemble: Ensemble, expected: str | None = None) -> str:
    """Load a weights file into an ensemble and return the file's SHA-256.

    Raises RunError if the file is missing, damaged, not finite, for another architecture, or not the expected one.
    """
    try:
        raw = path.read_bytes()
        weights = parse_weights(raw)
    except (OSError, SafetensorError, ValueError, RuntimeError, KeyError, MemoryError) as error:
        raise RunError(f"{path} is missing or damaged: {str(error).splitlines()[0]}") from error
    wanted = ensemble.state_dict()
    if {k: (v.shape, v.dtype) for k, v in weights.items()} != {k: (v.shape, v.dtype) for k, v in wanted.items()}:
        raise RunError(f"{path} holds other weights than config.json says: another model or number of members")
    broken = next((k for k, v in weights.items() if v.is_floating_point() and not v.isfinite().all()), None)
    if broken:
        raise RunError(f"{path} is damaged: {broken} is not finite")
    digest = hashlib.sha256(raw).hexdigest()
    if expected not in (None, digest):
        raise RunError(f"{path} is not what the training saved (its SHA-256 differs from events.jsonl): damaged or replaced")
    ensemble.load_state_dict(weights)
    return digest


def load_ensemble(run: Run, *, device: torch.device | str = "cpu", checkpoint: Checkpoint | None = None) -> tuple[Ensemble, str]:
    """A run's trained ensemble in eval mode, with its weights' SHA-256; the newest checkpoint unless told otherwise.

    Raises RunError if there is no checkpoint, its weights are damaged, or they are not those that the log names.
    """
    found = [checkpoint] if checkpoint else run.checkpoints()[-1:]
    if not found:
        raise RunError(f"{run.path} has no checkpoint yet: nothing has been saved")
    config = run.config
    ensemble = build(config.model, config.data, config.members, seed=config.seed, method=config.method)
    digest = load_weights(found[0].weights, ensemble, run.recorded(found[0]).get("sha256"))
    return ensemble.to(device).eval(), digest
