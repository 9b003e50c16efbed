"""The "Training" section: status, checkpoints, and the numbers behind the curves (`figures.training_figure`)."""

import math
from collections.abc import Sequence

import numpy as np
from dash import html

from trs_explorer.config import IMPORTED, TrainConfig
from trs_explorer.explore.angles import NORM_NAMES, Angles
from trs_explorer.explore.library import Loaded
from trs_explorer.figures.training_figure import of_kind
from trs_explorer.files import Json, printable
from trs_explorer.parse_events import PROBE, parse_checkpoint, parse_probe, parse_step

MAX_ROWS = 40  # of a table
MAX_CHARACTERS = 20  # of a log's field that should be a word or a number


def status_line(config: TrainConfig, status: Json, events: Sequence[Json], checkpoints: Sequence[str]) -> str:
    """Describe a run and its progress in one line."""
    if config.imported:
        return f"{config.members} x {config.model_name}: imported, so trained elsewhere. There is no training to show."
    steps = np.concatenate([of_kind(events, kind)[1] for kind in ("step", "checkpoint")])
    parts = [f"{config.members} x {config.model_name}, {printable(status.get('state') or 'unknown')[:MAX_CHARACTERS]}"]
    parts += [f"step {steps.max():.0f}"] if len(steps) else []
    parts += [f"saved {checkpoint_label(checkpoints[-1])}" if checkpoints else "nothing saved yet"]
    return ", ".join(parts)


def checkpoint_label(checkpoint: str) -> str:
    """Return a readable name of a checkpoint: "epoch 7", or "epoch 6, step 123 of the next"."""
    epoch, _, step = checkpoint.partition("-")
    return f"epoch {int(epoch)}" + (f", step {int(step)} of the next" if step else "")


def shown_checkpoint(loaded: Loaded) -> str:
    """Return what the checkpoint that is shown is called in captions: "epoch 7", or "imported" if it was trained elsewhere."""
    return IMPORTED if loaded.run.config.imported else checkpoint_label(loaded.checkpoint)


def step_of(events: Sequence[Json], checkpoint: str) -> int | None:
    """Return the step at which a checkpoint was saved; None if the log does not have it."""
    saved = map(parse_checkpoint, reversed(of_kind(events, "checkpoint")[0]))
    return next((event.step for event in saved if event.name == checkpoint), None)


def history_table(events: Sequence[Json]) -> html.Table:
    """Build a table of the probes, one row each: the numbers behind the curves."""
    (steps, step_numbers), (probes, _) = of_kind(events, "step"), of_kind(events, PROBE)
    names, rows = list(parse_step(steps[-1]).terms) if steps else [], []
    for event in probes[:: -max(1, math.ceil(len(probes) / MAX_ROWS))][::-1]:
        probe = parse_probe(event)
        earlier = np.where(step_numbers <= probe.step, step_numbers, -np.inf)
        nearest = parse_step(steps[int(earlier.argmax())]).terms if np.isfinite(earlier).any() else {}
        values = [*map(nearest.get, names), probe.cosine, probe.loss_cosine, probe.transfer]
        rows.append([_count(probe.epoch), str(probe.step), *map(_short, values), _count(probe.n)])
    head = ["epoch", "step", *map(printable, names), "|cos|", "|cos|, loss", "transfer", "images"]
    return rows_table(head, rows)


def rows_table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> html.Table:
    """Build a table of texts: the first of each row is its heading."""
    body = [html.Tr([html.Th(row[0], scope="row"), *(html.Td(cell) for cell in row[1:])]) for row in rows]
    top = html.Thead(html.Tr([html.Th(name, scope="col") for name in head]))
    return html.Table([*([html.Caption(caption)] if caption else []), top, html.Tbody(body)])


def angle_table(measured: Angles) -> html.Table:
    """Build a table of |cos| of every pair, at x and in the ball around it, and of every member's gradient norms."""
    members = len(measured.norms)
    matrices = measured.at_x, measured.mean, measured.deviation, measured.largest
    head = ["pair", "|cos| at x", "in the ball: mean", "± sd", "largest"]
    pairs = [
        [f"F{i + 1}, F{j + 1}", *(_short(float(m[i, j])) for m in matrices)]
        for i in range(members) for j in range(i + 1, members)
    ]  # fmt: skip
    norms = [
        [f"F{i + 1} norm", _short(float(measured.norms[i])), "", "", _short(float(measured.steepest[i]))] for i in range(members)
    ]
    ball = f"{measured.samples} points within ε {measured.eps:g} ({NORM_NAMES[measured.norm]})"
    return rows_table(head, pairs + norms, f"{ball}: the largest value is a lower bound")


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _count(value: int | None) -> str:
    return "" if value is None else str(value)[:MAX_CHARACTERS]
