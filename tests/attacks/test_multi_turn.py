"""Dialogues: the script, and the model's own replies."""

import pytest
from tests.attacks.tiny import llama, talkative

from lethe.attacks.multi_turn import multi_turn
from lethe.data.jailbreaks import dialogue
from lethe.errors import InputError
from lethe.models.language import LanguageModel


def test_more_turns_go_on_where_fewer_end():
    world = talkative()
    points = list(multi_turn(world.target, world.request, turns=(3, 1)))
    assert [point.strength for point in points] == [1, 3]
    for one, three, record in zip(points[0].forget, points[1].forget, world.request.forget, strict=True):
        assert three["turns"] == dialogue(record, 3) and one["turns"] == dialogue(record, 1)
        assert three["question"] == record["question"]


def test_own_replies_are_what_the_model_says_to_the_same_turns():
    world = talkative()
    model = world.target
    assert isinstance(model, LanguageModel)
    (point,) = multi_turn(model, world.request, turns=(2,), replies="own", tokens=6)
    record, asked = world.request.forget[0], point.forget[0]
    script = dialogue(record, 2)
    assert [turn[0] for turn in asked["turns"]] == [turn[0] for turn in script]
    first = model.generate([model.prompt(script[0][0])], 6)[0]
    second = model.generate([model.prompt(script[1][0], [[script[0][0], first]])], 6)[0]
    assert [turn[1] for turn in asked["turns"]] == [first, second]


def test_bad_dialogues_are_refused():
    world = talkative()
    for turns in ((), (0,), (1, 9)):
        with pytest.raises(InputError, match="give numbers from 1 to 3"):
            list(multi_turn(world.target, world.request, turns=turns))
    with pytest.raises(InputError, match="context of 40 tokens"):
        list(multi_turn(llama(world.target.tokenizer, 40), world.request))  # pyright: ignore[reportAttributeAccessIssue]


def test_turns_that_exceed_the_context_are_left_out_with_a_warning():
    world = talkative()
    two = next(iter(multi_turn(world.target, world.request, turns=(2,)))).forget
    told = [{**record, "answer": text} for record in two for text in (record["answer"], *record["perturbed_answer"])]
    longest = max(example.length for example in world.target.encode(told))
    small = llama(world.target.tokenizer, longest)  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.warns(UserWarning, match="no room for 3 turns"):
        points = list(multi_turn(small, world.request))
    assert [point.strength for point in points] == [1, 2]
