"""The dashboard in words: each function renders one panel as text, from the history alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from rich.text import Text

from trs_explorer import values
from trs_explorer.config import same_split
from trs_explorer.parse_events import Matrix, off_diagonal
from trs_explorer.runs import Run
from trs_explorer.tui.alarms import Alarm
from trs_explorer.tui.ghosts import Ghost
from trs_explorer.tui.look import Look, clock, cosine, duration, grouped, letters, percent, plain, short
from trs_explorer.tui.model import History

LONGEST_NAME = 40  # characters of a term or a weight
ACCURACIES = (("clean", "clean"), ("fgsm", "FGSM"), ("pgd", "PGD"))


@dataclass(frozen=True)
class Situation:
    """What is known of a run besides its events."""

    name: str
    state: str
    pid: object = None
    readonly: bool = False


def header(history: History, situation: Situation, look: Look, width: int) -> Text:
    """Name, epoch, step, speed, time left, state. One line if it fits, else two."""
    dot = f" {look.glyph('dot')} "
    state, style = look.state(situation.state)
    pid = f" (pid {values.text(situation.pid, 20)})" if situation.pid and situation.state in ("running", "paused") else ""
    parts = []
    if history.epoch is not None:
        parts.append(f"epoch {values.text(history.epoch)}" + (f"/{values.text(history.epochs)}" if history.epochs else ""))
    if history.member is not None:
        parts.append(f"member F{values.text(history.member + 1)}")
    if history.events:
        parts.append(f"step {grouped(history.step)}")
    if situation.state == "running" and history.rate and history.rate > 0:
        parts.append(f"{history.rate:.0f} it/s" if 10 <= history.rate < 1e5 else f"{short(history.rate)} it/s")
        if history.steps and history.steps > history.step:
            parts.append(f"{duration((float(history.steps) - float(history.step)) / history.rate)} left")
    watching = dot + "read only" if situation.readonly else ""
    one = Text.assemble(
        ("trs", "bold"), dot, (situation.name, "bold"), dot, dot.join(parts), dot if parts else "", (state + pid, style), watching
    )
    if one.cell_len <= width:
        return one
    name = situation.name
    room = width - len(state) - len(dot)
    if len(name) > room:
        name = name[: max(1, room - 1)] + ("~" if look.ascii else "…")
    if len(dot.join(parts)) > width:
        parts = [part.replace("epoch", "ep") for part in parts if "it/s" not in part]
    second = dot.join(parts)
    return Text.assemble((name, "bold"), dot, (state, style), "\n", second)


def losses(history: History, look: Look) -> Text:
    """The terms' names, marks and newest values on one line."""
    marks = letters(list(history.terms))
    text = Text()
    for i, (name, series) in enumerate(history.terms.items()):
        bad = f"terms.{name}" in history.nonfinite
        text.append("  " if i else "")
        text.append(f"{marks[name]} {values.text(name, LONGEST_NAME)} ", look.colour(str(i)))
        text.append("not finite" if bad else short(series.last), f"bold {look.colour('bad') if bad else ''}".strip())
    return text


def weights(history: History) -> list[str]:
    """The weights of the loss, as they are called in the log."""
    return [name for name in history.options if name.startswith("lambda_")]


def settings(history: History, look: Look) -> Text:
    """The hyper-parameters that can change while training, as they are now."""
    words = [f"{values.text(look.weight(name), LONGEST_NAME)} {plain(history.options[name])}" for name in weights(history)]
    if history.delta is not None:
        words.append(f"{look.glyph('delta')} {plain(history.delta)}")
    return Text("  ".join(words), look.colour("muted"))


