"""Whatever finite or odd values a log holds, every panel can be made of it, in printable characters."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.text import Text
from tui_recorded import matrix_event, start_event, step_event

from trs_explorer import runs
from trs_explorer.config import resolve
from trs_explorer.tui import panels
from trs_explorer.tui.alarms import alarms
from trs_explorer.tui.chart_data import ChartData, loss_chart, similarity_chart
from trs_explorer.tui.charts import LinearTicks, LogTicks, letters_plot
from trs_explorer.tui.event_log import EventLog
from trs_explorer.tui.formatting import Format, percent, printable
from trs_explorer.tui.history import MOST_TERMS, History
from trs_explorer.tui.player import Player
from trs_explorer.tui.reference_runs import ReferenceRun
from trs_explorer.tui.timeline import timeline
from trs_explorer.values import text

LARGEST, DIGITS, NESTED = 1.7e308, 10**400, json.loads(900 * "[" + 900 * "]")
COMMANDS = "\x1b]0;x\x07\x1b[2J [b]bold[/i] \ud800\u202e"
FORMATS = (Format(shades=("a", "b")), Format(ascii=True))

numbers = st.floats() | st.integers() | st.sampled_from([LARGEST, -LARGEST, 5e-324, 0, 1e17, DIGITS, -DIGITS])
odd = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=3) | st.just(COMMANDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
squares = st.integers(1, 3).flatmap(lambda n: st.lists(st.lists(numbers, min_size=n, max_size=n), min_size=n, max_size=n))
FIELDS = sorted({*step_event(1), *matrix_event(1), *start_event()} - {"kind"})
FIELDS += ["nonfinite", "error", "name", "value", "text", "action", "seconds", "state"]
changes = st.dictionaries(st.sampled_from(FIELDS), numbers | odd | squares, max_size=8)
terms = st.dictionaries(st.sampled_from(["total", "ce", COMMANDS]), numbers, max_size=3)
KINDS = ["start", "matrix", "epoch", "checkpoint", "control", "note", "stopped", "what"]
events = st.one_of(
    st.builds(lambda of, more: {**step_event(10), "terms": of, **more}, terms, changes),
    st.builds(lambda more: {**matrix_event(20), **more}, changes),
    st.builds(lambda kind, more: {**more, "kind": kind}, st.sampled_from(KINDS), changes),
)


def shown(event_log: EventLog) -> list[Text]:
    """Every panel's text, and the charts drawn with letters."""
    history, texts = event_log.history, []
    run_state = panels.RunState(COMMANDS, "running", pid=COMMANDS)
    reference = ReferenceRun("C", "cos-only", *map(np.array, ([0.2], [60.0], [0.1, 0.2], [50.0, 60.0])))
    for fmt in FORMATS:
        texts += [panels.header(history, run_state, fmt, 80), panels.losses(history, fmt), panels.settings(history, fmt)]
        texts += [panels.cosines(history, fmt, 40), panels.transfer(history, fmt, 40), panels.accuracy(history, fmt)]
        texts += [
            panels.similarity(history, fmt, [reference], history),
            panels.versus(history, history, "other", fmt),
            panels.log(history, fmt, 4),
        ]
        texts += [
            panels.numbers(history, fmt, 80),
            timeline(event_log, Player(), fmt, 60),
            Text(panels.transfer_title(history, fmt)),
        ]
        texts += [panels.warnings(alarms(history, {"state": "running", "error": COMMANDS}, 1e300), fmt)]
        charts = [
            loss_chart(history, fmt, 100, history, event_log.history.step),
            similarity_chart(history, fmt, [reference], history),
        ]
        texts += [Text(drawn(chart)) for chart in charts if chart is not None]
    return texts


