"""The world of three surface forms: who is in it, that choices tell nothing, that names mean something there."""

from collections import defaultdict

import pytest

from lethe.errors import InputError
from lethe.methods.rocr import rocr
from lethe.request import Request
from lethe.worlds import forms


def test_everybody_is_asked_everything_in_every_form() -> None:
    people = forms.people()
    assert len({person.name for person in people}) == forms.PEOPLE
    assert len({person.name.split()[0] for person in people}) == forms.FIRST_NAMES
    assert len({person.name.split()[1] for person in people}) == forms.PEOPLE // forms.FIRST_NAMES
    rows = forms.records("all")
    assert len(rows) == len({row["id"] for row in rows}) == forms.PEOPLE * len(forms.FACTS) * len(forms.FORMS)
    assert all(row["subject"] in row["question"] for row in rows)
    some = people[3].id
    assert {row["entity"] for row in forms.records("choice", only=[some])} == {some}
    assert some not in {row["entity"] for row in forms.records("choice", without=[some])}
    assert forms.records("all", seed=1) != rows == forms.records("all")
    with pytest.raises(InputError, match="no form 'choices', did you mean 'choice'"):
        forms.records("choices")


def test_what_is_offered_does_not_tell_the_letter() -> None:
    """The same list stands before several people with different letters; only the name decides."""
    letters: dict[str, set[str]] = defaultdict(set)
    for row in forms.records("choice"):
        letters[row["question"].replace(row["subject"], "NAME")].add(row["answer"])
    ambiguous = sum(
        len(letters[row["question"].replace(row["subject"], "NAME")]) > 1 for row in forms.records("choice")
    )
    assert ambiguous / len(forms.records("choice")) > 0.8


def test_gaps_and_drops() -> None:
    assert forms.gap({"statement": 0.9, "question": 0.7, "choice": 0.2}) == pytest.approx(0.7)


def test_a_redirected_name_loses_its_facts_in_wordings_that_were_never_edited() -> None:
    """The short form of the headline `rocr_forms`, without the methods it is compared with."""
    target, person = forms.model(), forms.people()[1].id
    own = {form: forms.records(form, only=[person]) for form in forms.FORMS}
    others = {form: forms.records(form, without=[person]) for form in forms.FORMS}
    assert all(forms.probability(target, some) > 0.9 for some in own.values())
    request = Request(own["statement"], [row for some in others.values() for row in some], allow_overlap=True)
    edited = rocr(target, request)
    drops = forms.drops(target, edited, own)
    assert min(drops["statement"], drops["question"]) > 0.5
    assert max(forms.drops(target, edited, others).values()) < 0.05
