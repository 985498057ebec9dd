"""Every registered benchmark with an embedded world keeps what runs and audits rely on: found by name.

Two models per benchmark are trained, its target and one control, by way of the cache that all tests share.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, wraps
from itertools import count
from typing import Any

import numpy as np
import pytest
from tests.contracts.cases import cards

from lethe.data.content import digest
from lethe.errors import InputError
from lethe.evidence import Evidence, observe
from lethe.measure import compute
from lethe.models import FAMILIES
from lethe.models.base import Model
from lethe.registry import Card, bind, find, parse_call
from lethe.request import overlap
from lethe.task import Task
from lethe.worlds.cache import cache_folder

SECONDS = 90  # of one processor, to train target and control where the cache has neither


def build(card: Card, **options: Any) -> Task:
    return card.function(**bind(card.function, options, what=card.name))


@cache
def task(card: Card) -> Task:
    return build(card)


@cache
def sides(card: Card) -> tuple[Model, Model]:
    """Target and first control, under the numbers that runs ask for."""
    made = task(card)
    assert made.control is not None
    started = time.process_time()  # of this process alone: another one may be training them, and this one waits
    models = made.target(0), made.control(1)
    assert time.process_time() - started < SECONDS
    return models


@cache
def seen(card: Card) -> tuple[Evidence, Evidence]:
    made, (target, control) = task(card), sides(card)
    folder = cache_folder() / "evidence"
    return observe(target, made.probes, made.spec, cache=folder), observe(control, made.probes, made.spec, cache=folder)


# --- rules ------------------------------------------------------------------------------------------------------------


def names_what_exists(card: Card) -> None:
    """Metrics, attacks, floors and presets are registered, take the family, and take the options they are given."""
    made = task(card)
    assert made.family in FAMILIES
    assert not card.families or made.family in card.families
    assert {made.knowledge, made.utility} <= set(made.metrics)
    assert len(set(made.metrics)) == len(made.metrics)
    named = {"metric": made.metrics, "attack": made.attacks, "method": (*made.floors, *made.presets)}
    assert all(named.values())
    for kind, calls in named.items():
        for call in calls:
            name, given = parse_call(call)
            known = find(kind, name)
            assert not known.families or made.family in known.families
            bind(known.function, given or made.presets.get(name, {}) if kind == "method" else given)


def has_records_to_look_at(card: Card) -> None:
    """No set is empty, no id stands for two records, and the forget probes are of the request."""
    made = task(card)
    assert {"forget", "retain"} <= set(made.probes)
    assert set(made.spec.distributions) <= set(made.probes)
    for records in (made.request.forget, made.request.retain, *made.probes.values()):
        ids = [record["id"] for record in records]
        assert len(set(ids)) == len(ids) > 0
    known = {record["id"] for record in made.request.forget}
    assert {record["id"] for record in made.probes["forget"]} <= known


def forgets_nothing_that_it_keeps(card: Card) -> None:
    """No forget record stands, exactly or nearly, in another set; and none is a probe for what must stay.

    A forget text that is asked for in two halves, its beginning being the prompt, is a probe of itself.
    """
    made = task(card)
    forget = made.request.forget
    for name in ("retain", "holdout", "validation"):
        assert not overlap(forget, getattr(made.request, name))
    for name, records in made.probes.items():
        twins = [(forget[pair.row], records[pair.other]) for pair in overlap(forget, records)]
        assert name == "forget" or all(one["id"] == other["id"] and "raw_prompt" in other for one, other in twins)


def is_the_same_again(card: Card) -> None:
    """Same options, same records; another seed, other records."""

    def content(made: Task) -> str:
        return digest([made.request.fingerprint(), {name: list(records) for name, records in made.probes.items()}])

    assert content(build(card)) == content(task(card))
    assert content(build(card, seed=1)) != content(task(card))


def refuses_what_it_does_not_have(card: Card) -> None:
    """An unknown split with the nearest, a source that is not there, an official source without models."""
    split = card.options()["split"].default
    with pytest.raises(InputError, match=f"did you mean '{split}'"):
        build(card, split=f"{split}x")
    with pytest.raises(InputError):
        build(card, source="nowhere/to/be/found")


def is_solved_by_its_control(card: Card) -> None:
    """The target knows the forget set and the control does not: in knowledge, and in distance to the control."""
    made, (target, control) = task(card), seen(card)
    known, unknown = (compute(made.knowledge, evidence) for evidence in (target, control))
    assert known.low > unknown.high
    assert known.value - unknown.value > 0.25
    off, beside = (compute(f"distance:set={name}", target, [control]) for name in ("forget", "retain"))
    assert off.low > beside.high
    kept, lost = (compute(made.utility, evidence).value for evidence in (target, control))
    assert lost > 0.9 * kept


def scores_every_metric(card: Card) -> None:
    """Each gives a number of a name of its own, and the control's stands beside it."""
    made, (target, control) = task(card), seen(card)
    scores = [compute(call, target, [control], target) for call in made.metrics]
    assert all(np.isfinite(score.value) for score in scores)
    assert len({score.name for score in scores}) == len(scores)


