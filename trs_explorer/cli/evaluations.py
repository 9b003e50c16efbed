"""What evaluate, transfer and blackbox do alike: load a run, say what was measured, store it."""

import inspect
import platform
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from trs_explorer import __version__
from trs_explorer.catalogue import ATTACKS, DATA
from trs_explorer.cli.flags import say
from trs_explorer.options import UsageError
from trs_explorer.results import write_result
from trs_explorer.runs import Run, RunError

if TYPE_CHECKING:
    import torch

    from trs_explorer.data import Dataset
    from trs_explorer.models.ensemble import Ensemble

STOPPED = "interrupted: what was found is kept, the same command goes on from there"
GOES_ON = "goes on where an interrupted evaluation stopped"


def loaded(run: Run, device: "torch.device") -> "tuple[Ensemble, dict]":
    """A run's newest ensemble, and what a result says of it: the run, the checkpoint and its weights' SHA-256."""
    from trs_explorer.models.stored import load_ensemble

    newest = run.checkpoints()[-1:]  # looked up once: a training may save another meanwhile
    ensemble, weights = load_ensemble(run, device=device, checkpoint=newest[0] if newest else None)
    return ensemble, {"run": run.name, "checkpoint": newest[0].name, "weights": weights}


def about(named: dict, test: "Dataset", images: str, device: "torch.device", seed: int) -> dict:
    """What every stored result says: run and weights (`loaded`), data set and which of its images, seed, device and versions."""
    about_data = {"data": f"{test.name}, {images}", "data_fingerprint": test.fingerprint}
    return {**named, **about_data, "seed": seed, **made_with(device)}


def made_with(device: "torch.device") -> dict:
    """Device and versions, on which the last bits of figures depend."""
    import torch

    versions = {"trs_explorer": __version__, "torch": torch.__version__, "python": platform.python_version()}
    return {"device": device.type, "versions": versions}


def store(run: Run, what: str, result: dict) -> bool:
    """Store a result with its run, or say that this is not possible."""
    try:
        write_result(run, what, result)
    except RunError as error:
        say(f"not stored with the run: {error}")
        return False
    return True


def accepted(function: Callable, **options: int) -> dict[str, int]:
    """Those of the options that a function takes."""
    known = inspect.signature(function).parameters
    return {name: value for name, value in options.items() if name in known}


def attack_options(names: Sequence[str], norm: str, confidence: float | None) -> dict[str, object]:
    """Those of --norm and --confidence that differ from the usual. Raises UsageError if none of the attacks takes one."""
    if norm != "linf" and not any(ATTACKS[name].ball for name in names):
        raise UsageError(f"--norm {norm}: {' and '.join(names)} {'has' if len(names) == 1 else 'have'} no radius")
    if confidence is not None and all(ATTACKS[name].ball for name in names):
        raise UsageError(f"--confidence: {' and '.join(names)} {'takes' if len(names) == 1 else 'take'} none; cw and ead do")
    return {**({"norm": norm} if norm != "linf" else {}), **({} if confidence is None else {"confidence": confidence})}


def check_classes(attack: str, data: str, flag: str) -> None:
    """Refuse an attack that needs more classes than a data set has."""
    needed, classes = ATTACKS[attack].classes, DATA[data].classes
    if classes < needed:
        raise UsageError(f"{flag}: {attack} needs {needed} classes, {data} has {classes}: take apgd-ce or mora")


def check_saved(run: Run) -> None:
    """Refuse a run without a checkpoint before others are measured."""
    if not run.checkpoints():
        raise RunError(f"{run.path} has no checkpoint yet: nothing has been saved")
