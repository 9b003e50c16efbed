"""A card's state in its address: what is understood, what is refused in words, what stays."""

import pytest

from trs_explorer.web.lesson.deck import CARDS
from trs_explorer.web.lesson.state import CardState, limits_of, parse_address

FIRST = CARDS[0]


def parsed(name: str, search: str = "", prefix: str = "") -> CardState:
    return parse_address(CARDS, f"{prefix}/lesson/{name}", search)


def test_an_address_names_a_card_also_below_a_prefix() -> None:
    for prefix in ("", "/user/trs"):
        for card in CARDS:
            state = parsed(card.name, prefix=prefix)
            assert (state.card, dict(state.fields), state.notices) == (card, dict(card.fields), ())
            assert (state.guess, state.reveal, state.lock, state.hide, state.theme) == (0, False, False, (), "")
    assert parsed("nope").card is parse_address(CARDS, "", "").card is FIRST


def test_old_links_bring_back_what_they_showed() -> None:
    state = parsed("zigzag", "?tooth=0.05&eps=0.2&guess=2&reveal=1&theme=dark&hide=controls,sources")
    assert state.values == {
        "tooth": 0.05, "eps": 0.2, "guess": 2, "reveal": 1, "lock": "", "hide": "controls,sources", "theme": "dark",
    }  # fmt: skip
    state = parsed("images", "?attacked=mnist-standard%2Cmnist-trs&n=128&pairs=pgd")
    assert (state.fields["attacked"], state.fields["n"], state.fields["pairs"]) == ("mnist-standard,mnist-trs", 128, "pgd")


@pytest.mark.parametrize(
    ("card", "search", "shown", "notice"),
    [
        ("zigzag", "tooth=9", 0.5, "tooth takes a number from 0.01 to 0.5, got 9: showing 0.5"),
        ("zigzag", "tooth=-1", 0.01, "tooth takes a number from 0.01 to 0.5, got -1: showing 0.01"),
        ("zigzag", "tooth=nan", 0.3, "tooth takes a number from 0.01 to 0.5, got nan: showing 0.3"),
        ("zigzag", f"tooth={'9' * 5000}", 0.3, f"tooth takes a number from 0.01 to 0.5, got {'9' * 30}: showing 0.3"),
        ("train-it", "seed=seven", 0, "seed takes a number from 0 to 999999, got seven: showing 0"),
        ("doubt", "factor=inf", 1000, "factor takes a number, got inf: showing 1000"),
    ],
)
def test_a_field_that_its_control_cannot_have_is_told(card: str, search: str, shown: float, notice: str) -> None:
    state = parsed(card, f"?{search}")
    assert state.fields[search.partition("=")[0]] == shown
    assert state.notices == (notice,)


def test_what_makes_no_sense_counts_as_nothing() -> None:
    state = parsed("zigzag", "?guess=99&reveal=perhaps&theme=pink&lock=&hide=all,nav,,<b>&nothing=1&tooth=")
    assert (state.guess, state.reveal, state.theme, state.lock, state.hide, state.notices) == (0, False, "", False, ("nav",), ())
    assert [parsed("zigzag", f"?guess={guess}").guess for guess in ("0", "1", "4", "5", "-1", "1.5", "x")] == [
        0,
        1,
        4,
        0,
        0,
        0,
        0,
    ]


def test_a_question_for_a_test_is_not_revealed() -> None:
    assert parsed("zigzag", "?lock=1&reveal=1").reveal
    assert parsed("zigzag", "?hide=answer&reveal=1").reveal
    sealed = parsed("zigzag", "?lock=1&hide=sources,answer&reveal=1")
    assert (sealed.sealed, sealed.reveal) == (True, False)


def test_every_initial_value_is_one_that_its_control_can_have() -> None:
    for card in CARDS:
        for field, (low, high) in limits_of(card).items():
            assert low <= card.fields[field] <= high, (card.name, field)