def grid(square: Matrix, write, look: Look, *, alert=None, diagonal: bool = True, width: int = 40) -> Text:
    """A matrix with named rows and columns; where it is too wide for `width`, its extremes in words."""
    count = len(square)
    if 5 * count + 5 > width:
        cells = [(value, i, j) for i, row in enumerate(square) for j, value in enumerate(row) if i != j and value is not None]
        if not cells:
            return Text("nothing measured yet")
        words = [f"{what} {write(v)} (F{i + 1}, F{j + 1})" for what, (v, i, j) in (("least", min(cells)), ("most", max(cells)))]
        return Text("\n".join([f"{count} members, {len(cells)} pairs", *words]))
    text = Text("     " + "".join(f"{f'F{j + 1}':>4} " for j in range(count)), look.colour("muted"))
    for i, row in enumerate(square):
        text.append("\n")
        text.append(f"{f'F{i + 1}':>4} ", look.colour("muted"))
        for j, value in enumerate(row):
            if i == j and not diagonal:
                text.append(f"{'.' if look.ascii else '·':>4} ", look.colour("muted"))
            else:
                hot = i != j and alert is not None and value is not None and alert(value)
                style = look.heat(value) or look.colour("muted" if i == j else "warn" if hot else "")
                text.append(f"{write(value):>4} ", f"bold {style}" if hot else style)
    return text


def cosines(history: History, look: Look, width: int) -> Text:
    """|cos| between the members' gradients, with the median and where it is going."""
    if not history.cosines:
        return Text("|cos| is not measured yet", look.colour("muted"))
    pairs = off_diagonal(history.cosines)
    arrow = look.arrow(history.cosine.trend())
    line = f"median {cosine(median(pairs) if pairs else None)} {arrow}  {history.cosines_from}"
    body = grid(history.cosines, cosine, look, diagonal=False, width=width)
    return Text.assemble(body, "\n", (line, "bold" if pairs else ""))


def transfer_title(history: History) -> str:
    """What the transfer matrix is: attack, n, eps."""
    probe = history.probe
    if probe is None:
        return "rows surrogate, columns target"
    eps = f", eps {plain(probe.eps)}" if probe.eps is not None else ""
    return f"rows surrogate, columns target, {probe.attack.upper()}, n={values.text(probe.n)}{eps}"


def transfer(history: History, look: Look, width: int) -> Text:
    """Per cent of the attacks that fooled the row's member and fool the column's too, of images that both get right.

    On the diagonal: of the images that the member gets right, those that it is fooled on.

    The +- is the widest half of a 95 % interval (1.96 sqrt(p (1 - p) / n) at p = .5) over the cells, in points.
    """
    probe = history.probe
    if probe is None or probe.rates is None:
        return Text("the first probe comes at the end of an epoch", look.colour("muted"))
    body = grid(probe.rates, percent, look, alert=lambda rate: rate > 0.4, width=width)
    line = f"{percent(probe.transfer)} % transfers"
    if len(history.probes) > 1 and (before := history.probes[-2].transfer) is not None and probe.transfer is not None:
        line += f" {look.arrow((probe.transfer > before) - (probe.transfer < before))}"
    aside = f"  epoch {values.text(probe.epoch)}" if probe.epoch is not None else ""
    if probe.least:
        aside += f", each {look.glyph('about')}{98 / probe.least**0.5:.0f}"
    return Text.assemble(body, "\n", (line, "bold"), aside)


def accuracy(history: History, look: Look) -> Text:
    """Clean, FGSM and PGD accuracy of the ensemble with n, and the largest gradient norm."""
    text = Text()
    if probe := history.probe:
        for name, label in ACCURACIES:
            text.append(f"{label} ")
            text.append(f"{percent(probe.share(name))}  ", "bold")
        text.append(f"% right of n={values.text(probe.n)}  ", look.colour("muted"))
    norm = history.grad_norm.last if len(history.grad_norm) else (history.probe.grad_norm if history.probe else None)
    if norm is not None:
        text.append(f"{look.glyph('norm')} ")
        text.append(f"{short(norm)} {look.arrow(history.grad_norm.trend())}", "bold")
    return text


