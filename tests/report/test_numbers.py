import math

import pytest

from lethe.report.numbers import finite, interval, joined, number, places, printable


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_a_dash_and_never_zero(value: float | None):
    assert finite(value) is None
    assert number(value) == "–"
    assert interval(0.1, value) == interval(value, 0.1) == ""


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0.0, 3, "0.000"),
        (-0.0, 2, "0.00"),
        (0.4126, 3, "0.413"),
        (-1.5, 1, "−1.5"),
        (1234567.0, 0, "1,234,567"),
        (1.834e-21, 3, "1.8e−21"),
        (4e-4, 3, "4.0e−4"),  # not 0.000: it is not nothing
        (-4e-4, 3, "−4.0e−4"),
        (5.1e-4, 3, "0.001"),
    ],
)
def test_numbers(value: float, decimals: int, text: str):
    assert number(value, decimals) == text


def test_a_column_has_three_digits_of_its_largest_value_and_two_of_the_controls():
    assert places([0.1, 0.97]) == 3
    assert places([1.01, 0.2]) == 3
    assert places([9.02, 2.4]) == 2
    assert places([23.1, 9.0]) == 1
    assert places([23.1, 9.0], 0.21) == 2  # the control would lose its second digit
    assert places([23.1, 9.0], 1e-9) == 3
    assert places([431.0, 12.0]) == 0
    assert places([None, math.nan]) == 3


def test_marks_that_act_on_the_text_around_them_are_shown():
    assert printable("a\x00b\x1b[31mc\u202ed\x7f\ud800") == "a␀b␛[31mc\ufffdd␡\ufffd"
    assert printable("line\n\ttab, Ünï, 東京") == "line\n\ttab, Ünï, 東京"
    printable("\ud800").encode()  # a lone surrogate could not be written


def test_lists_in_words():
    assert joined([]) == ""
    assert joined(["a"]) == "a"
    assert joined(["a", "b", "c"]) == "a, b and c"
