"""A run as a trainer would have left it, with numbers that the tests know."""

import json
from pathlib import Path

from trs_explorer import runs
from trs_explorer.config import resolve

COSINE = [[1.0, 0.05, 0.07], [0.05, 1.0, 0.09], [0.07, 0.09, 1.0]]  # mean off the diagonal: .07
FOOLED = [[92, 61, 58], [60, 90, 63], [59, 62, 91]]
ELIGIBLE = [[100] * 3] * 3  # transfer: (61 + 58 + 60 + 63 + 59 + 62) / 600 = 60.5 %


def step_event(step: int, **changes: object) -> dict:
    terms = {"total": 0.512, "ce": 0.4, "similarity": 0.07, "smoothness": 0.042}
    fields = {"step": step, "epoch": step // 100, "terms": terms, "cosine": COSINE, "grad_norm": 3.1, "lr": 1e-3, "delta": 0.3}
    return {
        "v": 1,
        "kind": "step",
        "t": 1e9 + step,
        "options": {"lambda_a": 1.0, "lambda_b": 0.1},
        "rate": 38.2,
        **fields,
        **changes,
    }


def matrix_event(step: int, **changes: object) -> dict:
    counts = {"clean": 119, "fgsm": 78, "pgd": 56, "member_clean": [118, 117, 119]}
    probe = {"n": 128, "eps": 0.3, "attack": "pgd-10", "fooled": FOOLED, "eligible": ELIGIBLE}
    probe |= {"transfer_interval": [0.51, 0.69], "log_odds_cosine": COSINE, "cosine": COSINE}
    gradients = {"grad_norm": [2.5, 2.0, 1.5], "zero_gradients": [0.0, 0.0, 0.0]}
    return {
        "v": 1,
        "kind": "matrix",
        "t": 1e9 + step,
        "step": step,
        "epoch": step // 100,
        **probe,
        **gradients,
        **counts,
        **changes,
    }


def start_event(**changes: object) -> dict:
    sizes = {"step": 0, "epoch": 0, "epochs": 20, "steps": 2000, "steps_per_epoch": 100}
    return {"v": 1, "kind": "start", "t": 1e9, "device": "cpu", "threads": 2, "resumed": False, **sizes, **changes}


def record(path: Path, *, steps: int = 700, method: str = "trs") -> runs.Run:
    """A run of `steps` steps with a probe and a checkpoint every hundred."""
    run = runs.create(path, resolve({"method": method}))
    events = [start_event()]
    for step in range(10, steps + 1, 10):
        events.append(step_event(step))
        if step % 100 == 0:
            events += [matrix_event(step), {"kind": "checkpoint", "step": step, "name": f"{step // 100:04d}"}]
    append(run, *events)
    return run


def append(run: runs.Run, *events: dict) -> None:
    writer = runs.EventWriter(run)
    for event in events:
        writer.write(**{name: value for name, value in event.items() if name not in ("v", "t")})
    writer.close()


def stretch(run: runs.Run, seconds: float) -> None:
    """Rewrite the log as if a step had taken so long."""
    lines = [json.dumps({**event, "t": 1000 + seconds * event["step"]}) for event in runs.read_events(run).events]
    (run.path / "events.jsonl").write_text("\n".join(lines) + "\n")
