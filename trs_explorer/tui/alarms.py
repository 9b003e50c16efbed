"""Warnings about a run, in plain words. Pure functions of the history, the status and the time since a sign of life."""

from dataclasses import dataclass

from trs_explorer.parse_events import Probe
from trs_explorer.tui.history import History
from trs_explorer.values import text

LOW_COSINE, HIGH_TRANSFER = 0.1, 0.4
STALL_FACTOR, STALL_LEAST = 10, 10.0
ZERO_GRADIENTS = 0.5
VANISHED = 1e-3  # norm of the largest input gradient; trained networks here have .1 and more
LAG = 0.1  # share of the probe's images


@dataclass(frozen=True)
class Alarm:
    """One sentence. serious: the training itself is broken or gone."""

    text: str
    serious: bool = False


def alarms(history: History, status: dict, silent: float) -> list[Alarm]:
    """All current alarms, the serious ones first. silent: seconds since a sign of life. The thresholds are our choice."""
    current = [*_trainer(history, status, silent), *_loss(history), *_probe(history)]
    if history.damaged:
        current.append(Alarm(f"{history.damaged} lines of events.jsonl are damaged and skipped"))
    return sorted(current, key=lambda alarm: not alarm.serious)


def _trainer(history: History, status: dict, silent: float) -> list[Alarm]:
    state = status.get("state")
    error = status.get("error") or (history.stopped.error if history.stopped else None)
    if state == "failed" or (error and state not in ("running", "paused")):
        return [Alarm(f"the training failed: {text(error) if error else 'no reason was recorded; see train.log'}", serious=True)]
    if state == "crashed":
        return [Alarm("the trainer ended without a message (killed?): continue with trs train --resume", serious=True)]
    if state == "running" and history.events and silent > max(STALL_LEAST, STALL_FACTOR * (history.gap or 0)):
        usual = f", usually every {history.gap:.1f} s" if history.gap is not None else ""
        return [Alarm(f"stalled: no sign of life for {silent:.0f} s{usual}", serious=True)]
    return []


def _loss(history: History) -> list[Alarm]:
    if not history.nonfinite:
        return []
    names = ", ".join(name.removeprefix("terms.") for name in history.nonfinite)
    return [Alarm(f"not finite at step {text(max(history.nonfinite.values()))}: {names}", serious=True)]


def _probe(history: History) -> list[Alarm]:
    probe = history.probe
    if probe is None:
        return []
    current = []
    vanish = max((share for share in probe.zero_gradients if share is not None), default=0) > ZERO_GRADIENTS
    similarity = probe.loss_cosine if probe.cosine is None and not vanish else probe.cosine
    if similarity is not None and similarity < LOW_COSINE and probe.transfer is not None and probe.transfer > HIGH_TRANSFER:
        cosine = f"{similarity:.2f}".removeprefix("0")
        current.append(
            Alarm(f"|cos| fell to {cosine} but {100 * probe.transfer:.0f} % still transfers: orthogonality alone is not enough")
        )
    vanishing = [f"F{i + 1}" for i, share in enumerate(probe.zero_gradients) if share is not None and share > ZERO_GRADIENTS]
    if vanishing:
        current.append(Alarm(f"most input gradients of {', '.join(vanishing)} are zero: gradient masking, not robustness"))
    elif probe.grad_norm is not None and probe.grad_norm < VANISHED and (probe.share("clean") or 0) > 0.5:
        current.append(Alarm(f"the largest input-gradient norm fell to {probe.grad_norm:.1e}: gradient masking, not robustness"))
    return current + _lagging(probe)


def _lagging(probe: Probe) -> list[Alarm]:
    """An alarm about members whose clean accuracy is far below the best member's."""
    rates = [None if correct is None or not probe.n else correct / probe.n for correct in probe.member_clean]
    best = max((rate for rate in rates if rate is not None), default=0.0)
    behind = [(f"F{i + 1}", rate) for i, rate in enumerate(rates) if rate is not None and best - rate > LAG]
    if not behind:
        return []
    named = ", ".join(f"{name} ({100 * rate:.0f} %)" for name, rate in behind)
    verb = "lags" if len(behind) == 1 else "lag"
    return [Alarm(f"{named} {verb} behind: clean accuracy of the best member is {100 * best:.0f} %")]
