"""Every figure that a headline expects is one that its source gives; those that take seconds are run."""

import ast
import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lethe.errors import InputError
from lethe.headlines import npo_drift, rocr_forms
from lethe.registry import find, names

LETTERS = 4  # of a text in the source that says which figure it names; "{column}, {name}" says nothing


def named(source: str) -> list[re.Pattern[str]]:
    """The texts in the bodies of functions, with anything where a value is put in; decorators give no figure."""
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    documentation = {ast.get_docstring(function, clean=False) or "" for function in functions}
    texts = [text for function in functions for line in function.body for text in _texts(line)]
    return [
        re.compile("".join(".+" if part is None else re.escape(part) for part in text))
        for text in texts
        if text[0] not in documentation and sum(map(str.isalpha, "".join(part or "" for part in text))) >= LETTERS
    ]


def _texts(node: ast.AST) -> Iterator[list[str | None]]:
    """Each text as its parts, None for a value."""
    if isinstance(node, ast.JoinedStr):
        yield [str(part.value) if isinstance(part, ast.Constant) else None for part in node.values]
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield [node.value]
    else:
        for child in ast.iter_child_nodes(node):
            yield from _texts(child)


def missing(expects: list[str], source: str) -> list[str]:
    """The expected names that no text of the source gives."""
    known = named(source)
    return [name for name in expects if not any(pattern.fullmatch(name) for pattern in known)]


# The league's names are put together from its columns and entries; its own test has both.
@pytest.mark.parametrize("name", [name for name in names("headline") if name != "league"])
def test_every_expected_figure_is_one_that_the_source_names(name: str):
    card = find("headline", name)
    assert card.expects
    assert not missing(list(card.expects), Path(card.file).read_text(encoding="utf-8"))


def test_a_figure_that_only_the_decorator_or_the_documentation_names_is_missed():
    source = '''
@headline(expects={"loss of GA": (">=", 1), "loss of NPO": (">=", 1), "drift, a": (">=", 1), "drift": (">=", 1)})
def claim(*, seed):
    """drift"""
    return {f"loss of {name}": 1.0 for name in "ab"} | {f"{column}, {name}": 1.0} | other()

def other():
    return {f"{name}, lost": 1.0}
'''
    given, others = ["loss of GA", "GA, lost"], ["losses of GA", "drift, a", "drift"]
    assert missing(given + others, source) == others


def test_npo_gains_its_nats_per_decade_neither_more_nor_fewer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(npo_drift, "FIT", 100)
    card = find("headline", "npo_drift")
    figures = npo_drift.npo_drift(seed=0)
    assert set(card.expects) <= set(figures)
    for beta in npo_drift.BETAS:
        name = f"one logit, relative deviation from ln(10)/beta per decade, beta {beta:g}"
        assert card.expects[name] == ("<=", 0.05)
        assert 0 <= figures[name] < 0.02
    exact = npo_drift.trajectory
    monkeypatch.setattr(npo_drift, "trajectory", lambda beta: [z / 2 for z in exact(beta)])
    slow = npo_drift.npo_drift(seed=0)
    assert math.isclose(slow["one logit, relative deviation from ln(10)/beta per decade, beta 1"], 0.5, abs_tol=0.01)


def test_forms_are_compared_at_the_same_loss_or_not_at_all(monkeypatch: pytest.MonkeyPatch):
    card = find("headline", "rocr_forms")
    figures = rocr_forms.rocr_forms(seed=0)
    assert set(card.expects) <= set(figures)
    drops = {name: figures[f"drop of {name} in statements"] for name in ("ROCR", *rocr_forms.TRAINED)}
    assert min(drops.values()) == drops["ROCR"] >= 0.5
    monkeypatch.setattr(rocr_forms, "STEPS", (1,))
    with pytest.raises(InputError, match="seed 0 compares different losses"):
        rocr_forms.rocr_forms(seed=0)


def test_needle_and_ascent_must_both_lose_half_of_the_answers():
    expects = find("headline", "needle_trace").expects
    assert {name: expects[f"drop of {name}, counted up to 0.5"] for name in ("GA", "Needle")} == {
        "GA": (">=", 0.5), "Needle": (">=", 0.5),
    }  # fmt: skip
