"""Whatever is registered can be listed, described and configured by its name alone, of whichever kind it is."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from tests.contracts.cases import cards
from tests.models.tiny import FAMILIES

import lethe
from lethe.errors import InputError
from lethe.models import FAMILIES as KNOWN
from lethe.registry import KINDS, Card, attack, bind, convert, method, metric
from lethe.request import SETS
from lethe.runs.catalogue import describe

ABILITIES = {"loss", "nll", "logits", "hidden", "generate", "features", "scores"}
EVERYTHING = [card for kind in KINDS for card in cards(kind)]


def says_in_one_sentence_what_it_is(card: Card) -> None:
    """The first line of the docstring, for lists."""
    assert re.fullmatch(r"[A-Z0-9](?:(?!\. [A-Z]).){10,118}\.", card.summary), card.summary
    assert (card.function.__doc__ or "").strip().partition("\n")[2].partition("\n")[0].strip() == ""


def is_found_in_a_file(card: Card) -> None:
    """The file that the name resolves to; within Lethe it has that name."""
    file = Path(card.file)
    assert file.is_file()
    inside = file.is_relative_to(Path(lethe.__file__).parent)
    assert not inside or (file.stem, file.parent.name) == (card.name, f"{card.kind}s")


def explains_every_option(card: Card) -> None:
    """A sentence of help each."""
    for option in card.options().values():
        assert len(option.help.split()) > 1, option.name
        assert option.help.endswith("."), option.name


def accepts_its_own_defaults(card: Card) -> None:
    """As values and, where it can be typed, as text; they come out as they went in."""
    for option in card.options().values():
        if option.required:
            continue
        assert convert(option.default, option.type, option.name) == option.default
        if isinstance(option.default, str | int | float | bool):
            assert convert(str(option.default), option.type, option.name) == option.default
        if isinstance(option.default, tuple) and option.default:
            assert convert(",".join(map(str, option.default)), option.type, option.name) == option.default


def refuses_what_it_does_not_take(card: Card) -> None:
    """An unknown option, with the nearest one that it has."""
    required = {name: "" for name, option in card.options().items() if option.required}
    for name in card.options():
        with pytest.raises(InputError, match=rf"no option '{name}x', did you mean '\w+'\?; it takes"):
            bind(card.function, {**required, f"{name}x": 1})
    with pytest.raises(InputError, match="no option 'zzz'"):
        bind(card.function, {**required, "zzz": 1})


def asks_for_what_there_is(card: Card) -> None:
    """Families, abilities, parts of a request (or a control) are those that exist; a paper is an arXiv number."""
    assert set(card.families) <= set(KNOWN)
    assert card.needs <= ABILITIES
    assert card.requires <= ({"control"} if card.kind == "metric" else set(SETS))
    assert re.fullmatch(r"(\d{4}\.\d{4,5})?", card.paper)


RULES = [
    says_in_one_sentence_what_it_is,
    is_found_in_a_file,
    explains_every_option,
    accepts_its_own_defaults,
    refuses_what_it_does_not_take,
    asks_for_what_there_is,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("card", EVERYTHING, ids=lambda card: f"{card.kind}-{card.name}")
def test_contract(card: Card, rule: Callable[[Card], None]):
    rule(card)


@pytest.mark.parametrize("card", EVERYTHING, ids=lambda card: f"{card.kind}-{card.name}")
def test_description(card: Card):
    facts = describe(card.name)
    assert (facts["kind"], facts["id"], facts["file"]) == (card.kind, card.name, card.file)
    assert [option["name"] for option in facts["options"]] == list(card.options())


def test_no_two_things_share_a_name():
    """`lethe describe NAME` asks for no kind."""
    known = [card.name for card in EVERYTHING]
    assert len(set(known)) == len(known)


def test_every_family_has_a_case():
    """A family that the contracts do not know would pass all of them."""
    assert set(FAMILIES) == set(KNOWN)
    assert all(make().abilities <= ABILITIES for make, _ in FAMILIES.values())


# --- the contract can fail: one broken card per rule ------------------------------------------------------------------


@method()
def mumbles(model: Any, request: Any) -> Any:
    """does things. Sometimes"""


@metric()
def has_a_silent_option(evidence: Any, controls: Any = (), *, set: str = "forget") -> Any:
    """Score without saying which set is scored."""


@attack()
def has_a_default_of_another_type(model: Any, request: Any, *, steps: Literal["few"] = 5) -> Any:  # pyright: ignore
    """Attack with a number of steps that may not be given."""


@attack(needs={"telepathy"})
def needs_the_impossible(model: Any, request: Any) -> Any:
    """Attack models that can read minds."""


BROKEN = [
    (says_in_one_sentence_what_it_is, mumbles),
    (explains_every_option, has_a_silent_option),
    (accepts_its_own_defaults, has_a_default_of_another_type),
    (asks_for_what_there_is, needs_the_impossible),
]


@pytest.mark.parametrize(("rule", "broken"), BROKEN, ids=lambda function: function.__name__)
def test_contract_rejects(rule: Callable[[Card], None], broken: Any):
    with pytest.raises((AssertionError, InputError)):
        rule(broken.card)
