"""The state that the dashboard shows, updated from a run's events. Pure: no terminal, no clock, no files."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from statistics import median

import numpy as np

from trs_explorer.curves import column, pair_means, term_rows
from trs_explorer.newest_probe import completed
from trs_explorer.parse_events import (
    PROBE,
    Matrix,
    Probe,
    Start,
    Stopped,
    event_step,
    event_time,
    parse_checkpoint,
    parse_control,
    parse_epoch,
    parse_nonfinite,
    parse_note,
    parse_probe,
    parse_start,
    parse_step,
    parse_stopped,
)
from trs_explorer.tui.series import Series
from trs_explorer.values import text, whole

MOST_TERMS = 40  # a loss has a handful; a damaged log must not fill the memory with one-point curves
TRAINING_BATCH = "training batch"  # where the |cos| matrix comes from
MOST_PROBES = 4096  # above this, every other one of the older half is dropped


@dataclass(frozen=True)
class Mark:
    """Something that happened at a step. kind: set, save, resumed, note or another action."""

    step: int
    kind: str
    text: str


@dataclass
class History:
    """Everything that the dashboard shows of a run, after some number of its events.

    stored: a later measurement of the newest weights, for a log without |cos| by the log-odds (`newest_probe`).
    cosine: mean |cos| by the log-odds at every probe.
    loss_cosine, loss_cosines: mean and matrix of |cos| of the loss's gradients, on training batches if the method computes them.
    """

    events: int = 0
    damaged: int = 0
    step: int = 0
    epoch: int | None = None
    epochs: int | None = None
    member: int | None = None
    steps: int | None = None
    device: str = ""
    rate: float | None = None
    delta: float | None = None
    time: float | None = None
    terms: dict[str, Series] = field(default_factory=dict)
    stored: Probe | None = None
    cosine: Series = field(default_factory=Series)
    loss_cosine: Series = field(default_factory=Series)
    loss_cosines: Matrix | None = None
    loss_cosines_from: str = ""
    grad_norm: Series = field(default_factory=Series)
    probes: list[Probe] = field(default_factory=list)
    options: dict[str, float] = field(default_factory=dict)
    marks: deque[Mark] = field(default_factory=lambda: deque(maxlen=500))
    log: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=200))
    nonfinite: dict[str, int] = field(default_factory=dict)
    stopped: Stopped | None = None
    _gaps: deque[float] = field(default_factory=lambda: deque(maxlen=50))
    _last_step_time: float | None = None

    @property
    def probe(self) -> Probe | None:
        """The newest probe."""
        return self.probes[-1] if self.probes else None

    @property
    def cosines(self) -> Matrix | None:
        """|cos| by the log-odds, [member, member], at the newest probe; None if it lacks them."""
        return self.probe.cosines if self.probe else None

    @property
    def gap(self) -> float | None:
        """Median seconds between recent step events."""
        return median(self._gaps) if self._gaps else None

    def copy(self) -> "History":
        """An independent copy, to be folded further."""
        return replace(
            self,
            terms={name: series.copy() for name, series in self.terms.items()},
            cosine=self.cosine.copy(),
            loss_cosine=self.loss_cosine.copy(),
            grad_norm=self.grad_norm.copy(),
            probes=self.probes.copy(),
            marks=self.marks.copy(),
            log=self.log.copy(),
            nonfinite=self.nonfinite.copy(),
            _gaps=self._gaps.copy(),
        )

    def say(self, time: float, text: str) -> None:
        """Append a line to the log panel."""
        self.log.append((time, text))

    def fold(self, events: Sequence[dict]) -> None:
        """Apply events, oldest first. The result does not depend on how a log is cut into calls.

        Between two starts, steps are applied first and as columns, because a long log is mostly steps; other events follow.
        The result is the same, except where order matters: a step that is not finite (it is reported in the log panel), or
        another event without a step number. Such a part is applied in order.
        """
        self.events += len(events)
        starts = {i for i, event in enumerate(events) if event["kind"] == "start"}
        cuts = sorted({0, len(events), *starts, *(i + 1 for i in starts)})
        for first, last in pairwise(cuts):
            part = events[first:last]
            if any("nonfinite" in event or not (_is_step(event) or "step" in event) for event in part):
                for _, group in groupby(part, key=_is_step):
                    self._fold_block(list(group))
            else:
                self._fold_block([event for event in part if _is_step(event)])
                self._fold_block([event for event in part if not _is_step(event)])
                self._update_position(event_step(part[-1]), whole(part[-1].get("epoch")))
                self.time = event_time(part[-1]) or self.time

    def _fold_block(self, block: list[dict]) -> None:
        """Apply events that are all steps, or none of them."""
        if not block:
            return
        times = [t for event in block[-50:] if (t := event_time(event)) is not None]
        self.time = times[-1] if times else self.time
        if _is_step(block[0]):
            self._fold_steps(block, times)
            return
        for event in block:
            self._fold_other(event["kind"], event, event_time(event) or self.time or 0.0)

    def _update_position(self, step: int | None, epoch: int | None) -> int:
        """Move to a step and an epoch, as far as they are given; returns the step."""
        self.step = self.step if step is None else step
        self.epoch = self.epoch if epoch is None else epoch
        return self.step

    def _fold_steps(self, block: list[dict], times: list[float]) -> None:
        steps = column(block, "step")
        for i in np.flatnonzero(np.isnan(steps)):
            steps[i] = steps[i - 1] if i else self.step
        terms = term_rows(block)
        for name in [*terms[0], *sorted(set().union(*terms).difference(terms[0]))]:
            if name not in self.terms and len(self.terms) >= MOST_TERMS:
                continue
            values = column(terms, name)
            if name in self.terms or np.isfinite(values).any():
                self.terms.setdefault(name, Series()).extend(steps, values)
        self.loss_cosine.extend(steps, pair_means(block))
        self.grad_norm.extend(steps, column(block, "grad_norm"))
        listed = [i for i, event in enumerate(block) if "nonfinite" in event]  # few, and a log has 100,000 steps
        nonfinite = {i: names for i in listed if (names := parse_nonfinite(block[i])[:MOST_TERMS])}
        for i, names in nonfinite.items():
            if i - 1 not in nonfinite and not (i == 0 and self.nonfinite):
                time = event_time(block[i]) or self.time or 0.0
                self.say(time, f"not finite at step {text(int(steps[i]))}: {', '.join(names)}")
        self.nonfinite = dict.fromkeys(nonfinite.get(len(block) - 1, []), int(steps[-1]))
        if self._last_step_time is not None:
            times = [self._last_step_time, *times]
        self._gaps.extend(later - earlier for earlier, later in pairwise(times) if later >= earlier)
        self._last_step_time = times[-1] if times else None
        self._update_from_newest(block[-1])

    def _update_from_newest(self, event: dict) -> None:
        newest = parse_step(event)
        self._update_position(newest.step, newest.epoch)
        if newest.cosines:
            self.loss_cosines, self.loss_cosines_from = newest.cosines, TRAINING_BATCH
        self.rate = newest.rate or self.rate
        self.delta, self.member = newest.delta, newest.member
        if isinstance(event.get("options"), dict):
            self.options = dict(list(newest.options.items())[:MOST_TERMS])

    def _fold_other(self, kind: str, event: dict, time: float) -> None:
        if kind == "start":
            self._fold_start(parse_start(event), time)
            return
        step = self._update_position(event_step(event), whole(event.get("epoch")))
        if kind == PROBE:
            self._fold_probe(parse_probe(event, step))
        elif kind == "epoch":
            epoch = parse_epoch(event)
            seconds = "" if epoch.seconds is None else f" in {epoch.seconds:.0f} s"
            self.say(time, f"epoch {text(epoch.epoch)} done{seconds}")
        elif kind == "checkpoint":
            name = parse_checkpoint(event).name
            self.marks.append(Mark(step, "save", name or ""))
            self.say(time, f"saved checkpoint {name or '?'}")
        elif kind == "control":
            control = parse_control(event)
            if control.action == "set" and not control.error and control.name and control.value is not None:
                self.options = {**self.options, control.name: control.value}
            if not control.error and control.action != "save":  # a save's mark is its checkpoint
                self.marks.append(Mark(step, control.action, control.request))
            refused = f": refused, {control.error}" if control.error else ""
            self.say(time, f"{control.request} (step {text(step)}){refused}")
        elif kind == "note":
            note = parse_note(event)
            self.marks.append(Mark(step, "note", note.text))
            self.say(time, f"note: {note.text}")
        elif kind == "stopped":
            self.stopped = parse_stopped(event)
            error = f": {self.stopped.error}" if self.stopped.error else ""
            self.say(time, f"{self.stopped.state} at step {text(step)}{error}")
        else:
            self.say(time, f"{text(kind)} (step {text(step)})")

    def _fold_probe(self, probe: Probe) -> None:
        probe = completed(probe, self.stored)
        self.probes.append(probe)
        if probe.cosine is not None:
            self.cosine.extend(np.array([probe.step]), np.array([probe.cosine]))
        if len(self.probes) > MOST_PROBES:
            del self.probes[1 : MOST_PROBES // 2 : 2]
        if probe.loss_cosines and (self.loss_cosines_from != TRAINING_BATCH or self.loss_cosines is None):
            self.loss_cosines, self.loss_cosines_from = probe.loss_cosines, f"held-out, n={text(probe.n)}"
            if probe.loss_cosine is not None:
                self.loss_cosine.extend(np.array([probe.step]), np.array([probe.loss_cosine]))

    def _fold_start(self, start: Start, time: float) -> None:
        step = start.step or 0
        self.epochs = start.epochs or self.epochs
        self.steps = start.steps or self.steps
        self.device = self.device if start.device is None else start.device
        self.stopped, self.nonfinite, self._last_step_time = None, {}, None
        if start.resumed:
            for series in (*self.terms.values(), self.cosine, self.loss_cosine, self.grad_norm):
                series.cut(step)
            self.probes = [probe for probe in self.probes if probe.step <= step]
            self.marks = deque((mark for mark in self.marks if mark.step <= step), maxlen=self.marks.maxlen)
            self.marks.append(Mark(step, "resumed", "resumed"))
        self._update_position(step, start.epoch)
        how = "resumed" if start.resumed else "started"
        self.say(time, f"{how} at step {text(step)} on {self.device or 'an unnamed device'}")


def _is_step(event: dict) -> bool:
    return event["kind"] == "step"
