"""Folds a run's events into what the dashboard shows. Pure: no terminal, no clock, no files."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from statistics import median

import numpy as np

from trs_explorer.tui.reading import Matrix, Probe, column, matrix, pair_means, probe
from trs_explorer.tui.series import Series
from trs_explorer.values import number, text, whole

MOST_TERMS = 40  # a loss has a handful; a damaged log must not fill the memory with curves of one point
MOST_PROBES = 4096  # more are thinned, the older ones first


@dataclass(frozen=True)
class Mark:
    """Something that happened at a step: kind is set, save, resumed, note or another action."""

    step: int
    kind: str
    text: str


@dataclass
class History:
    """All that a viewer knows of a run."""

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
    cosine: Series = field(default_factory=Series)
    cosines: Matrix | None = None
    cosines_from: str = ""
    grad_norm: Series = field(default_factory=Series)
    probes: list[Probe] = field(default_factory=list)
    options: dict[str, float] = field(default_factory=dict)
    marks: deque[Mark] = field(default_factory=lambda: deque(maxlen=500))
    log: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=200))
    nonfinite: dict[str, int] = field(default_factory=dict)
    stopped: dict | None = None
    _gaps: deque[float] = field(default_factory=lambda: deque(maxlen=50))
    _last_step_time: float | None = None

    @property
    def probe(self) -> Probe | None:
        """The newest probe."""
        return self.probes[-1] if self.probes else None

    @property
    def gap(self) -> float | None:
        """Median seconds between two step events of late."""
        return median(self._gaps) if self._gaps else None

    def copy(self) -> "History":
        """The same history, to be folded on on its own."""
        return replace(
            self,
            terms={name: series.copy() for name, series in self.terms.items()},
            cosine=self.cosine.copy(),
            grad_norm=self.grad_norm.copy(),
            probes=self.probes.copy(),
            marks=self.marks.copy(),
            log=self.log.copy(),
            nonfinite=self.nonfinite.copy(),
            _gaps=self._gaps.copy(),
        )

    def say(self, time: float, text: str) -> None:
        """Put a line into the log."""
        self.log.append((time, text))

    def fold(self, events: Sequence[dict]) -> None:
        """Take in events, oldest first. The result does not depend on how a log is cut into calls.

        Between two starts, steps go in first and as columns, for a long log is mostly these, and what is rare after them. That
        is the same unless one is not finite, which is said in the log, or a rare one names no step: then the order counts.
        """
        self.events += len(events)
        starts = {i for i, event in enumerate(events) if event["kind"] == "start"}
        cuts = sorted({0, len(events), *starts, *(i + 1 for i in starts)})
        for first, last in pairwise(cuts):
            part = events[first:last]
            if any("nonfinite" in event or not (_is_step(event) or "step" in event) for event in part):
                for _, group in groupby(part, key=_is_step):
                    self._block(list(group))
            else:
                self._block([event for event in part if _is_step(event)])
                self._block([event for event in part if not _is_step(event)])
                self._where(part[-1])
                self.time = number(part[-1].get("t")) or self.time

    def _block(self, block: list[dict]) -> None:
        """Events that are all steps, or none."""
        if not block:
            return
        times = [t for event in block[-50:] if (t := number(event.get("t"))) is not None]
        self.time = times[-1] if times else self.time
        if _is_step(block[0]):
            self._steps(block, times)
            return
        for event in block:
            self._rare(event["kind"], event, number(event.get("t")) or self.time or 0.0)

    def _where(self, event: dict) -> int:
        step = whole(event.get("step"))
        if step is not None:
            self.step = step
        epoch = whole(event.get("epoch"))
        if epoch is not None:
            self.epoch = epoch
        return self.step

    def _steps(self, block: list[dict], times: list[float]) -> None:
        at = column(block, "step")
        for i in np.flatnonzero(np.isnan(at)):
            at[i] = at[i - 1] if i else self.step
        terms = [t if isinstance(t := event.get("terms"), dict) else {} for event in block]
        for name in [*terms[0], *sorted(set().union(*terms).difference(terms[0]))]:
            if name not in self.terms and len(self.terms) >= MOST_TERMS:
                continue
            values = column(terms, name)
            if name in self.terms or np.isfinite(values).any():
                self.terms.setdefault(name, Series()).extend(at, values)
        self.cosine.extend(at, pair_means(block))
        self.grad_norm.extend(at, column(block, "grad_norm"))
        bad = {i: names for i, event in enumerate(block) if isinstance(names := event.get("nonfinite"), list) and names}
        for i, names in bad.items():
            if i - 1 not in bad and not (i == 0 and self.nonfinite):
                step = int(at[i])
                self.say(number(block[i].get("t")) or self.time or 0.0, f"not finite at step {text(step)}: {_named(names)}")
        self.nonfinite = dict.fromkeys(map(text, bad.get(len(block) - 1, [])[:MOST_TERMS]), int(at[-1]))
        if self._last_step_time is not None:
            times = [self._last_step_time, *times]
        self._gaps.extend(later - earlier for earlier, later in pairwise(times) if later >= earlier)
        self._last_step_time = times[-1] if times else None
        self._newest(block[-1])

    def _newest(self, event: dict) -> None:
        self._where(event)
        if square := matrix(event.get("cosine")):
            self.cosines, self.cosines_from = square, "training batch"
        self.rate = number(event.get("rate")) or self.rate
        self.delta = number(event.get("delta"))
        self.member = whole(event.get("member"))
        options = event.get("options")
        if isinstance(options, dict):
            known = {name: value for name, value in options.items() if number(value) is not None}
            self.options = dict(list(known.items())[:MOST_TERMS])

    def _rare(self, kind: object, event: dict, time: float) -> None:
        if kind == "start":
            self._start(event, time)
            return
        step = self._where(event)
        if kind == "matrix":
            found = probe(event, step)
            self.probes.append(found)
            if len(self.probes) > MOST_PROBES:
                del self.probes[1 : MOST_PROBES // 2 : 2]
            if found.cosines and (self.cosines_from != "training batch" or self.cosines is None):
                self.cosines, self.cosines_from = found.cosines, f"held-out, n={text(found.n)}"
                if found.cosine is not None:
                    self.cosine.extend(np.array([step]), np.array([found.cosine]))
        elif kind == "epoch":
            seconds = number(event.get("seconds"))
            self.say(
                time, f"epoch {text(event.get('epoch', '?'))} done" + (f" in {seconds:.0f} s" if seconds is not None else "")
            )
        elif kind == "checkpoint":
            self.marks.append(Mark(step, "save", text(event.get("name", ""))))
            self.say(time, f"saved checkpoint {text(event.get('name', '?'))}")
        elif kind == "control":
            action = text(event.get("action", "?"))
            words = [action, *(text(event[name]) for name in ("name", "value", "text") if event.get(name) is not None)]
            asked = " ".join(words)
            if action == "set" and "error" not in event and (value := number(event.get("value"))) is not None:
                self.options = {**self.options, text(event.get("name")): value}
            if "error" not in event and action != "save":  # a save's mark is its checkpoint
                self.marks.append(Mark(step, action, asked))
            refused = f": refused, {text(event['error'])}" if event.get("error") else ""
            self.say(time, f"{asked} (step {text(step)}){refused}")
        elif kind == "note":
            self.marks.append(Mark(step, "note", text(event.get("text", ""))))
            self.say(time, f"note: {text(event.get('text', ''))}")
        elif kind == "stopped":
            self.stopped = event
            error = event.get("error")
            self.say(time, f"{text(event.get('state', 'stopped'))} at step {text(step)}" + (f": {text(error)}" if error else ""))
        else:
            self.say(time, f"{text(kind)} (step {text(step)})")

    def _start(self, event: dict, time: float) -> None:
        step = whole(event.get("step")) or 0
        self.epochs = whole(event.get("epochs")) or self.epochs
        self.steps = whole(event.get("steps")) or self.steps
        self.device = text(event.get("device", self.device))
        self.stopped, self.nonfinite, self._last_step_time = None, {}, None
        if event.get("resumed"):
            for series in (*self.terms.values(), self.cosine, self.grad_norm):
                series.cut(step)
            self.probes = [found for found in self.probes if found.step <= step]
            self.marks = deque((mark for mark in self.marks if mark.step <= step), maxlen=self.marks.maxlen)
            self.marks.append(Mark(step, "resumed", "resumed"))
        self._where({"step": step, "epoch": event.get("epoch")})
        how = "resumed" if event.get("resumed") else "started"
        self.say(time, f"{how} at step {text(step)} on {self.device or 'an unnamed device'}")


def _named(names: list) -> str:
    return ", ".join(map(text, names[:MOST_TERMS]))


def _is_step(event: dict) -> bool:
    return event["kind"] == "step"
