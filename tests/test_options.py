import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trs_explorer.attack_catalogue import ATTACK_OPTIONS
from trs_explorer.options import HYPER_PARAMETERS, MEASURING, Option, UsageError, number, unknown

SHARE = Option("share", float, "", low=0, high=1)
POSITIVE = Option("rate", float, "", low=0, above_low=True)
COUNT = Option("inner_steps", int, "", low=1, high=100)
TEXT = Option("text", str, "")
CHOICE = Option("order", str, "", choices=("first", "second"))
SWITCH = Option("switch", bool, "")


@pytest.mark.parametrize(
    ("option", "value", "checked"),
    [
        (SHARE, 0, 0.0),
        (SHARE, 1, 1.0),
        (SHARE, 0.5, 0.5),
        (POSITIVE, 5e-324, 5e-324),
        (COUNT, 1, 1),
        (COUNT, 100, 100),
        (TEXT, "", ""),
        (CHOICE, "second", "second"),
        (SWITCH, False, False),
    ],
)
def test_a_value_in_range_comes_back_as_the_options_type(option: Option, value: object, checked: object) -> None:
    result = option.check(value)
    assert result == checked
    assert type(result) is option.type


@pytest.mark.parametrize(
    ("option", "words"),
    [(COUNT, "--inner-steps must be >= 1 and <= 100, got a number with"), (TEXT, "--text takes text, got a number with")],
)
def test_a_number_that_python_does_not_write_out_is_refused_in_words(option: Option, words: str) -> None:
    with pytest.raises(UsageError, match=f"{words} thousands of digits$"):
        option.check(10**5000)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        (SHARE, True, "--share takes a number, got True"),
        (SHARE, "nan", "--share takes a number, got 'nan'"),
        (SHARE, None, "--share takes a number, got None"),
        (SHARE, [0.5], r"--share takes a number, got \[0.5\]"),
        (COUNT, True, "--inner-steps takes a whole number, got True"),
        (COUNT, 2.0, "--inner-steps takes a whole number, got 2.0"),
        (COUNT, "2", "--inner-steps takes a whole number, got '2'"),
        (TEXT, 3, "--text takes text, got 3"),
        (SWITCH, 1, "--switch takes true or false, got 1"),
        (SHARE, -0.1, "--share must be >= 0 and <= 1, got -0.1"),
        (SHARE, 1.0000001, "--share must be >= 0 and <= 1, got 1.0000001"),
        (SHARE, math.nan, "--share must be .*, got nan"),
        (SHARE, math.inf, "--share must be .*, got inf"),
        (POSITIVE, math.inf, "--rate must be > 0, got inf"),
        (POSITIVE, 0, "--rate must be > 0, got 0.0"),
        (Option("free", float, ""), math.nan, "--free must be finite, got nan"),
        (COUNT, 0, "--inner-steps must be >= 1 and <= 100, got 0"),
        (COUNT, 101, "--inner-steps must be >= 1 and <= 100, got 101"),
        (Option("seed", int, "", high=2**31 - 1), 2**31, "must be <= 2147483647, got 2147483648"),
        (SHARE, "9" * 10**6, r"^--share takes a number, got '9{40,60}\.\.\.9{40,60}'$"),
        (TEXT, "zero\0byte", "--text takes text without a zero byte, got 'zero.x00byte'"),
        (CHOICE, "x" * 10**6, r"there is no 'x{40,60}\.\.\.x{40,60}'\. Choose from first, second"),
        (CHOICE, "secnd", "there is no 'secnd'. Did you mean second.* Choose from first, second"),
    ],
)
def test_what_does_not_fit_is_named_with_the_flag_and_the_way_out(option: Option, value: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        option.check(value)


@pytest.mark.parametrize("option", [SHARE, POSITIVE, COUNT, Option("free", float, "")])
@pytest.mark.parametrize("sign", [1, -1])
def test_whole_numbers_that_no_float_holds_are_out_of_range_in_a_short_message(option: Option, sign: int) -> None:
    with pytest.raises(UsageError, match=f"{option.flag} must be") as refused:
        option.check(sign * 10**400)
    assert len(str(refused.value)) < 100


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers()), st.binary()))
@example(10**400)
def test_a_checked_value_is_in_range_and_of_its_type_or_refused(value: object) -> None:
    for option in HYPER_PARAMETERS.values():
        try:
            checked = option.check(value)
        except UsageError as error:
            assert option.flag in str(error)  # noqa: PT017
            continue
        assert type(checked) is option.type
        assert option.check(checked) == checked
        if option.type is not str:
            assert math.isfinite(checked)
            assert option.low is None or checked > option.low or (checked == option.low and not option.above_low)
            assert option.high is None or checked <= option.high
        else:
            assert not option.choices or checked in option.choices


def test_the_flag_has_dashes_and_the_range_is_in_words() -> None:
    assert COUNT.flag == "--inner-steps"
    assert COUNT.range_text == ">= 1 and <= 100"
    assert POSITIVE.range_text == "> 0"
    assert CHOICE.range_text == "one of first, second"
    assert TEXT.range_text == ""


def test_an_unknown_name_gets_the_nearest_one_only_when_there_is_one() -> None:
    assert unknown("--x", "fgms", ("fgsm", "pgd")) == "--x: there is no 'fgms'. Did you mean fgsm? Choose from fgsm, pgd"
    assert unknown("--x", "zzz", ("fgsm", "pgd")) == "--x: there is no 'zzz'. Choose from fgsm, pgd"


def test_every_hyper_parameter_says_what_it_is() -> None:
    for name, option in HYPER_PARAMETERS.items():
        assert option.name == name
        assert len(option.help) > 10
        assert option.type is str or option.low is not None
        assert option.type is not str or option.choices


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_a_fraction_is_the_float_nearest_to_it(top: int, bottom: int) -> None:
    assert number(f"{top}/{bottom}") == number(f" {top} / {bottom} ") == top / bottom  # IEEE: division rounds correctly


def test_a_number_is_plain_or_a_fraction_of_two_plain_ones() -> None:
    assert [number(text) for text in ("0.1", "1e-3", "-8/255", "0.5/2")] == [0.1, 1e-3, -8 / 255, 0.25]
    for text in ("", "x", "8/", "/255", "8/0", "1/2/3", "1/1e-999999999", "nan/1", "1/" + 100 * "9", "8//255"):
        with pytest.raises(ValueError):  # noqa: PT011
            number(text)


def test_every_measurement_has_a_range_that_holds_what_torch_takes() -> None:
    import torch

    torch.Generator().manual_seed(int(MEASURING["seed"].high) + 1000)
    assert torch.tensor(ATTACK_OPTIONS["c"].high).isfinite()
    assert torch.tensor(ATTACK_OPTIONS["c"].low) > 0
    numbers = [option for option in (MEASURING | ATTACK_OPTIONS).values() if option.type in (int, float)]
    assert all(option.low is not None and option.high is not None for option in numbers)
