"""The examples of CONTRIBUTING.md: short, tidy, and held to the contracts of whatever is registered."""

import inspect
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.contracts import (
    test_attack_contracts,
    test_benchmark_contracts,
    test_card_contracts,
    test_method_contracts,
    test_metric_contracts,
)
from tests.contracts.cases import families

from lethe.registry import KINDS, Card, find

ROOT = Path(__file__).parents[2]


def example_of(kind: str, examples: dict[str, str]) -> str:
    """The name of the example of a kind, from the file that it is for."""
    folder = Path(f"src/lethe/{kind}s")
    (title,) = [title for title in examples if Path(title).parent == folder]
    return Path(title).stem


@pytest.fixture
def card(kind: str, examples: dict[str, str], site: Path, monkeypatch: pytest.MonkeyPatch) -> Card:
    """The example's card, found by its name in the installed package."""
    monkeypatch.syspath_prepend(str(site))
    found = find(kind, example_of(kind, examples))
    assert Path(found.file).is_relative_to(site)
    return found


def of_method(card: Card) -> None:
    for family in families(card):
        for rule, speaks_about in test_method_contracts.RULES.items():
            if speaks_about(card):
                rule(card, family)


def of_metric(card: Card) -> None:
    for family in families(card):
        for rule in test_metric_contracts.RULES:
            rule(card, family)


def of_attack(card: Card) -> None:
    for name, rule in vars(test_attack_contracts).items():
        arguments: Any = inspect.signature(rule).parameters if name.startswith("test_") else ()
        if set(arguments) == {"name"}:
            rule(card.name)
        elif set(arguments) == {"name", "family"} and "refused" not in name:
            for family in families(card):
                rule(card.name, family)


def of_benchmark(card: Card) -> None:
    for rule in test_benchmark_contracts.RULES:
        rule(card)


def of_headline(card: Card) -> None:
    figures = card.function(seed=1)
    assert set(card.expects) <= set(figures)
    assert all(math.isfinite(value) for value in figures.values())
    assert card.function(seed=1) == figures != card.function(seed=2)


CONTRACTS: dict[str, Callable[[Card], None]] = {
    "method": of_method,
    "metric": of_metric,
    "attack": of_attack,
    "benchmark": of_benchmark,
    "headline": of_headline,
}


@pytest.mark.parametrize("kind", KINDS)
def test_example_keeps_the_contracts(kind: str, card: Card):
    for rule in test_card_contracts.RULES:
        rule(card)
    CONTRACTS[kind](card)


@pytest.mark.parametrize("kind", KINDS)
def test_example_is_short_and_tidy(kind: str, examples: dict[str, str]):
    """As a file of Lethe's own it would pass `make lint`."""
    title = f"src/lethe/{kind}s/{example_of(kind, examples)}.py"
    code = examples[title]
    assert len(code.splitlines()) < 40
    for command in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--quiet", "--stdin-filename", title, "-"]
        found = subprocess.run(ruff, input=code, text=True, capture_output=True, cwd=ROOT)
        assert found.returncode == 0, found.stdout + found.stderr
