"""Many shots: whose questions are answered before, and what a small context leaves of them."""

from dataclasses import replace

import pytest
from tests.attacks.tiny import llama, talkative

from lethe.attacks.many_shot import many_shot
from lethe.errors import InputError


def test_many_shots_are_retain_questions_and_are_cut_like_hints():
    world = talkative()
    known = {(r["question"], r["answer"]) for r in world.request.retain}
    points = list(many_shot(world.target, world.request, shots=(3, 1)))
    assert [point.strength for point in points] == [1, 3]
    for one, three, record in zip(points[0].forget, points[1].forget, world.request.forget, strict=True):
        assert [len(one["turns"]), len(three["turns"])] == [1, 3]
        assert three["turns"][:1] == one["turns"] and len({turn[0] for turn in three["turns"]}) == 3
        assert all(tuple(turn) in known and turn[1] != record["answer"] for turn in three["turns"])
        assert three["question"] == record["question"]
    told = [{**r, "answer": text} for r in points[1].forget for text in (r["answer"], *r["perturbed_answer"])]
    longest = max(example.length for example in world.target.encode(told))
    small = llama(world.target.tokenizer, longest - 1)  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.warns(UserWarning, match="questions have no room for 3 shots"):
        (cut,) = many_shot(small, world.request, shots=(3,))
    assert {len(asked["turns"]) for asked in cut.forget} == {2, 3}
    for asked, whole in zip(cut.forget, points[1].forget, strict=True):
        assert whole["turns"][-len(asked["turns"]) :] == asked["turns"]
    with pytest.warns(UserWarning, match="12 of 12 questions have no room for 9 shots"):
        points = list(many_shot(small, world.request, shots=(1, 9, 20)))
    assert [point.strength for point in points] == [1, 9]  # 20 would be cut to the same


def test_many_shots_need_questions_enough():
    world = talkative()
    with pytest.raises(InputError, match="not 300; ask for fewer shots or give more retain records"):
        list(many_shot(world.target, world.request, shots=(300,)))
    with pytest.raises(InputError, match="each 1 or more"):
        list(many_shot(world.target, world.request, shots=(0,)))
    texts = replace(world.request, forget=[{"id": "t", "text": "Ada Vane wrote Salt."}])
    with pytest.raises(InputError, match=r"forget row 1 \('t'\) has no question and answer"):
        list(many_shot(world.target, texts))
