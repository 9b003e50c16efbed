"""The curve that is measured while one looks is what `evaluate` says; jobs survive that A and B are exchanged."""

from web_explorer import Explorer

from trs_explorer.attacks.pgd import pgd
from trs_explorer.evaluation.accuracy import evaluate
from trs_explorer.explore.compute_lock import PROCESS_LOCK
from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.library import Loaded
from trs_explorer.web.compare.measurements import curve_points, live_measurements, measure_curve, radii
from trs_explorer.web.compare.pair import parse_pair
from trs_explorer.web.state import State


def test_the_curve_is_the_robust_accuracy_at_every_radius(bars: Loaded) -> None:
    state = State(bars.name, n=40, steps=3, attack="pgd", seed=5)
    *_, last = measure_curve(bars, state)
    x, y = bars.data.images(slice(0, 40)), bars.data.y[:40]
    attacks = [("pgd", pgd, {"eps": eps, "steps": 3, "step_size": eps * 2.5 / 3}) for eps in radii(state, bars.data.name)]
    expected = evaluate(bars.ensemble, x, y, attacks=attacks, seed=5)
    assert [rate.correct for rate in last] == [rate.correct for rate in expected]
    assert [point[0] for point in curve_points(last, 40)] == [0.0, *radii(state, bars.data.name)]
    assert curve_points(last, 41) == []  # not whole yet
    first = next(measure_curve(bars, state))
    assert [point[0] for point in curve_points(first, 40)] == [0.0]


def test_exchanging_the_sides_cancels_nothing(explorer: Explorer) -> None:
    jobs, fields = Jobs(), {"a": "mnist-trs", "b": "mnist-standard", "n": "1000", "client": "c"}
    with PROCESS_LOCK.hold():  # nothing gets on meanwhile
        live_measurements(parse_pair(explorer.library, fields), jobs, again=False)
        before = set(jobs._running())
        live_measurements(parse_pair(explorer.library, {**fields, "a": fields["b"], "b": fields["a"]}), jobs, again=False)
        assert set(jobs._running()) == before
        live_measurements(parse_pair(explorer.library, {**fields, "a": fields["b"], "b": fields["b"]}), jobs, again=False)
        assert set(jobs._running()) < before
    jobs.stop()


def test_l2_has_radii_of_its_own() -> None:
    assert radii(State("r", norm="l2"), "mnist")[-1] == 5
    assert radii(State("r", norm="l2"), "bars")[-1] == radii(State("r"), "bars")[-1]
