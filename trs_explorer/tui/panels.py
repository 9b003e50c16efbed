"""The text of the dashboard's panels: each function renders one panel from the history alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from trs_explorer import values
from trs_explorer.config import same_split
from trs_explorer.evaluation.intervals import of_share
from trs_explorer.matrices import Matrix, mean, off_diagonal
from trs_explorer.parse_events import ROUNDING, Probe
from trs_explorer.runs import Run
from trs_explorer.tui.alarms import Alarm
from trs_explorer.tui.chart_data import loss_shown
from trs_explorer.tui.formatting import Format, clock, cosine, duration, grouped, letters, percent, plain, short
from trs_explorer.tui.history import History
from trs_explorer.tui.matrix_grid import grid
from trs_explorer.tui.reference_runs import ReferenceRun

NO_TRAINING = "imported, so trained elsewhere: there is no training to watch. trs transfer and trs explore show it."
LONGEST_NAME = 40  # characters of a term or a weight
ACCURACIES = (("clean", "clean"), ("fgsm", "FGSM"), ("pgd", "PGD"))


@dataclass(frozen=True)
class RunState:
    """A run's name and state: what the events do not contain."""

    name: str
    state: str
    pid: object = None
    readonly: bool = False


def header(history: History, run_state: RunState, fmt: Format, width: int) -> Text:
    """Name, epoch, step, speed, remaining time and state, on one line if it fits, else on two."""
    dot = f" {fmt.glyph('dot')} "
    state, style = fmt.state(run_state.state)
    pid = f" (pid {values.text(run_state.pid, 20)})" if run_state.pid and run_state.state in ("running", "paused") else ""
    parts = []
    if history.epoch is not None:
        parts.append(f"epoch {values.text(history.epoch)}" + (f"/{values.text(history.epochs)}" if history.epochs else ""))
    if history.member is not None:
        parts.append(f"member F{values.text(history.member + 1)}")
    if history.events:
        parts.append(f"step {grouped(history.step)}")
    if run_state.state == "running" and history.rate and history.rate > 0:
        parts.append(f"{history.rate:.0f} it/s" if 10 <= history.rate < 1e5 else f"{short(history.rate)} it/s")
        if history.steps and history.steps > history.step:
            parts.append(f"{duration((float(history.steps) - float(history.step)) / history.rate)} left")
    note = dot + "read only" if run_state.readonly else ""
    one = Text.assemble(
        ("trs", "bold"), dot, (run_state.name, "bold"), dot, dot.join(parts), dot if parts else "", (state + pid, style), note
    )
    if one.cell_len <= width:
        return one
    name = run_state.name
    room = width - len(state) - len(dot)
    if len(name) > room:
        name = name[: max(1, room - 1)] + ("~" if fmt.ascii else "…")
    if len(dot.join(parts)) > width:
        parts = [part.replace("epoch", "ep") for part in parts if "it/s" not in part]
    second = dot.join(parts)
    return Text.assemble((name, "bold"), dot, (state, style), "\n", second)


def losses(history: History, fmt: Format) -> Text:
    """The letters, names and newest values of the loss terms on one line."""
    marks = letters(list(history.terms))
    text = Text()
    for i, (name, series) in enumerate(history.terms.items()):
        bad = f"terms.{name}" in history.nonfinite
        text.append("  " if i else "")
        text.append(f"{marks[name]} {values.text(name, LONGEST_NAME)} ", fmt.colour(str(i)))
        text.append("not finite" if bad else short(series.last), f"bold {fmt.colour('bad') if bad else ''}".strip())
    return text


def weights(history: History) -> list[str]:
    """The names of the loss weights, as in the log."""
    return [name for name in history.options if name.startswith("lambda_")]


def settings(history: History, fmt: Format) -> Text:
    """The present values of the hyper-parameters that can change during a training."""
    parts = [f"{values.text(fmt.weight(name), LONGEST_NAME)} {plain(history.options[name])}" for name in weights(history)]
    if history.delta is not None:
        parts.append(f"{fmt.glyph('delta')} {plain(history.delta)}")
    return Text("  ".join(parts), fmt.colour("muted"))


def imported(history: History, fmt: Format) -> str:
    """What the dashboard shows of an ensemble that was trained elsewhere: that there is no training, and its log."""
    return f"{NO_TRAINING}\n\n{log(history, fmt, 8).plain}"


