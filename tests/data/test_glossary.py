"""The glossary holds what the embedded worlds ask, in five languages; a file of one's own stands in for it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lethe.data.glossary import LANGUAGES, glossary, said_in
from lethe.errors import InputError
from lethe.worlds import authors, fame, forms

NAME = "Björn O'Hara-Lee"
QUESTIONS = [
    *(one for a in authors.ATTRIBUTES for one in (a.question, a.paraphrased_question)),
    *(question for _, question, _, _ in authors.FACTS),
    *(fact.question for fact in fame.FACTS),
    *(fact.question for fact in forms.FACTS),
]


@pytest.mark.parametrize("question", dict.fromkeys(QUESTIONS))
def test_every_question_of_the_worlds_in_every_language(question: str):
    asked = question.format(name=NAME)
    said = [said_in(asked, phrases) for phrases in glossary().values()]
    assert len(set(said)) == len(LANGUAGES) >= 5
    assert asked not in said
    assert all(NAME in text and "{" not in text and text.endswith("?") for text in said)


def test_a_question_that_no_template_is_stays_unsaid():
    french = glossary()["French"]
    assert said_in("Where was Ada Vane born?", french) == "Où est né Ada Vane ?"
    assert said_in(" where was Ada Vane born? ", french) == "Où est né Ada Vane ?"
    for other in ("Where was Ada Vane raised?", "Tell me: Where was Ada Vane born?", "Where was born?", ""):
        assert said_in(other, french) == ""


def test_the_longest_template_is_taken_and_a_name_is_the_same_wherever_it_stands():
    phrases = {"Who is {a}?": "A {a}", "Who is {a} to {b}?": "B {b} {a}", "Is {a} {a}?": "C {a}"}
    assert said_in("Who is Ada to Ben?", phrases) == "B Ben Ada"
    assert said_in("Who is Ada?", phrases) == "A Ada"
    assert said_in("Is Ada Ada?", phrases) == "C Ada"
    assert said_in("Is Ada Ben?", phrases) == ""


def test_a_glossary_of_ones_own(write: Callable[[str, Any], Path]):
    own = {"Latin": {"Where was {name} born?": "Ubi {name} natus est?"}}
    read = glossary(str(write("own.json", own)))
    assert read == own
    assert said_in("Where was Ada Vane born?", read["Latin"]) == "Ubi Ada Vane natus est?"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ([], "holds no languages"),
        ({}, "holds no languages"),
        ({"Latin": []}, "'Latin' holds no questions"),
        ({"Latin": {"Who?": ""}}, "'Latin': the translation of 'Who\\?' is ''"),
        ({"Latin": {"Who is {a}?": "Quis {b}?"}}, "names in braces only a"),
        ({"Latin": {"Who is {a?": "Quis?"}}, "brace without its partner"),
    ],
)
def test_a_damaged_glossary_is_refused(content: Any, message: str, write: Callable[[str, Any], Path]):
    file = write("own.json", json.dumps(content) if not isinstance(content, str) else content)
    with pytest.raises(InputError, match=message):
        glossary(str(file))
    with pytest.raises(InputError, match=r"absent\.json: cannot be read"):
        glossary(str(file.with_name("absent.json")))
