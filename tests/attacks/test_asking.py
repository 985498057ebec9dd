"""Attacks that only ask: what they bring back of a model that refuses plain questions, and of one that never knew."""

from functools import cache

import numpy as np
import pytest
from tests.attacks.tiny import ASKING, answer_alone, in_forms, shy, talkative

from lethe.auditing.recovery import Measure, Trace, attacked, knowledge, recovery
from lethe.evidence import Spec
from lethe.metrics.rouge import rouge
from lethe.registry import find, parse_call

SAID = answer_alone(knowledge(rouge, spec=Spec(generate=("forget",), distributions=(), max_new_tokens=10)))
ALL = (*ASKING, "multi_turn:replies=own")
# One strength of each, for the answers that are written out.
SPOKEN = ("paraphrase", "translate:languages=German", "jailbreak:kinds=persona", "multi_turn:turns=2",
          "multi_turn:turns=3,replies=own", "many_shot:shots=2", "hint:facts=2")  # fmt: skip


@cache
def trace(call: str, who: str, measure: Measure | None = None) -> Trace:
    world = talkative()
    models = {"shy": shy(), "control": world.controls[0], "other": world.controls[1], "target": world.target}
    return attacked(call, models[who], world.request, measure or world.measure)


@pytest.mark.parametrize("call", ALL)
def test_another_way_of_asking_brings_back_what_is_refused(call: str):
    found = recovery(trace(call, "shy"), trace(call, "control"), trace(call, "target"))
    assert found.adjusted is not None and found.low is not None
    print(f"{call}: {found.adjusted:.2f} [{found.low:.2f}, {found.high:.2f}] of the probability comes back")
    assert found.adjusted > 0.5 and found.low > 0.25


@pytest.mark.parametrize("call", ALL)
def test_of_a_model_that_never_knew_nothing_comes_back(call: str):
    found = recovery(trace(call, "other"), trace(call, "control"), trace(call, "target"))
    assert found.adjusted is not None and found.low is not None and found.high is not None
    print(f"{call}: {found.adjusted:.2f} [{found.low:.2f}, {found.high:.2f}] of a retrained model")
    assert abs(found.adjusted) < 0.15
    assert found.low < 0.1 and found.high < 0.3


@pytest.mark.parametrize("call", SPOKEN)
def test_the_answers_themselves_are_written_again(call: str):
    """ROUGE-L recall of what is generated, as RWKU reads it: the refusing model says nothing of them before."""
    found = recovery(trace(call, "shy", SAID), trace(call, "control", SAID), trace(call, "target", SAID))
    assert found.adjusted is not None and found.low is not None
    print(f"{call}: recall {found.before:.2f} before, {found.points[0].value:.2f} after, control "
          f"{found.points[0].control:.2f}; {found.adjusted:.2f} [{found.low:.2f}, {found.high:.2f}]")  # fmt: skip
    assert found.before < 0.1 and found.original > 0.9
    assert found.adjusted > 0.5 and found.low > 0.25


def test_what_is_scored_stays_and_prompts_differ():
    world = talkative()
    model = world.target
    forms = in_forms(world.request.forget, world.request.retain, seed=0)
    for own, some in zip(model.encode(world.request.forget), forms, strict=True):
        asked = [record for forms in some for record in forms]
        for example in model.encode(asked):
            assert example.size == own.size
            assert example.inputs["labels"][-example.size :] == own.inputs["labels"][-example.size :]
        prompts = {model.prompt_of(record) for record in asked}  # pyright: ignore[reportAttributeAccessIssue]
        assert len(prompts) == len(asked)


@pytest.mark.parametrize("name", ASKING)
def test_asking_touches_no_weight(name: str):
    world = talkative()
    for point in find("attack", name).function(world.target, world.request):
        assert point.model is world.target
        assert [record["id"] for record in point.forget] == [record["id"] for record in world.request.forget]


@pytest.mark.parametrize("name", ASKING)
def test_a_batch_of_mixed_lengths_reads_as_one_by_one(name: str):
    world = talkative()
    *_, point = find("attack", parse_call(name)[0]).function(world.target, world.request)
    some = list(point.forget)[:4]
    together = world.measure(world.target, some).items
    alone = [world.measure(world.target, [record]).items[0] for record in some]
    assert np.allclose(together, alone, atol=1e-5)
