"""The summary of a black-box measurement, and its white-box attack."""

from functools import partial

import pytest
import torch

from trs_explorer.attacks.fgsm import fgsm
from trs_explorer.attacks.pgd import pgd
from trs_explorer.config import resolve
from trs_explorer.evaluation.accuracy import Rate, empty_rate, parse_rate
from trs_explorer.evaluation.blackbox import Attempt
from trs_explorer.evaluation.intervals import of_share, wilson
from trs_explorer.measure import blackbox_session
from trs_explorer.measure.session import Session, no_progress
from trs_explorer.measure.sharding import ProcessGroup
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.results import PartialResult
from trs_explorer.runs import create


@pytest.mark.parametrize(("fewer", "warned"), [(1, False), (12, True)])
def test_a_black_box_that_is_stronger_than_the_white_box_is_said_if_it_is_no_chance(fewer: int, warned: bool) -> None:
    def rate(right: int) -> Rate:
        return Rate("x", 0.1, right, 40, 0.0, 1.0, [place < right for place in range(40)])

    attempt = Attempt("s", "fgsm", partial(fgsm), 0.1)
    rates = {blackbox_session._key(attempt): rate(30 - fewer), blackbox_session._white_box_key(0.1): rate(30)}
    summary = blackbox_session._summary({(0.1, "fgsm"): [attempt]}, rates)
    assert bool(summary["warnings"]) == warned == bool(summary["trust"][0]["warnings"])


def test_one_attempt_is_the_mean_of_all_and_every_one_is_right_under_all() -> None:
    def rate(text: str):
        stored = {"outcomes": [letter == "1" for letter in text], "perturbation": 0.0, "moved": 0}
        return parse_rate(stored, empty_rate("x", 0.1), len(text))

    group = [Attempt("s", "pgd", pgd, 0.1, start) for start in range(2)]
    rates = dict(zip(map(blackbox_session._key, group), (rate("11100000"), rate("10011000")), strict=True))
    rates |= {blackbox_session._white_box_key(0.1): rate("01000000")}
    [row] = blackbox_session._summary({(0.1, "pgd"): group}, rates)["rows"]
    assert (row["robust"]["correct"], row["white_box"]["correct"]) == (1, 1)
    assert (row["robust"]["low"], row["robust"]["high"]) == wilson(1, 8)
    # attempts failed an image: 2 1 1 1 1 0 0 0, mean 3/4 of 2; their variance is that of 120/7 independent attempts
    low, high = of_share(6 / 16, 120 / 7)
    assert row["per_attempt"] == pytest.approx({"share": 6 / 16, "low": low, "high": high})


def test_the_white_box_attack_has_the_norm_of_the_attempts(tmp_path) -> None:
    run = create(tmp_path / "run", resolve({"data": "bars"}))
    ensemble = Ensemble([torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))])
    session = Session(run, "blackbox", ensemble, {}, slice(0, 6), PartialResult(run, "blackbox", {}), {}, ProcessGroup())
    target = blackbox_session.Target(session)
    attempt = Attempt("s", "fgsm", fgsm, 0.2, norm="l2")
    x, y = torch.full((6, 1, 2, 2), 0.5), torch.arange(6) % 3
    blackbox_session._measure([target], {"s": ensemble}, [attempt], x, y, 0, 0, no_progress)
    assert {rate.norm for rate in target.rates.values()} == {"l2"}
    assert {rate.n for rate in target.rates.values()} == {6}
    assert max(rate.perturbation for rate in target.rates.values()) == pytest.approx(0.2, rel=1e-4)  # 4 pixels: linf has 0.4
