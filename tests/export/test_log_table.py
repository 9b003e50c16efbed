"""The log as a table: every number under its name, and only the steps that the training kept."""

import csv
import io
import math

import pytest

from trs_explorer.export.log_table import MOST_NAMES, log_csv, log_rows, read_log
from trs_explorer.runs import RunError, open_run
from trs_explorer.shipped import folder

STEP = {
    "kind": "step", "t": 5.5, "step": 10, "epoch": 0, "member": 1, "terms": {"total": 3.0, "ce": 2.0, "similarity": None},
    "cosine": [[1, 0.2, 0.4], [0.2, 1, 0.9], [0.4, 0.9, 1]], "grad_norm": 7.0, "delta": 0.3, "lr": 0.01,
    "options": {"lambda_a": 1.5}, "rate": 40.0,
}  # fmt: skip
PROBE = {
    "kind": "matrix", "t": 6.5, "step": 20, "epoch": 1, "n": 50, "eps": 0.3, "attack": "pgd-10",
    "fooled": [[40, 10], [6, 30]], "eligible": [[45, 40], [30, 45]], "transfer_interval": [0.1, 0.4],
    "log_odds_cosine": [[1, 0.25], [0.25, 1]], "cosine": [[1, 0.5], [0.5, 1]], "grad_norm": [3.0, 4.0],
    "zero_gradients": [0.0, 0.5], "clean": 45, "fgsm": 20, "pgd": 5, "member_clean": [40, 50],
}  # fmt: skip
EPOCH = {"kind": "epoch", "t": 7.5, "step": 20, "epoch": 1, "seconds": 2.5}


def test_every_number_of_an_event_has_its_name() -> None:
    step, probe, epoch = log_rows([STEP, PROBE, EPOCH, {"kind": "note", "step": 20, "text": "x"}])
    assert [(row.kind, row.step, row.epoch, row.time) for row in (step, probe, epoch)] == [
        ("step", 10, 0, 5.5),
        ("probe", 20, 1, 6.5),
        ("epoch", 20, 1, 7.5),
    ]
    assert step.values == pytest.approx(
        {
            "loss/total": 3.0, "loss/ce": 2.0, "train/cosine": 0.5, "train/cosine/F1-F2": 0.2, "train/cosine/F1-F3": 0.4,
            "train/cosine/F2-F3": 0.9, "train/grad_norm": 7.0, "train/delta": 0.3, "train/lr": 0.01,
            "train/steps_per_second": 40.0, "train/member": 2, "weight/lambda_a": 1.5,
        }
    )  # fmt: skip
    assert probe.values == pytest.approx(
        {
            "probe/clean": 0.9, "probe/fgsm": 0.4, "probe/pgd": 0.1, "probe/clean/F1": 0.8, "probe/clean/F2": 1.0,
            "probe/transfer": 16 / 70, "probe/transfer_low": 0.1, "probe/transfer_high": 0.4,
            "probe/transfer/F1-F2": 0.25, "probe/transfer/F2-F1": 0.2, "probe/cosine": 0.25, "probe/cosine/F1-F2": 0.25,
            "probe/loss_cosine": 0.5, "probe/loss_cosine/F1-F2": 0.5, "probe/grad_norm": 4.0, "probe/images": 50,
            "probe/zero_gradients/F1": 0.0, "probe/zero_gradients/F2": 0.5,
        }
    )  # fmt: skip
    assert epoch.values == {"epoch/seconds": 2.5}


def test_steps_that_a_resumed_training_repeated_are_left_out() -> None:
    def steps(*numbers: int) -> list[dict]:
        return [{**STEP, "step": number, "terms": {"total": value}} for value, number in enumerate(numbers, start=len(numbers))]

    logged = [*steps(10, 20, 30), PROBE | {"step": 20}, {"kind": "start", "step": 20, "resumed": True}, *steps(30, 40)]
    rows = log_rows(logged)
    assert [(row.kind, row.step) for row in rows] == [("step", 10), ("step", 20), ("probe", 20), ("step", 30), ("step", 40)]
    assert rows[3].values["loss/total"] == 2  # the later one


def test_a_damaged_or_hostile_event_has_no_row_and_no_harm() -> None:
    odd = [
        {"kind": "step"},
        {"kind": "step", "step": 1e300, "terms": {"total": 1.0}},
        {"kind": "step", "step": -1, "terms": {"total": 1.0}},
        {"kind": "step", "step": 3, "terms": {"total": None}},
        {"kind": "matrix", "n": 5, "clean": 3},
        {"kind": "matrix", "step": 2, "n": 0, "fooled": 7, "cosine": [[1], [2, 3]]},
        {"kind": "epoch", "seconds": 1.0},
    ]
    assert [(row.step, dict(row.values)) for row in log_rows(odd)] == [(2, {"probe/images": 0})]
    with pytest.raises(RunError, match=f"more than {MOST_NAMES:,} quantities"):
        log_rows({"kind": "step", "step": 1, "terms": {f"term {j} {i}": 1.0 for i in range(100)}} for j in range(60))


def test_the_csv_has_a_row_an_event_and_an_empty_cell_for_what_is_not_known() -> None:
    named = {**STEP, "terms": {"total": 1 / 3, '=HYPERLINK("x")\x1b': 1.0}}
    text = log_csv(log_rows([named, PROBE, EPOCH]))
    head, *rows = csv.reader(io.StringIO(text))
    assert head[:5] == ["event", "step", "epoch", "time", "loss/total"]
    assert "\x1b" not in text
    assert all(name[0].isalpha() for name in head)  # no cell begins as a formula
    assert [row[:4] for row in rows] == [["step", "10", "0", "5.5"], ["probe", "20", "1", "6.5"], ["epoch", "20", "1", "7.5"]]
    total = head.index("loss/total")
    assert [row[total] for row in rows] == [repr(1 / 3), "", ""]
    assert float(rows[1][head.index("probe/transfer")]) == 16 / 70
    assert head.index("probe/cosine") < head.index("probe/cosine/F1-F2")


def test_a_shipped_runs_log_is_whole_and_its_old_probes_are_completed() -> None:
    run = open_run(folder("checkpoints") / "mnist-trs")
    rows = read_log(run)
    lines = (run.path / "events.jsonl").read_text().splitlines()
    for kind, logged in (("step", "step"), ("probe", "matrix"), ("epoch", "epoch")):
        assert sum(row.kind == kind for row in rows) == sum(f'"kind":"{logged}"' in line for line in lines)
    last = [row for row in rows if row.kind == "probe"][-1]
    assert math.isclose(last.values["probe/cosine"], 0.017, abs_tol=5e-4)  # results/probe.json: the README's table
