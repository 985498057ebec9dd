"""Whatever is registered can be listed, described and configured by its name alone, of whichever kind it is."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from tests.contracts.cases import cards
from tests.models.tiny import FAMILIES

import lethe
from lethe.errors import InputError
from lethe.models import FAMILIES as KNOWN
from lethe.registry import BUDGETS, KINDS, Card, attack, bind, convert, find, headline, method, metric, settle
from lethe.request import SETS
from lethe.runs.catalogue import describe

ABILITIES = {"loss", "nll", "logits", "hidden", "generate", "features", "scores", "experts"}
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
    """A sentence of help each; a headline has its seed and nothing else, which needs no telling."""
    if card.kind == "headline":
        assert list(card.options()) == ["seed"]
        return
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
    given = {int: 0, str: ""}
    required = {name: given[option.type] for name, option in card.options().items() if option.required}
    for name in card.options():
        with pytest.raises(InputError, match=rf"no option '{name}x', did you mean '\w+'\?; it takes"):
            bind(card.function, {**required, f"{name}x": 1})
    with pytest.raises(InputError, match="no option 'zzz'"):
        bind(card.function, {**required, "zzz": 1})


def asks_for_what_there_is(card: Card) -> None:
    """Families, abilities, parts of a request (or a control) are those that exist; a paper is an arXiv number."""
    assert set(card.families) <= set(KNOWN)
    assert card.needs <= ABILITIES
    assert card.requires <= ({"control", "original"} if card.kind == "metric" else set(SETS))
    assert re.fullmatch(r"(\d{4}\.\d{4,5})?", card.paper)


def has_presets_that_it_takes(card: Card) -> None:
    """Every value of every preset is one of the option that it names, and comes out as it went in."""
    assert not card.presets or card.kind in ("method", "attack")
    assert "preset" not in card.options()
    for name, values in card.presets.items():
        assert re.fullmatch(r"[A-Za-z]\w*", name), name
        assert values
        assert settle(card, {"preset": name}) == dict(values)
        assert describe(card.name)["presets"][name].keys() == values.keys()


def departs_by_options_that_it_has(card: Card) -> None:
    """A value that makes another method of it is one that can be given, and is no default nor the paper's own."""
    assert not card.departs or card.kind == "method"
    for name, value in card.departs.items():
        assert bind(card.function, {name: value}) == {name: value}
        assert card.departure({name: value}) == f"{name}={value}"
    assert not card.departure({name: option.default for name, option in card.options().items()})
    assert not card.departure(card.presets.get("paper", {}))


def expects_what_a_number_can_be(card: Card) -> None:
    """On one side of a finite bound."""
    assert not card.expects or card.kind == "headline"
    for figure, (sign, bound) in card.expects.items():
        assert figure.strip() == figure != ""
        assert sign in (">=", "<=")
        assert math.isfinite(bound)


RULES = [
    says_in_one_sentence_what_it_is,
    is_found_in_a_file,
    explains_every_option,
    accepts_its_own_defaults,
    refuses_what_it_does_not_take,
    asks_for_what_there_is,
    has_presets_that_it_takes,
    departs_by_options_that_it_has,
    expects_what_a_number_can_be,
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


AXES = [(axis, choice) for axis in ("where", "step", "retain") for choice in describe(axis)["choices"]]


@pytest.mark.parametrize(("axis", "choice"), AXES, ids=lambda part: part if isinstance(part, str) else part["id"])
def test_every_choice_of_an_axis_is_explained(axis: str, choice: dict[str, Any]):
    assert choice["summary"].endswith(".")
    assert Path(choice["file"]).is_file()
    assert axis != "step" or choice["id"] == "plain" or choice["cost"], (
        "say what it costs: `Costs ...` in the docstring"
    )
    for option in choice["options"]:
        assert len(option["help"].split()) > 1, option["name"]
        assert option["help"].endswith("."), option["name"]


def test_an_axis_shares_its_name_with_nothing():
    assert not {axis for axis, _ in AXES} & {card.name for card in EVERYTHING}


def test_a_preset_stands_below_what_is_given():
    def function(model: Any, request: Any, *, rate: float = 1.0, passes: int = 5) -> Any: ...

    card = method(presets={"paper": {"rate": 0.1, "passes": 3}})(function).card  # pyright: ignore
    assert settle(card, {"preset": "paper", "rate": "0.2"}) == {"rate": 0.2, "passes": 3}
    assert settle(card, {"rate": 2}) == {"rate": 2.0}
    with pytest.raises(InputError, match=r"no preset 'papr', did you mean 'paper'\?; it has paper\."):
        settle(card, {"preset": "papr"})
    with pytest.raises(InputError, match="it has none"):
        settle(attack()(function).card, {"preset": "paper"})  # pyright: ignore


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


@method(presets={"paper": {"rat": 1e-5}})
def has_a_preset_of_another(model: Any, request: Any, *, rate: float = 1.0) -> Any:
    """Method whose preset names an option that it does not have.

    Args:
        rate: Learning rate.
    """


@headline(expects={"ratio": (">=", math.inf)})
def expects_the_impossible(*, seed: int) -> Any:
    """Claim that no figure can meet."""


BROKEN = [
    (says_in_one_sentence_what_it_is, mumbles),
    (explains_every_option, has_a_silent_option),
    (accepts_its_own_defaults, has_a_default_of_another_type),
    (asks_for_what_there_is, needs_the_impossible),
    (has_presets_that_it_takes, has_a_preset_of_another),
    (expects_what_a_number_can_be, expects_the_impossible),
]


@pytest.mark.parametrize(("rule", "broken"), BROKEN, ids=lambda function: function.__name__)
def test_contract_rejects(rule: Callable[[Card], None], broken: Any):
    with pytest.raises((AssertionError, InputError)):
        rule(broken.card)


def test_a_budget_that_is_not_named_repeats_the_next_smaller_one():
    named = replace(find("attack", "merge"), budgets={"quick": ("", "alphas=0.5"), "thorough": ("alphas=0.9",)})
    assert named.calls_at("quick") == named.calls_at("standard") == ("merge", "merge:alphas=0.5")
    assert named.calls_at("thorough") == ("merge:alphas=0.9",)
    dear = replace(named, budgets={})
    assert [dear.calls_at(budget) for budget in BUDGETS] == [(), ("merge",), ("merge",)]