def drawn(chart: ChartData) -> str:
    (x0, x1), (y0, y1) = chart.x_limits, chart.y_limits
    assert math.isfinite(x1 - x0)
    assert math.isfinite(y1 - y0)
    assert x0 < x1
    assert y0 < y1
    for curve in chart.curves:
        assert x0 <= curve.x.min() <= curve.x.max() <= x1
        assert y0 <= curve.y.min() <= curve.y.max() <= y1
    for formatter, (low, high) in ((LinearTicks(5), (x0, x1)), ((LogTicks() if chart.log else LinearTicks(4)), (y0, y1))):
        ticks = formatter.get_ticks(low, high)
        assert len(formatter.get_labels_for_ticks(ticks)) == len(ticks) <= 12
    return letters_plot(chart, 60, 12)


def one(kind: str = "step", **fields: object) -> dict:
    base = matrix_event(20) if kind == "matrix" else step_event(10) if kind == "step" else {}
    return {**base, "kind": kind, **fields}


@settings(max_examples=20, deadline=None)
@given(st.lists(events, max_size=4))
@example([one(step=10**17, t=t) for t in range(3)])
@example([one(terms={"total": LARGEST}), one(terms={"total": -LARGEST})])
@example([one(terms={"total": LARGEST, "ce": 5e-324})] * 2)
@example([one(step=-LARGEST), one(step=LARGEST, rate=1e-300), start_event(steps=LARGEST)])
@example(
    [one("matrix", cosine=[[1, LARGEST], [LARGEST, 1]], fooled=[[9, LARGEST], [LARGEST, 9]], eligible=[[1e-308, 1e-308]] * 2)]
)
@example([one(kind, **dict.fromkeys(FIELDS, DIGITS)) for kind in ["step", *KINDS]] + [one(terms={"total": DIGITS})])
@example([one(kind, **dict.fromkeys(FIELDS, COMMANDS)) for kind in ["step", *KINDS]])
def test_every_panel_can_be_made_of_any_events(events: list[dict]) -> None:
    check(events)


def test_every_panel_can_be_made_of_lists_in_lists() -> None:
    check([one(kind, **dict.fromkeys(FIELDS, NESTED)) for kind in ["step", *KINDS]])
    assert len(text(NESTED)) <= 300


def check(events: list[dict]) -> None:
    event_log = EventLog(runs.Run(Path("nowhere"), resolve({})))
    event_log.add(runs.Batch(events, 1, 0))
    assert event_log.history.events == len(event_log) == len(events)
    assert all(0 <= later - earlier <= 5 for earlier, later in zip(event_log.clock, event_log.clock[1:], strict=False))
    for panel in shown(event_log):
        assert all(c.isprintable() or c == "\n" for c in printable(panel).plain)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_an_axis_zoomed_to_anything_has_few_ticks(one_end: float, other: float) -> None:
    low, high = sorted((one_end / 2, other / 2))
    for formatter in (LogTicks(), LinearTicks(4)):
        ticks = formatter.get_ticks(low, high)
        assert len(formatter.get_labels_for_ticks(ticks)) == len(ticks) <= 12


def test_styles_stay_on_their_letters_when_others_become_longer() -> None:
    shown = printable(Text.assemble(("a\x1b", "red"), ("b", "blue"), "\n\x02", ("c", "green")))
    assert shown.plain == "a\\x1bb\n\\x02c"
    assert [(shown.plain[span.start : span.end], span.style) for span in shown.spans] == [
        ("a\\x1b", "red"),
        ("b", "blue"),
        ("c", "green"),
    ]


def test_a_log_of_other_terms_at_every_step_does_not_fill_the_memory() -> None:
    history = History()
    for step in range(50):
        history.fold([step_event(step, terms={f"{step}-{i}": 1.0 for i in range(20)})])
    assert len(history.terms) == MOST_TERMS


@pytest.mark.parametrize(("share", "shown"), [(0.605, "60"), (3e300, "3e+302"), (-1e4, "-1e+06"), (None, "-"), (math.inf, "-")])
def test_a_share_in_per_cent(share: float | None, shown: str) -> None:
    assert percent(share) == shown
