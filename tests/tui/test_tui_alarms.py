from tui_recorded import COSINE, matrix_event, step_event

from trs_explorer.tui.alarms import alarms
from trs_explorer.tui.history import History

HIGH = [[0.5 if i != j else 1.0 for j in range(3)] for i in range(3)]


def alarm_texts(*events: dict, status: dict | None = None, silent: float = 1.0) -> list[str]:
    history = History()
    history.fold(events)
    return [alarm.text for alarm in alarms(history, status or {"state": "running"}, silent)]


def test_low_cosine_with_high_transfer_is_the_papers_warning():
    assert alarm_texts(matrix_event(30)) == ["|cos| fell to .07 but 60 % still transfers: orthogonality alone is not enough"]


def test_low_cosine_with_low_transfer_or_the_reverse_is_quiet():
    assert alarm_texts(matrix_event(30, fooled=[[9] * 3] * 3)) == []
    assert alarm_texts(matrix_event(30, log_odds_cosine=HIGH)) == []


def test_masking():
    (text,) = alarm_texts(matrix_event(30, log_odds_cosine=HIGH, zero_gradients=[0.9, 0.1, 0.0]))
    assert text.startswith("most input gradients of F1 are zero")


def test_a_term_that_is_not_finite():
    assert alarm_texts(step_event(30, nonfinite=["terms.smoothness"])) == ["not finite at step 30: smoothness"]


def test_stalled_after_ten_times_the_usual_gap():
    steps = [step_event(s) for s in (10, 20, 30)]  # one every ten seconds
    assert alarm_texts(*steps, silent=99) == []
    assert alarm_texts(*steps, silent=101) == ["stalled: no sign of life for 101 s, usually every 10.0 s"]
    assert alarm_texts(*steps, status={"state": "paused"}, silent=999) == []


def test_failed_and_crashed_come_first_and_with_the_error():
    texts = alarm_texts(matrix_event(30), status={"state": "failed", "error": "out of memory"})
    assert texts[0] == "the training failed: out of memory"
    assert "ended without a message" in alarm_texts(step_event(10, cosine=COSINE), status={"state": "crashed"})[0]


def test_a_member_that_lags():
    quiet = matrix_event(30, log_odds_cosine=HIGH, member_clean=[118, 107, 119])
    assert alarm_texts(quiet) == []
    (text,) = alarm_texts(matrix_event(30, log_odds_cosine=HIGH, member_clean=[118, 90, 119]))
    assert text == "F2 (70 %) lags behind: clean accuracy of the best member is 93 %"
    assert alarm_texts(matrix_event(30, log_odds_cosine=HIGH, member_clean=[None, "x"])) == []


def test_gradients_that_collapse():
    (text,) = alarm_texts(matrix_event(30, log_odds_cosine=HIGH, grad_norm=[1e-4, 2e-4, 3e-5]))
    assert text == "the largest input-gradient norm fell to 2.0e-04: gradient masking, not robustness"
    assert alarm_texts(matrix_event(30, log_odds_cosine=HIGH, grad_norm=[1e-4, 2e-4, 3e-5], clean=13)) == [], (
        "an untrained net is no alarm"
    )
