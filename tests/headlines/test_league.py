"""The league of objectives: its columns, and in short the directions that the whole of it is there to show."""

from functools import cache
from typing import Any

import pytest

from lethe.headlines.league import FIELD, Toy
from lethe.registry import bind, find


@cache
def toy() -> Toy:
    return Toy(0)


@cache
def score(name: str) -> dict[str, float]:
    method, options = FIELD[name]
    return toy().score(toy().run(method, options))


def test_the_ends_of_the_scale_are_the_untouched_model_and_the_control():
    untouched, control = toy().score(toy().target), toy().score(toy().control)
    assert untouched["distance to the control"] == 1
    assert control["distance to the control"] == pytest.approx(0, abs=1e-6)
    assert untouched["forget accuracy"] == untouched["retain accuracy"] == control["retain accuracy"] == 1
    assert control["forget accuracy"] < 0.2


def test_what_is_expected_is_a_column_of_an_entry():
    columns = toy().score(toy().target)
    assert set(find("headline", "league").expects) <= {f"{column}, {name}" for column in columns for name in FIELD}


@pytest.mark.parametrize("name", FIELD)
def test_every_entry_is_a_method_with_options_it_has(name: str):
    method, options = FIELD[name]
    known: dict[str, Any] = bind(find("method", method).function, options)
    assert known == options


def test_ascent_ends_farther_than_the_untouched_model_and_a_target_distribution_nearer():
    for name in ("GA", "GradDiff"):
        assert score(name)["distance to the control"] > 1.2
    assert score("UNDIAL")["distance to the control"] < 0.45
    for name in ("GA", "GradDiff", "UNDIAL"):
        assert score(name)["forget accuracy"] < 0.25


def test_the_retain_term_saves_the_retain_set_not_npo():
    assert score("NPO")["retain accuracy"] < 0.3
    assert score("NPO-RT")["retain accuracy"] >= 0.94
    assert score("GradDiff")["retain accuracy"] >= 0.94
    assert score("NPO-RT")["distance to the control"] > 0.9
