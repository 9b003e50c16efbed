"""Collect the loss terms of every step and write step events, without a device sync at every step."""

import time

import torch
from torch import Tensor

from trs_explorer.defences.terms import COSINE, GRAD_NORM
from trs_explorer.runs import EventWriter, Run
from trs_explorer.training.state import State, TrainingError

DIAGNOSTICS = (GRAD_NORM, "update_norm")  # checked like terms, but not part of the total


class StepLogger:
    """Collects the terms of the steps since the last event."""

    def __init__(self, writer: EventWriter) -> None:
        """Start without pending steps. writer: of the run's events."""
        self.writer = writer
        self._pending: list[tuple[int, dict[str, Tensor]]] = []
        self._since: tuple[float, int] | None = None

    def restart_clock(self) -> None:
        """Exclude the time since the last event (a probe, a pause) from the steps per second."""
        self._since = None

    def add(self, step: int, terms: dict[str, Tensor]) -> None:
        """Add a step's terms, which stay on the device."""
        if self._since is None:
            self._since = (time.perf_counter(), step)
        self._pending.append((step, terms))

    def check_finite(self, run: Run) -> None:
        """Raise TrainingError for the first pending term that is not finite, after logging its step."""
        scalars = [(step, name, value) for step, terms in self._pending for name, value in terms.items() if value.ndim == 0]
        finite = torch.stack([value for *_, value in scalars]).isfinite().tolist() if scalars else []
        bad = [item for item, ok in zip(scalars, finite, strict=True) if not ok]
        if not bad:
            return
        step, name, value = next((item for item in bad if item[1] != "total"), bad[0])
        self.writer.write("step", step=step, terms={k: v.item() for s, k, v in scalars if s == step})
        last = run.checkpoints()[-1:]
        saved = f"The last good checkpoint is {last[0].name}" if last else "No checkpoint had been saved yet"
        raise TrainingError(
            f"the term {name} was {value.item()} at step {step}. {saved}; "
            "try a lower --lr, smaller lambdas, or --precision float32"
        )

    def write_step(self, state: State) -> dict:
        """Write the newest step's event. Raises TrainingError if a term since the last event is not finite."""
        self.check_finite(state.run)
        step, terms = self._pending[-1]
        event = self.writer.write(
            "step",
            step=step,
            epoch=state.progress.epoch,
            **({} if state.member is None else {"member": state.member}),
            terms={name: _rounded(v) for name, v in terms.items() if v.ndim == 0 and name not in DIAGNOSTICS},
            **_diagnostics(terms, state.options, (step - 1) / state.steps),
            lr=float(f"{state.optimizer.param_groups[0]['lr']:.6g}"),
            options={name: value for name, value in state.options.items() if name.startswith("lambda_")},
            **self._rate(step),
        )
        self._pending.clear()
        return event

    def _rate(self, step: int) -> dict[str, float]:
        now, since = time.perf_counter(), self._since
        self._since = (now, step)
        if since is None or step == since[1]:
            return {}
        return {"rate": round((step - since[1]) / max(now - since[0], 1e-9), 3)}


def _rounded(value: Tensor) -> float:
    """Round to six digits: more than the precision of bfloat16 members, at half the log's size."""
    return float(f"{value.item():.6g}")


def _diagnostics(terms: dict[str, Tensor], options: dict, fraction_done: float) -> dict:
    fields: dict = {}
    if COSINE in terms:
        fields[COSINE] = [[round(value, 5) for value in row] for row in terms[COSINE].tolist()]
    if GRAD_NORM in terms:
        fields[GRAD_NORM] = _rounded(terms[GRAD_NORM])
    if options.get("delta"):
        fields["delta"] = round(options["delta_start"] + (options["delta"] - options["delta_start"]) * fraction_done, 6)
    return fields
