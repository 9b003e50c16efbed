"""`--compile`: the search for support points as one graph of torch.compile; where that is possible, and what to do where not."""

import functools

import torch

from trs_explorer.config import TrainConfig
from trs_explorer.models import Ensemble
from trs_explorer.models.stacked import stackable
from trs_explorer.options import UsageError

NOTE = "compiling the search for support points: the first step takes 5 to 60 s"


def check_compilation(config: TrainConfig, ensemble: Ensemble) -> None:
    """Raise UsageError if --compile has nothing to compile in this training, or if torch.compile does not work here."""
    options = config.options
    searches = options.get("lambda_b", 0) and options.get("inner_steps", 0) > 1 and options.get("smoothness") != "beta"
    if not searches or not (options.get("delta") or options.get("delta_start")):
        raise UsageError(
            f"--compile: it compiles the search for support points, and --method {config.method_name} with these settings has "
            "none of several steps: drop --compile"
        )
    if not stackable(list(ensemble.members)):
        raise UsageError(
            f"--compile: it needs members that run as one network, piecewise linear and without batch norm, not {config.model}: "
            "drop it, or take --model patch, small or lenet"
        )
    problem = _compiler_problem(next(ensemble.parameters()).device.type)
    if problem:
        raise UsageError(f"--compile: torch.compile does not work here ({problem}): drop it, or install what is missing")


@functools.cache
def _compiler_problem(device: str) -> str:
    """Compile a sum. Returns the first line of what went wrong, and "" if nothing did."""
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.zeros(4, device=device))
    except Exception as error:  # whatever a missing compiler, header or triton leads to
        lines = (str(error) or type(error).__name__).strip().splitlines()
        return lines[0].strip()[:120]
    return ""
