"""`trs bench tui`: time the dashboard as a user sees it, `trs watch RUN` in a terminal of 160 x 48, against its targets."""

import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from trs_explorer import runs
from trs_explorer.bench.terminal import COLUMNS, ROWS, Terminal
from trs_explorer.config import resolve
from trs_explorer.parse_events import PROBE
from trs_explorer.shipped import python_m

TITLE = f"`trs watch` in a terminal of {COLUMNS} x {ROWS}, with a trainer running"
NOTE = "What logging costs the trainer (target 1 %): trs bench logging"
SHORT, USUAL, LONG = 10, 1_700, 100_000  # events; the default run on MNIST writes about 1,700
EVENTS_PER_SECOND = 10
STEPS_PER_EPOCH, LOG_EVERY = 470, 10
HELP_TEXT = "pause or resume the training"  # appears only in the help
LAST = "the-last-event"
ALL_READ = f"read {LONG:,}".replace(",", " ")  # in the dashboard's log panel after that


def bench_tui(rounds: int, show: Callable[[str], None]) -> list[dict]:
    """One row per figure: measured value, unit, target (None: no target) and whether it is met.

    rounds: 2 * rounds key presses and records at random moments, `rounds` seconds of CPU time, rounds / 5 attachments.
    show: told what is being measured.
    """
    with tempfile.TemporaryDirectory() as folder:
        show("reading, keys and records")
        usual = write_run(Path(folder) / "usual", USUAL)
        with fake_trainer(usual, stepping=True) as writer, Terminal(command(usual)) as terminal:
            terminal.wait_for(LAST)
            terminal.watch(2)  # the first charts
            rng = random.Random(0)
            keys = [key_to_paint(terminal, rng) for _ in range(2 * rounds)]
            records = [record_to_screen(terminal, writer, f"note-{i}-{rounds}.", rng) for i in range(2 * rounds)]
            show(f"CPU time over {rounds} s")
            share = share_of_core(terminal, rounds)
        show(f"writing a run of {LONG:,} events")
        sizes = {size: write_run(Path(folder) / str(size), size) for size in (SHORT, LONG)}
        times: dict[int, list[tuple[float, float]]] = {size: [] for size in sizes}
        for _ in range(max(1, rounds // 5)):
            for size, run in sizes.items():
                show(f"attaching to a run of {size:,} events")
                times[size].append(attach(run))
    short, newest, whole = (
        1000 * statistics.median(pair[i] for pair in times[size]) for size, i in ((SHORT, 0), (LONG, 0), (LONG, 1))
    )
    return [
        *spread("key to paint", keys, 50),
        *spread("record to screen", records, 500),
        row(f"share of a core, {EVENTS_PER_SECOND} events/s", None if share is None else 100 * share, "%", 10),
        row(f"attach to {SHORT} events", short, "ms"),
        row(f"attach to {LONG:,} events: the newest shown", newest, "ms", 1000),
        row(f"attach to {LONG:,} events: all read", whole, "ms"),
    ]


def row(what: str, measured: float | None, unit: str, target: float | None = None) -> dict:
    """A row of the table. measured: None where the system does not provide it."""
    met = "" if target is None or measured is None else "yes" if measured <= target else "NO"
    return {"what": what, "measured": measured, "unit": unit, "target": target, "met": met}


def spread(what: str, seconds: list[float], target: float) -> list[dict]:
    """Two rows, median and 95th percentile in milliseconds. target: of the 95th percentile, in ms."""
    p50, p95 = np.percentile(seconds, [50, 95]) * 1000
    return [row(f"{what}, p50", float(p50), "ms"), row(f"{what}, p95", float(p95), "ms", target)]


# --- what is measured ------------------------------------------------------------------------------------------------


def command(run: runs.Run) -> list[str]:
    """The command that a user types."""
    return [*python_m("trs_explorer"), "watch", str(run.path)]


def key_to_paint(terminal: Terminal, rng: random.Random) -> float:
    """Seconds from the key that opens the help until the help is on the screen, at a random moment; then close it."""
    terminal.watch(rng.uniform(0.2, 0.6))
    terminal.forget()
    start = time.perf_counter()
    terminal.press("?")
    seconds = terminal.wait_for(HELP_TEXT) - start
    terminal.watch(0.1)
    terminal.press("?")  # not escape: a terminal program waits after it, because it may begin a sequence
    return seconds


def record_to_screen(terminal: Terminal, writer: runs.EventWriter, token: str, rng: random.Random) -> float:
    """Seconds from writing a note into the run until its text is on the screen, at a random moment."""
    terminal.watch(rng.uniform(0.2, 0.9))
    terminal.forget()
    start = time.perf_counter()
    writer.write("note", text=token)
    return terminal.wait_for(token) - start


def share_of_core(terminal: Terminal, seconds: float) -> float | None:
    """CPU seconds per second of the dashboard's processes while the trainer runs; None where the system does not provide it."""
    before, start = terminal.cpu_seconds(), time.perf_counter()
    terminal.watch(seconds)
    after, end = terminal.cpu_seconds(), time.perf_counter()
    return None if before is None or after is None else (after - before) / (end - start)


def attach(run: runs.Run) -> tuple[float, float]:
    """Seconds from the start of the process until the run's last event is on the screen, and until the whole log is read."""
    with fake_trainer(run, stepping=False), Terminal(command(run)) as terminal:
        newest = terminal.wait_for(LAST) - terminal.started
        whole = terminal.wait_for(ALL_READ) - terminal.started if run.name == str(LONG) else newest
        return newest, whole


# --- a fake trainer --------------------------------------------------------------------------------------------------


def write_run(path: Path, events: int) -> runs.Run:
    """Create a run with that many events: steps, a probe after every epoch, and a note as the last one."""
    run = runs.create(path, resolve({}))
    writer = runs.EventWriter(run)
    writer.write("start", step=0, steps=10 * LOG_EVERY * LONG, epoch=0, steps_per_epoch=STEPS_PER_EPOCH, device="cpu")
    rng, step = random.Random(0), 0
    for _ in range(events - 2):
        step += LOG_EVERY
        kind, fields = (PROBE, probe_fields(rng)) if step % STEPS_PER_EPOCH == 0 else ("step", step_fields(rng))
        writer.write(kind, step=step, epoch=step // STEPS_PER_EPOCH, **fields)
    writer.write("note", text=LAST)
    writer.close()
    return run


@contextmanager
def fake_trainer(run: runs.Run, *, stepping: bool) -> Iterator[runs.EventWriter]:
    """Hold run's lock and write its status once per second. stepping: also write 10 step events per second.

    The caller may use the writer at the same time: a line is written in one piece.
    """
    lock, writer, ended = runs.trainer_lock(run), runs.EventWriter(run), threading.Event()

    def work() -> None:
        rng, step, tick = random.Random(1), USUAL * LOG_EVERY, 0
        while not ended.wait(1 / EVENTS_PER_SECOND):
            step, tick = step + LOG_EVERY, tick + 1
            if stepping:
                writer.write("step", step=step, epoch=step // STEPS_PER_EPOCH, **step_fields(rng))
            if tick % EVENTS_PER_SECOND == 0:
                run.write_status(state="running", step=step)

    run.write_status(state="running", step=0)
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield writer
    finally:
        ended.set()
        thread.join()
        writer.close()
        lock.release()


def step_fields(rng: random.Random) -> dict:
    """The fields of a step event besides the step: four terms, three members."""
    terms = {"total": 0.5, "ce": 0.4, "similarity": 0.07, "smoothness": 0.04}
    return {
        "terms": {name: near(value, rng) for name, value in terms.items()},
        "cosine": cosines(rng),
        "grad_norm": near(3.1, rng),
        "delta": 0.2,
        "lr": 1e-3,
        "options": {"lambda_a": 1.0, "lambda_b": 0.1},
        "rate": near(38.0, rng),
    }


def probe_fields(rng: random.Random) -> dict:
    """The fields of a matrix event besides the step."""
    fooled = [[120 if i == j else rng.randint(40, 70) for j in range(3)] for i in range(3)]
    counts = {"clean": 119, "fgsm": 78, "pgd": 56, "member_clean": [118, 117, 119]}
    measured = {"fooled": fooled, "eligible": [[122] * 3] * 3, "cosine": cosines(rng), "grad_norm": [2.5, 2.0, 1.5]}
    return {"n": 128, "eps": 0.3, "attack": "pgd-10", **measured, "zero_gradients": [0.0] * 3, **counts}


def cosines(rng: random.Random) -> list[list[float]]:
    """A matrix of |cos| between three members."""
    a, b, c = (near(0.07, rng) for _ in range(3))
    return [[1.0, a, b], [a, 1.0, c], [b, c, 1.0]]


def near(value: float, rng: random.Random) -> float:
    """A random number within 20 % of value."""
    return round(value * rng.uniform(0.8, 1.2), 5)
