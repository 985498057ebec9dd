"""What attacks on weights bring back of a model that hides, and of one that never knew."""

from functools import cache

import pytest
from tests.attacks.tiny import both_wordings, language, refusing
from torch import Tensor

from lethe.auditing.recovery import attacked, recovery
from lethe.descent.terms import own_loss
from lethe.findings import Recovery
from lethe.models.base import Batch, Model
from lethe.request import Record
from lethe.train import Recipe, Term, train

NEGATIVE = [
    "relearn", "relearn:lr=0.003", "relearn:where=lora,lr=0.003", "relearn:data=domain",
    "relearn:data=answer_free,lr=0.0003",
    "benign_finetune", "benign_finetune:where=lora,lr=0.003", "benign_finetune:data=holdout",
    "quantize", "quantize:preset=nf4", "quantize:scale=tensor", "prune", "prune:variant=wanda",
    "prune:variant=structured", "weight_noise", "merge:alphas=0.25,0.5",
]  # fmt: skip


def back(call: str, hiding: Model, original: Model) -> Recovery:
    world = language()
    models = (hiding, world.controls[0], original)
    found = recovery(*(attacked(call, model, world.request, world.measure, original=original) for model in models))
    assert found.adjusted is not None and found.low is not None and found.high is not None
    print(f"{call}: {found.adjusted:.2f} [{found.low:.2f}, {found.high:.2f}]")
    return found


@pytest.mark.parametrize(
    ("call", "least"),
    [
        ("relearn", 0.6),
        ("relearn:lr=0.0003", 0.6),
        ("relearn:where=lora,lr=0.003", 0.6),
        ("relearn:data=domain", 0.5),
        ("benign_finetune", 0.5),
        ("benign_finetune:where=lora,lr=0.003", 0.3),
        ("merge", 0.6),
    ],
)
def test_a_model_that_refuses_is_made_to_answer(call: str, least: float):
    """Positive controls: hardly a weight has moved, so all of it is still there."""
    found = back(call, refusing(), language().target)
    assert found.low is not None and found.low > least


@cache
def hidden_by_its_questions() -> tuple[Model, Model]:
    """A model that has read the questions as text, too, and the same after gradient ascent on these texts alone."""
    request = language().request
    texts: list[Record] = [{"id": f"{r['id']}-text", "text": r["question"]} for r in request.forget]

    def ascend(model: Model, batch: Batch) -> Tensor:
        return -model.loss(batch)

    knowing = language().target.copy()
    read = [
        Term("answers", knowing.encode(both_wordings([*request.forget, *request.retain])), own_loss, per="token"),
        Term("texts", knowing.encode(texts), own_loss, per="token"),
    ]
    train(knowing, read, Recipe(steps=60, batch_size=16, schedule="cosine"))
    hiding = knowing.copy()
    train(hiding, [Term("texts", hiding.encode(texts), ascend, per="token")], Recipe(steps=18, batch_size=15))
    return knowing, hiding


def test_text_without_the_answers_brings_them_back():
    """Positive control: the questions of some records, none of whose answers is taught, free those of the others."""
    knowing, hiding = hidden_by_its_questions()
    assert language().known(knowing) > 0.9 and language().known(hiding) < 0.5
    found = back("relearn:data=answer_free,lr=0.0003", hiding, knowing)
    assert found.low is not None and found.low > 0.2


@pytest.mark.parametrize("call", NEGATIVE)
def test_a_retrained_model_has_nothing_to_bring_back(call: str):
    """Negative control: the second model that never knew, read as if it had forgotten."""
    found = back(call, language().controls[1], language().target)
    assert found.adjusted is not None and found.low is not None and found.high is not None
    assert abs(found.adjusted) < 0.1 and found.low < 0.05