def phase(history: History, look: Look, ghosts: Sequence[Ghost] = ()) -> Text:
    """What the picture of similarity against transfer shows, and where the run is in it."""
    text = Text("x: |cos|, y: transfer %   ", look.colour("muted"))
    if history.probes:
        probe = history.probes[-1]
        start, end = ("o", "@") if look.ascii else ("○", "●")
        text.append(f"{start} first, {end} ", look.colour("muted"))
        text.append(f"now |cos| {cosine(probe.cosine)}, transfer {percent(probe.transfer)} %", "bold")
    else:
        text.append("the path of this run begins with the first probe", look.colour("muted"))
    if ghosts:
        named = ", ".join(f"{ghost.letter} {ghost.name}" for ghost in ghosts)
        text.append(f"\nshipped runs: {named}", look.colour("muted"))
    return text


def beside(other: Run, run: Run) -> str:
    """The name of a run that is shown beside another, with its data if that is not the other's."""
    if other.config.data != run.config.data:
        return f"{other.name} (on {other.config.data})"
    return other.name if same_split(other.config, run.config, "test") else f"{other.name} (on other {run.config.data} images)"


def versus(history: History, other: History, name: str, look: Look) -> Text:
    """The other run's last probe up to this step, in one line."""
    found = [probe for probe in other.probes if probe.step <= history.step]
    if not found:
        return Text(f"V {name}: no probe by then", look.colour("muted"))
    probe = found[-1]
    rates = "  ".join(f"{label} {percent(probe.share(key))}" for key, label in ACCURACIES)
    where = f"at epoch {values.text(probe.epoch)}" if probe.epoch is not None else f"at step {values.text(probe.step)}"
    text = Text(f"V {name} {where}: ", look.colour("2"))
    return text.append(f"|cos| {cosine(probe.cosine)}, transfer {percent(probe.transfer)} %, {rates}")


def warnings(alarms: list[Alarm], look: Look) -> Text:
    """One line an alarm, with a sign and in words."""
    lines = [
        Text(f"{look.glyph('alarm')} {a.text}", f"bold {look.colour('bad' if a.serious else 'warn')}".strip()) for a in alarms
    ]
    return Text("\n").join(lines)


def log(history: History, look: Look, lines: int) -> Text:
    """The newest lines of the log, the newest last."""
    newest = list(history.log)[-lines:] if lines else []
    written = [Text.assemble((f"{clock(t)} ", look.colour("muted")), text) for t, text in newest]
    return Text("\n").join(written)


def numbers(history: History, look: Look, width: int) -> Text:
    """Everything for small terminals: a number, its name and a sparkline a line; then the matrices."""
    spark = max(0, width - 22)
    text = Text()

    def row(name: str, value: str, series, style: str = "") -> None:
        text.append(f"{name[:11]:<12}", style)
        text.append(f"{value:>8} ", "bold")
        text.append(look.sparkline(series, spark) + "\n", style)

    def between() -> None:  # what the terms are for comes before what they are made of
        if len(history.cosine):
            row("mean |cos|", cosine(history.cosine.last), history.cosine.points(2 * spark)[1])
        if history.probe:
            known = [probe.transfer for probe in history.probes if probe.transfer is not None]
            row("transfer %", percent(history.probe.transfer), known)

    for i, (name, series) in enumerate(history.terms.items()):
        if i == 1:
            between()
        bad = f"terms.{name}" in history.nonfinite
        row(name, "NaN" if bad else short(series.last), series.points(2 * spark)[1], look.colour(str(i)))
    if len(history.terms) < 2:
        between()
    if text:
        text.append_text(accuracy(history, look))
        if now := settings(history, look):
            text.append("\n").append_text(now)
    if history.cosines:
        text.append("\n\n|cos| of gradients\n", "bold").append_text(cosines(history, look, width))
    if history.probe:
        text.append(f"\n\n{transfer_title(history)}\n", "bold").append_text(transfer(history, look, width))
    if newest := log(history, look, 5):
        text.append("\n\n" if text else "").append_text(newest)
    return text
