"""Jailbreaks: which templates are made, how they are numbered, and what is refused."""

from dataclasses import replace

import pytest
from tests.attacks.tiny import llama, talkative

from lethe.attacks.jailbreak import jailbreak
from lethe.data.jailbreaks import TEMPLATES
from lethe.errors import InputError


def test_the_strength_is_the_templates_number():
    world = talkative()
    points = list(jailbreak(world.target, world.request, kinds=("Role_playing", "grandmother")))
    assert [point.strength for point in points] == [3, 11]
    for point in points:
        template = TEMPLATES[int(point.strength) - 1]
        for asked, record in zip(point.forget, world.request.forget, strict=True):
            assert asked["question"] == template.text.format(name=record["entity"], question=record["question"])


def test_by_default_all_that_the_records_have_the_fields_for():
    world = talkative()
    made = {point.strength for point in jailbreak(world.target, world.request)}
    assert made == {1, 2, 3, 4, 8, 10, 11, *range(15, 25)}  # not the plain one, nor those that need further fields
    nameless = [{**record, "entity": "p1"} for record in world.request.forget]
    fewer = {point.strength for point in jailbreak(world.target, replace(world.request, forget=nameless))}
    assert fewer == {1, 2, 4, 8, *range(15, 20), 24}
    one = [*world.request.forget[1:], {**world.request.forget[0], "perturbed_answer": None}]
    assert made - {p.strength for p in jailbreak(world.target, replace(world.request, forget=one))} == {4}
    alone = replace(world.request, retain=[], allow_overlap=True)
    assert made - {point.strength for point in jailbreak(world.target, alone)} == {8}


def test_a_kind_that_is_named_must_be_possible():
    world = talkative()
    with pytest.raises(InputError, match=r"excerpt: record '.*' has no excerpt; give it one"):
        list(jailbreak(world.target, world.request, kinds=("excerpt",)))
    with pytest.raises(InputError, match="no jailbreak 'persona2', did you mean 'persona'"):
        list(jailbreak(world.target, world.request, kinds=("persona2",)))
    told = replace(world.request, forget=[world.request.forget[0], {"id": "t", "text": "Ada Vane wrote Salt."}])
    with pytest.raises(InputError, match=r"forget row 2 \('t'\) has no question and answer"):
        list(jailbreak(world.target, told))


def test_what_the_context_cannot_hold_is_left_out_unless_it_is_named():
    world = talkative()
    (plain,) = jailbreak(world.target, world.request, kinds=("persona",))
    longest = max(example.length for example in world.target.encode(plain.forget))
    small = llama(world.target.tokenizer, longest + 9)  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.warns(UserWarning, match="no room for .*in-context learning"):
        made = {point.strength for point in jailbreak(small, world.request)}
    assert 1 in made and 8 not in made
    with pytest.raises(InputError, match=r"jailbreak \(in-context learning\): the question of record '.*' has no room"):
        list(jailbreak(small, world.request, kinds=("in-context learning",)))
