"""What a training prints: plain lines, a rich progress display, or the events themselves as JSON lines."""

import json
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol

from trs_explorer.files import printable
from trs_explorer.parse_events import (
    PROBE,
    Probe,
    Step,
    event_time,
    parse_checkpoint,
    parse_control,
    parse_note,
    parse_probe,
    parse_start,
    parse_step,
    parse_stopped,
)
from trs_explorer.runs import Run

LINE_INTERVAL_S = 10.0  # between two lines about steps
MAX_LEFT_S = 1e9


class Display(Protocol):
    """Shows a training's events."""

    def starting(self) -> None:
        """Show the training before its first event, while torch is loading."""
        ...

    def event(self, event: dict) -> None:
        """Show one event."""
        ...


@contextmanager
def display(run: Run, how: str, *, live: bool = True, about: Mapping[str, object] | None = None) -> Iterator[Display]:
    """The display for how = "plain", "rich" or "json".

    - live: events are shown as they happen, not read from a log.
    - about: fields that every line of JSON gets too.
    """
    if how == "rich":
        with _rich(run) as rich_display:
            yield rich_display
    else:
        yield _Json(about or {}) if how == "json" else _Plain(run, live)


class _Json:
    """Events as JSON lines. What code of others prints meanwhile goes to stderr (`cli.train`)."""

    def __init__(self, about: Mapping[str, object]) -> None:
        self.out, self.about = sys.stdout, about

    def starting(self) -> None:
        pass

    def event(self, event: dict) -> None:
        self.out.write(json.dumps({**event, **self.about}, separators=(",", ":")) + "\n")
        self.out.flush()


class Silent:
    """A display that shows nothing."""

    def starting(self) -> None:
        """Show nothing."""

    def event(self, event: dict) -> None:
        """Show nothing."""


class _Plain:
    def __init__(self, run: Run, live: bool) -> None:
        self.run, self.live, self.steps = run, live, None
        self.last: float | None = None

    def starting(self) -> None:
        print(headline(self.run), flush=True)

    def event(self, event: dict) -> None:
        if event["kind"] == "start":
            self.steps = parse_start(event).steps
        if event["kind"] == "step" and not self._is_due(event):
            return
        line = event_line(event, self.steps, self.run)
        if line:
            print(line, flush=True)

    def _is_due(self, event: dict) -> bool:
        """Whether it is time for another step's line. Times in a log may go back, because clocks are set."""
        now = time.monotonic() if self.live else event_time(event)
        if now is None:
            return True
        due = self.last is None or abs(now - self.last) >= LINE_INTERVAL_S
        self.last = now if due else self.last
        return due


@contextmanager
def _rich(run: Run) -> Iterator[Display]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        yield _Rich(run, progress)


class _Rich:
    def __init__(self, run: Run, progress) -> None:
        self.run, self.progress, self.steps = run, progress, None
        self.task = progress.add_task("starting", total=None)

    def starting(self) -> None:
        self.progress.console.print(headline(self.run), markup=False, emoji=False)

    def event(self, event: dict) -> None:
        kind = event["kind"]
        if kind == "start":
            start = parse_start(event)
            self.steps = start.steps
            self.progress.update(self.task, total=start.steps, completed=start.step or 0, description="steps")
        if kind == "step":
            step = parse_step(event)
            total = step.terms.get("total")
            loss = "loss ?" if total is None else f"loss {total:.3f}"
            loss = loss if step.member is None else f"member {step.member + 1}, {loss}"
            self.progress.update(self.task, completed=step.step or 0, description=loss)
            return
        line = event_line(event, self.steps, self.run)
        if line:
            self.progress.console.print(line, markup=False, emoji=False)


def headline(run: Run) -> str:
    """One line: what is about to be trained, and into which folder."""
    c = run.config
    return printable(f"{c.method_name}: {c.members} x {c.model_name} on {c.data}, {c.epochs} epochs, seed {c.seed} -> {run.path}")


def event_line(event: dict, steps: int | None, run: Run) -> str | None:
    """One line of printable characters for an event; None for events without a line.

    - steps: of the whole training; None if unknown.

    Missing fields are left out. Of a probe with missing numbers (a damaged log, or a null for a number that was not finite) the
    line only says that: a display must never end a training.
    """
    line = _line(event, steps, run)
    return None if line is None else printable(re.sub(r"[\t\r\n]+", " ", line))


def _line(event: dict, steps: int | None, run: Run) -> str | None:
    kind = event["kind"]
    if kind == "start" and not run.config.imported:
        start = parse_start(event)
        device = f"{start.device}{' (bfloat16)' if start.bfloat16 else ''}, {start.threads} threads"
        return f"{'resumed' if start.resumed else 'started'} at step {start.step} of {start.steps} on {device}"
    if kind == "step":
        return _step_line(parse_step(event), steps)
    if kind == PROBE:
        return probe_line(parse_probe(event))
    if kind == "checkpoint":
        return f"  saved {parse_checkpoint(event).name}" if run.config.save_every > 1 else None
    if kind == "control":
        control = parse_control(event)
        return f"  control: {control.request}{f' refused: {control.error}' if control.error else ''}"
    if kind == "note":
        return f"  note: {parse_note(event).text}"
    if kind == "stopped":
        stopped = parse_stopped(event)
        return f"{stopped.state}{f': {stopped.error}' if stopped.error else ''} -> {run.path}"
    return None


def _step_line(step: Step, steps: int | None) -> str:
    terms = {name: value for name, value in step.terms.items() if value is not None}
    parts = [f"step {step.step}/{steps or '?'}"]
    if step.member is not None:
        parts.append(f"member {step.member + 1}")
    if "total" in terms:
        sum_of = " + ".join(f"{name} {value:.3f}" for name, value in terms.items() if name != "total")
        parts.append(f"loss {terms['total']:.3f} = {sum_of}")
    if step.rate and steps and step.step is not None:
        seconds = (steps - step.step) / step.rate
        if abs(seconds) < MAX_LEFT_S:  # otherwise the rate is damaged
            parts.append(f"{step.rate:.1f} steps/s, {timedelta(seconds=round(seconds))} left")
    return "  ".join(parts)


def probe_line(probe: Probe) -> str:
    """A probe on one line: mean |cos| by the log-odds, transfer, and the ensemble's accuracy."""
    shares = {name: probe.share(name) for name in ("clean", "fgsm", "pgd")}
    if None in (probe.epoch, probe.cosine, probe.eligible, probe.eps, *shares.values()):
        return "  matrix: some values are missing"
    correct = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
    transfer = "transfer: no image eligible"
    if probe.transfer is not None:
        transfer = f"transfer {probe.fooled}/{probe.eligible} = {100 * probe.transfer:.0f} %"
    accuracy = f"ensemble accuracy: {correct} (n={probe.n}, ε {probe.eps:g})"
    loss = f" (cross-entropy's {probe.loss_cosine:.3f})" if probe.differs else ""
    return f"epoch {probe.epoch:3}  |cos| {probe.cosine:.3f}{loss}  {transfer}  {accuracy}"