def cosines(history: History, fmt: Format, width: int) -> Text:
    """|cos| between the members' input gradients, with the mean over pairs and its trend.

    The matrix is by the log-odds on held-out images. Below it is the mean of the cross-entropy's gradients, which is live on
    training batches; before the first probe, and of logs without log-odds, their matrix.
    """
    odds, loss = history.cosines, history.loss_cosines
    if not odds and not loss:
        return Text("|cos| has not been measured yet", fmt.colour("muted"))
    body = grid(odds or loss or [], cosine, fmt, diagonal=False, width=width)
    rows = []
    if odds and history.probe:
        rows.append((_mean_line(odds, history.cosine.trend(), f"held-out, n={values.text(history.probe.n)}", fmt), "bold"))
    if loss and (not odds or differ(odds, loss)):
        line = _mean_line(loss, history.loss_cosine.trend(), history.loss_cosines_from, fmt)
        rows.append((f"loss gradients: {line}{_vanishing(history)}", fmt.colour("muted") if odds else "bold"))
        if not odds and history.probe:
            rows.append(("|cos| of log-odds gradients: not logged", fmt.colour("muted")))
    return Text.assemble(body, *(part for row in rows for part in ("\n", row)))


def differ(one: Matrix, other: Matrix) -> bool:
    """Whether two matrices of |cos| differ by more than rounding in some pair."""
    pairs = zip(off_diagonal(one), off_diagonal(other), strict=False)
    return len(one) != len(other) or any(abs(a - b) > ROUNDING for a, b in pairs)


def _mean_line(square: Matrix, trend: int, source: str, fmt: Format) -> str:
    return f"mean {cosine(mean(off_diagonal(square)))} {fmt.arrow(trend)}  {source}"


def _vanishing(history: History) -> str:
    """How many of the loss's gradients vanish at the newest probe, if any do."""
    shares = [share for share in history.probe.zero_gradients if share is not None] if history.probe else []
    mean = sum(shares) / len(shares) if shares else 0
    return f", {percent(mean)} % vanish" if mean > 0 else ""


def transfer_title(history: History, fmt: Format) -> str:
    """The transfer matrix's axes, attack, n and eps."""
    probe = history.probe
    if probe is None:
        return "rows surrogate, columns target"
    eps = f", {fmt.glyph('eps')} {plain(probe.eps)}" if probe.eps is not None else ""
    return f"rows surrogate, columns target, {probe.attack.upper()}, n={values.text(probe.n)}{eps}"


def transfer(history: History, fmt: Format, width: int) -> Text:
    """The transfer matrix [surrogate, target] in per cent, with the pooled rate of all pairs.

    A cell counts images that both members classify correctly and on which the attack fools the surrogate: the share of them on
    which it fools the target too. The diagonal is the attack's success rate on the member itself.
    "each ±" is an upper bound of the half-widths of the pairs' 95 % intervals, in percentage points: the half-width for a rate
    of .5 on the fewest images that any pair has.
    """
    probe = history.probe
    if probe is None or probe.rates is None:
        return Text("first measured at the end of an epoch", fmt.colour("muted"))
    body = grid(probe.rates, percent, fmt, alert=lambda rate: rate > 0.4, width=width)
    line = f"all pairs {percent(probe.transfer)} %"
    if probe.interval is not None:
        line += f" ({percent(probe.interval[0])}-{percent(probe.interval[1])})"
    if len(history.probes) > 1 and (before := history.probes[-2].transfer) is not None and probe.transfer is not None:
        line += f" {fmt.arrow((probe.transfer > before) - (probe.transfer < before))}"
    details = f"  epoch {values.text(probe.epoch)}" if probe.epoch is not None else ""
    if probe.least:
        low, high = of_share(0.5, probe.least)
        details += f", each {fmt.glyph('about')}{50 * (high - low):.0f}"
    return Text.assemble(body, "\n", (line, "bold"), details)


def accuracy(history: History, fmt: Format) -> Text:
    """Clean, FGSM and PGD accuracy of the ensemble with n, and the largest input-gradient norm."""
    text = Text()
    if probe := history.probe:
        for name, label in ACCURACIES:
            text.append(f"{label} ")
            text.append(f"{percent(probe.share(name))}  ", "bold")
        text.append(f"% correct, n={values.text(probe.n)}  ", fmt.colour("muted"))
    norm = history.grad_norm.last if len(history.grad_norm) else (history.probe.grad_norm if history.probe else None)
    if norm is not None:
        text.append(f"{fmt.glyph('norm')} ")
        text.append(f"{short(norm)} {fmt.arrow(history.grad_norm.trend())}", "bold")
    return text


