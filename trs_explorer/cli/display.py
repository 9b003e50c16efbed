"""What a training prints: plain lines, a rich progress display, or the events themselves as JSON lines."""

import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol

from trs_explorer.files import printable
from trs_explorer.runs import Run
from trs_explorer.values import number

LINE_EVERY_S = 10.0


class Display(Protocol):
    """Shows a training's events."""

    def starting(self) -> None:
        """Say that something is going on before the first event, while torch is loading."""
        ...

    def event(self, event: dict) -> None:
        """Show one event."""
        ...


@contextmanager
def display(run: Run, how: str, *, live: bool = True) -> Iterator[Display]:
    """The display for how = "plain", "rich" or "json". live: events are shown as they happen, not read from a log later."""
    if how == "rich":
        with _rich(run) as shown:
            yield shown
    else:
        yield _Json() if how == "json" else _Plain(run, live)


class _Json:
    def starting(self) -> None:
        pass

    def event(self, event: dict) -> None:
        sys.stdout.write(json.dumps(event, separators=(",", ":")) + "\n")
        sys.stdout.flush()


class Silent:
    """Shows nothing."""

    def starting(self) -> None:
        """Say nothing."""

    def event(self, event: dict) -> None:
        """Show nothing."""


class _Plain:
    def __init__(self, run: Run, live: bool) -> None:
        self.run, self.live, self.start = run, live, {}
        self.last: float | None = None

    def starting(self) -> None:
        print(headline(self.run), flush=True)

    def event(self, event: dict) -> None:
        if event["kind"] == "start":
            self.start = event
        if event["kind"] == "step" and not self._is_due(event):
            return
        line = in_words(event, self.start, self.run)
        if line:
            print(line, flush=True)

    def _is_due(self, event: dict) -> bool:
        """Whether it is time for another step's line. Clocks are set, back too: in a log no order of times is relied on."""
        now = time.monotonic() if self.live else number(event.get("t"))
        if now is None:
            return True
        due = self.last is None or abs(now - self.last) >= LINE_EVERY_S
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
        self.run, self.progress, self.start = run, progress, {}
        self.task = progress.add_task("starting", total=None)

    def starting(self) -> None:
        self.progress.console.print(headline(self.run), markup=False, emoji=False)

    def event(self, event: dict) -> None:
        kind = event["kind"]
        if kind == "start":
            self.start = event
            self.progress.update(self.task, total=event["steps"], completed=event["step"], description="steps")
        if kind == "step":
            total = (event.get("terms") or {}).get("total")
            loss = "loss ?" if total is None else f"loss {total:.3f}"
            loss = f"member {event['member'] + 1}, {loss}" if isinstance(event.get("member"), int) else loss
            self.progress.update(self.task, completed=event["step"], description=loss)
            return
        line = in_words(event, self.start, self.run)
        if line:
            self.progress.console.print(line, markup=False, emoji=False)


def headline(run: Run) -> str:
    """What is about to be trained, and where it goes."""
    c = run.config
    return printable(f"{c.method}: {c.members} x {c.model} on {c.data}, {c.epochs} epochs, seed {c.seed} -> {run.path}")


def in_words(event: dict, start: dict, run: Run) -> str | None:
    """One line of printable characters for an event, None for those that need none.

    Missing fields are left out. An event without what its line is made of (a damaged log, a null where the number was not
    finite) is named, not shown: a display must never end a training.
    """
    try:
        line = _line(event, start, run)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, OSError, RecursionError):
        line = f"  {event['kind']}: some of its values are missing"
    return None if line is None else printable(re.sub(r"[\t\r\n]+", " ", line))


def _line(event: dict, start: dict, run: Run) -> str | None:
    kind, step = event["kind"], event.get("step")
    if kind == "start":
        device = f"{event.get('device')}{' (bfloat16)' if event.get('bfloat16') else ''}, {event.get('threads')} threads"
        return f"{'resumed' if event.get('resumed') else 'started'} at step {step} of {event.get('steps')} on {device}"
    if kind == "step":
        return _step_line(event, start)
    if kind == "matrix":
        return _matrix_line(event)
    if kind == "checkpoint":
        return f"  saved {event.get('name')}" if run.config.save_every > 1 else None
    if kind == "control":
        said = " ".join(str(event[key]) for key in ("action", "name", "value", "text") if event.get(key) is not None)
        return f"  control: {said}{' refused: ' + event['error'] if event.get('error') else ''}"
    if kind == "note":
        return f"  note: {event.get('text')}"
    if kind == "stopped":
        return f"{event.get('state')}{': ' + event['error'] if event.get('error') else ''} -> {run.path}"
    return None


def _step_line(event: dict, start: dict) -> str:
    terms = {name: value for name, value in (event.get("terms") or {}).items() if isinstance(value, int | float)}
    parts = [f"step {event.get('step')}/{start.get('steps', '?')}"]
    if isinstance(event.get("member"), int):
        parts.append(f"member {event['member'] + 1}")
    if "total" in terms:
        sum_of = " + ".join(f"{name} {value:.3f}" for name, value in terms.items() if name != "total")
        parts.append(f"loss {terms['total']:.3f} = {sum_of}")
    rate = event.get("rate")
    if rate and start.get("steps"):
        left = (start["steps"] - event["step"]) / rate
        parts.append(f"{rate:.1f} steps/s, {timedelta(seconds=round(left))} left")
    return "  ".join(parts)


def _matrix_line(event: dict) -> str:
    n = event["n"]
    cosine, fooled, eligible = event["cosine"], event["fooled"], event["eligible"]
    pairs = [(i, j) for i in range(len(cosine)) for j in range(len(cosine)) if i != j]
    similar = sum(cosine[i][j] for i, j in pairs) / len(pairs)
    moved, could = (sum(table[i][j] for i, j in pairs) for table in (fooled, eligible))
    right = ", ".join(f"{name} {100 * event[name] / n:.0f} %" for name in ("clean", "fgsm", "pgd"))
    transfer = f"transfer {moved}/{could} = {100 * moved / could:.0f} %" if could else "transfer: nobody was fooled"
    return f"epoch {event['epoch']:3}  |cos| {similar:.3f}  {transfer}  ensemble {right} right (n={n}, eps {event['eps']:g})"
