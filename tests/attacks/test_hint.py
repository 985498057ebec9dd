"""Hints: whose facts are told, in which order, and never the probed answer."""

from dataclasses import replace

import pytest
from tests.attacks.tiny import llama, talkative

from lethe.attacks.hint import hint
from lethe.data.jailbreaks import fact, tells
from lethe.errors import InputError


def preambles(points: list) -> list[list[str]]:
    records = talkative().request.forget
    return [
        [asked["question"].removesuffix(str(record["question"])).strip()
         for asked, record in zip(point.forget, records, strict=True)]
        for point in points
    ]  # fmt: skip


def test_own_facts_come_first_and_more_hold_fewer():
    world = talkative()
    points = list(hint(world.target, world.request, facts=(4, 1, 2)))
    assert [point.strength for point in points] == [1, 2, 4]
    one, two, four = preambles(points)
    for row, record in enumerate(world.request.forget):
        own = [fact(r) for r in world.request.forget if r["entity"] == record["entity"] and r is not record]
        assert one[row] in own
        assert two[row].startswith(one[row]) and four[row].startswith(two[row])
        told = [text for text in own if text in four[row]]
        kept = [fact(r) for r in world.request.retain if fact(r) in four[row]]
        assert len(told) + len(kept) == 4 and len(told) == sum(not tells(text, record) for text in own)


def test_no_preamble_tells_its_answer():
    world = talkative()
    for seed in range(5):
        for some in preambles(list(hint(world.target, world.request, facts=(4,), seed=seed))):
            for text, record in zip(some, world.request.forget, strict=True):
                assert not tells(text, record)
                assert str(record["answer"]).casefold() not in text.casefold()


def test_facts_that_tell_the_answer_are_not_told_and_too_few_are_refused():
    world = talkative()
    first, *_ = world.request.forget
    other = {
        **first,
        "id": "other",
        "question": f"Is {first['answer']} the town of {first['entity']}?",
        "answer": "yes",
    }
    third = {**first, "id": "third", "question": "What is known besides?", "answer": "a dog"}
    request = replace(world.request, forget=[first, other, third], retain=[])
    asked = next(iter(hint(world.target, request, facts=(1,)))).forget
    assert asked[0]["question"].startswith("What is known besides? a dog.")
    with pytest.raises(InputError, match="has 1 other facts that do not tell its answer, not 2"):
        list(hint(world.target, request, facts=(2,)))


def test_what_exceeds_the_context_is_left_out_with_a_warning():
    world = talkative()
    records = world.request.forget
    (whole,) = hint(world.target, world.request, facts=(4,))
    told = [{**r, "answer": text} for r in whole.forget for text in (r["answer"], *r["perturbed_answer"])]
    longest = max(example.length for example in world.target.encode(told))
    small = llama(world.target.tokenizer, longest - 1)  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.warns(UserWarning, match=f"of {len(records)} questions have no room for 4 facts"):
        (point,) = hint(small, world.request, facts=(4,))
    for cut, full in zip(point.forget, whole.forget, strict=True):
        assert full["question"].endswith(cut["question"])  # from the front
    small.encode(point.forget)
    with pytest.raises(InputError, match="has no room for anything beside it in the model's context of 12 tokens"):
        list(hint(llama(small.tokenizer, 12), world.request))


def test_bad_numbers_and_records_are_refused():
    world = talkative()
    for facts in ((), (0, 1)):
        with pytest.raises(InputError, match="each 1 or more"):
            list(hint(world.target, world.request, facts=facts))
    nobody = [{k: v for k, v in record.items() if k != "entity"} for record in world.request.forget]
    with pytest.raises(InputError, match=r"forget row 1 .* needs question, answer and entity"):
        list(hint(world.target, replace(world.request, forget=nobody)))
