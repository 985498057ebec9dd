"""Prompts that are searched for: they open a model that keeps to itself what it knows, and no model that never knew."""

import pytest
from tests.attacks.tiny import shy, talkative

from lethe.auditing.recovery import attacked, recovery
from lethe.findings import Recovery


def shown(found: Recovery) -> str:
    return f"{found.adjusted:.2f} [{found.low:.2f}, {found.high:.2f}]"


@pytest.mark.parametrize("call", ["gcg", "gcg:variant=autoprompt,steps=16", "pair:rounds=2,8"])
def test_a_shy_model_answers_and_a_retrained_one_does_not(call: str):
    world = talkative()
    own, control, other, original = (
        attacked(call, model, world.request, world.measure) for model in (shy(), *world.controls, world.target)
    )
    positive, negative = recovery(own, [control, other], original), recovery(other, control, original)
    print(f"{call}: shy {shown(positive)}, retrained {shown(negative)}")
    assert positive.adjusted is not None and positive.low is not None
    assert positive.adjusted > 0.5 and positive.low > 0.2
    assert negative.adjusted is not None and negative.low is not None
    assert abs(negative.adjusted) < 0.15 and negative.low < 0.05
