"""What everything registered is held against: per model family a model of a few thousand weights and requests for it.

Nothing here names a method, metric, attack or benchmark. Random weights are enough wherever a rule speaks about bytes;
whether something really forgets is asked of the trained worlds of the attacks' tests.
"""

from collections.abc import Callable, Iterator
from functools import cache

import pytest
from tests.models.tiny import FAMILIES

from lethe.models.base import Model
from lethe.registry import Card, find, names
from lethe.request import Request


@cache
def model(family: str) -> Model:
    """Never changed: whoever asks, asks for the same."""
    return FAMILIES[family][0]()


def requests(family: str, seed: int = 0) -> list[Request]:
    """Some records; and where records have labels, everything of one class."""
    records = FAMILIES[family][1]()
    some = Request(records[:2], records[2:6], records[6:8], seed=seed, allow_overlap=True, validation=records)
    return [some, *one_class(some)]


def one_class(request: Request) -> Iterator[Request]:
    """The request for all records with the label of the first, where records have labels."""
    if "label" in request.forget[0]:
        records = [*request.forget, *request.retain]
        gone = [record for record in records if record["label"] == request.forget[0]["label"]]
        kept = [record for record in records if record["label"] != request.forget[0]["label"]]
        told = {"seed": request.seed, "allow_overlap": True, "validation": request.validation}
        yield Request(gone, kept, request.holdout, **told)


def families(card: Card) -> list[str]:
    """Those whose models the card takes."""
    return [
        family
        for family in FAMILIES
        if (not card.families or family in card.families) and card.needs <= model(family).abilities
    ]


def cards(kind: str) -> list[Card]:
    return [find(kind, name) for name in names(kind)]


Rule = Callable[[Card, str], None]


def matrix(kind: str, rules: dict[Rule, Callable[[Card], bool]]) -> list[object]:
    """Every rule x every card that it speaks about x every family that the card takes."""
    return [
        pytest.param(rule, card, family, id=f"{card.name}-{family}-{rule.__name__}")
        for card in cards(kind)
        for family in families(card)
        for rule, speaks_about in rules.items()
        if speaks_about(card)
    ]


def always(card: Card) -> bool:
    return True