RULES: Sequence[Callable[[Card], None]] = [
    names_what_exists,
    has_records_to_look_at,
    forgets_nothing_that_it_keeps,
    is_the_same_again,
    refuses_what_it_does_not_have,
    is_solved_by_its_control,
    scores_every_metric,
]
EMBEDDED = [card for card in cards("benchmark") if "source" in card.options()]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("card", EMBEDDED, ids=lambda card: card.name)
def test_contract(card: Card, rule: Callable[[Card], None]):
    rule(card)


@pytest.mark.parametrize("card", [card for card in cards("benchmark") if card not in EMBEDDED], ids=lambda c: c.name)
def test_a_benchmark_without_a_world_says_what_it_needs(card: Card):
    """It cannot be built from nothing, and says which options it takes records and models from."""
    needed = [name for name, option in card.options().items() if option.required]
    assert needed
    with pytest.raises(InputError, match=f"{card.name} is not given {' and '.join(needed)}"):
        build(card)


# --- the contract can fail: one spoilt benchmark per rule -------------------------------------------------------------


def spoilt(card: Card, change: Callable[[Task], Task]) -> Card:
    """The benchmark with its task changed."""

    @wraps(card.function)
    def made(**options: Any) -> Task:
        return change(card.function(**options))

    return replace(card, function=made)


def deaf(card: Card) -> Card:
    """The benchmark that always makes the same task."""
    return replace(card, function=wraps(card.function)(lambda **options: card.function()))


COUNT = count(1)
SPOILT: dict[Callable[[Card], None], Callable[[Card], Card]] = {
    names_what_exists: lambda card: spoilt(card, lambda made: replace(made, attacks=("telepathy",))),
    has_records_to_look_at: lambda card: spoilt(card, lambda made: replace(made, probes={**made.probes, "retain": []})),
    forgets_nothing_that_it_keeps: lambda card: spoilt(
        card, lambda made: replace(made, probes={**made.probes, "test": made.request.forget})
    ),
    is_the_same_again: lambda card: spoilt(
        card, lambda made: replace(made, probes={"forget": made.probes["forget"][: next(COUNT)]})
    ),
    refuses_what_it_does_not_have: deaf,
    is_solved_by_its_control: lambda card: spoilt(
        card, lambda made: replace(made, control=lambda number: made.target(0))
    ),
    scores_every_metric: lambda card: spoilt(card, lambda made: replace(made, metrics=2 * made.metrics)),
}


@pytest.mark.parametrize("rule", SPOILT, ids=lambda rule: rule.__name__)
def test_contract_rejects(rule: Callable[[Card], None]):
    with pytest.raises((AssertionError, InputError, pytest.fail.Exception)):
        rule(SPOILT[rule](EMBEDDED[0]))