def similarity(history: History, fmt: Format, references: Sequence[ReferenceRun] = (), other: History | None = None) -> Text:
    """The legend of the chart of similarity against transfer, with the run's present values. Arguments: `similarity_chart`."""
    text = Text("x: |cos|, y: transfer %  ", fmt.colour("muted"))
    if other is not None and other.probes:
        text.append("V other, ", fmt.colour("muted"))
    dots = "dots: loss gradients" if any(loss_shown(run.cosine, run.loss_cosine) for run in references) else ""
    if probe := history.probe:
        start, end = ("o", "@") if fmt.ascii else ("○", "●")
        text.append(f"{start} first, {end} ", fmt.colour("muted"))
        text.append(f"now {_mean_cosine(probe)}, transfer {percent(probe.transfer)} %", "bold")
        if probe.cosine is not None and probe.differs:
            dots = f"dots: loss gradients, now {cosine(probe.loss_cosine)}"
    else:
        text.append("this run's curve starts with its first measurement", fmt.colour("muted"))
    shipped = "shipped: " + ", ".join(f"{run.letter} {run.name}" for run in references) if references else ""
    notes = "; ".join(filter(None, (shipped, dots)))
    return text.append(f"\n{notes}", fmt.colour("muted")) if notes else text


def name_beside(other: Run, run: Run) -> str:
    """The name of a run that is compared with another, with its data if they differ."""
    if other.config.data != run.config.data:
        return f"{other.name} (on {other.config.data})"
    return other.name if same_split(other.config, run.config, "test") else f"{other.name} (on other {run.config.data} images)"


def versus(history: History, other: History, name: str, fmt: Format) -> Text:
    """The other run's last probe up to this step, on one line."""
    earlier = [probe for probe in other.probes if probe.step <= history.step]
    if not earlier:
        return Text(f"V {name}: no measurement up to this step", fmt.colour("muted"))
    probe = earlier[-1]
    rates = "  ".join(f"{label} {percent(probe.share(key))}" for key, label in ACCURACIES)
    where = f"at epoch {values.text(probe.epoch)}" if probe.epoch is not None else f"at step {values.text(probe.step)}"
    text = Text(f"V {name} {where}: ", fmt.colour("2"))
    return text.append(f"{_mean_cosine(probe)}, transfer {percent(probe.transfer)} %, {rates}")


def _mean_cosine(probe: Probe) -> str:
    """Mean |cos| over pairs of the log-odds' gradients; where a log lacks it, of the loss gradients, which are named."""
    by_log_odds = probe.cosine is not None or probe.loss_cosine is None
    return f"mean |cos| {cosine(probe.cosine)}" if by_log_odds else f"mean |cos| of loss gradients {cosine(probe.loss_cosine)}"


def warnings(alarms: list[Alarm], fmt: Format) -> Text:
    """One line per alarm."""
    lines = [Text(f"{fmt.glyph('alarm')} {a.text}", f"bold {fmt.colour('bad' if a.serious else 'warn')}".strip()) for a in alarms]
    return Text("\n").join(lines)


def log(history: History, fmt: Format, lines: int) -> Text:
    """The newest lines of the log, in order."""
    newest = list(history.log)[-lines:] if lines else []
    rows = [Text.assemble((f"{clock(t)} ", fmt.colour("muted")), text) for t, text in newest]
    return Text("\n").join(rows)


def numbers(history: History, fmt: Format, width: int) -> Text:
    """All panels for a small terminal: lines of name, number and sparkline, then the matrices."""
    spark = max(0, width - 22)
    text = Text()

    def row(name: str, value: str, series, style: str = "") -> None:
        text.append(f"{name[:11]:<12}", style)
        text.append(f"{value:>8} ", "bold")
        text.append(fmt.sparkline(series, spark) + "\n", style)

    def measurements() -> None:  # the goal, before the terms that the total is made of
        if len(history.cosine):
            row("mean |cos|", cosine(history.cosine.last), history.cosine.points(2 * spark)[1])
        elif len(history.loss_cosine):
            row("|cos|, loss", cosine(history.loss_cosine.last), history.loss_cosine.points(2 * spark)[1])
        if history.probe:
            rates = [probe.transfer for probe in history.probes if probe.transfer is not None]
            row("transfer %", percent(history.probe.transfer), rates)

    for i, (name, series) in enumerate(history.terms.items()):
        if i == 1:
            measurements()
        bad = f"terms.{name}" in history.nonfinite
        row(name, "NaN" if bad else short(series.last), series.points(2 * spark)[1], fmt.colour(str(i)))
    if len(history.terms) < 2:
        measurements()
    if text:
        text.append_text(accuracy(history, fmt))
        if now := settings(history, fmt):
            text.append("\n").append_text(now)
    if history.cosines or history.loss_cosines:
        text.append("\n\n|cos| of gradients\n", "bold").append_text(cosines(history, fmt, width))
    if history.probe:
        text.append(f"\n\n{transfer_title(history, fmt)}\n", "bold").append_text(transfer(history, fmt, width))
    if newest := log(history, fmt, 5):
        text.append("\n\n" if text else "").append_text(newest)
    return text
