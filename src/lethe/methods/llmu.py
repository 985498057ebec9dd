"""Large language model unlearning: ascent, mismatch, and the normal data."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from torch import Tensor

from lethe.descent.objective import objective
from lethe.descent.retain import divergence_everywhere
from lethe.descent.terms import own_loss
from lethe.descent.tokenwise import frozen_logits
from lethe.errors import InputError
from lethe.losses import ascent, divergence
from lethe.models.base import Batch, Model
from lethe.request import Record, Request
from lethe.train import Term


@objective(
    families={"language"},
    needs={"nll", "logits"},
    paper="2310.10683",
    retain=None,
    requires={"retain"},
    presets={"paper": {"lr": 2e-6, "steps": 1000, "batch_size": 2}},
)
def llmu(
    model: Model,
    request: Request,
    *,
    ascent_weight: float = 0.5,
    mismatch_weight: float = 1.0,
    normal_weight: float = 1.0,
    answers: int = 5,
    limit: float = 100.0,
    variant: Literal["paper", "reference"] = "paper",
) -> list[Term]:
    """LLMU: ascend on the forget answers, learn random other answers to their questions, stay close elsewhere.

    Holds a frozen copy of the model. A step sees as many mismatched pairs as forget records; all of them come in turn.

    Args:
        ascent_weight: Weight of the ascent on the forget answers.
        mismatch_weight: Weight of the training loss on forget questions with answers of other questions.
        normal_weight: Weight of the divergence from the original model on the retain set.
        answers: Random retain answers per forget question.
        limit: Nats per token beyond which a forget answer is pushed no further (the released code ends there).
        variant: What the divergence is averaged over: paper the scored tokens, reference prompt and padding, too (the
            released code, but for the entropy of the original in its value, which has no gradient).

    Raises:
        InputError: If fewer than 1 answer is asked for, or the records hold no questions and answers.
    """
    original, kept = frozen_logits(model), model.encode(request.retain)
    mismatched = model.encode(_mismatch(request.forget, request.retain, answers, request.seed))

    def ascend(model: Model, batch: Batch) -> Tensor:
        return ascent.capped_ga(model.loss(batch), model.sizes(batch), limit)

    def normal(model: Model, batch: Batch) -> Tensor:
        return divergence.kl(original(batch), model.logits(batch), batch.labels).sum(1)

    held = (
        Term("normal", kept, normal, per="token", weight=normal_weight)
        if variant == "paper"
        else divergence_everywhere("normal", model, kept, normal_weight)
    )
    return [
        Term("forget", model.encode(request.forget), ascend, per="token", role="forget", weight=ascent_weight),
        Term("mismatch", mismatched, own_loss, per="token", role="forget", weight=mismatch_weight),
        held,
    ]


def _mismatch(forget: Sequence[Record], retain: Sequence[Record], count: int, seed: int) -> list[dict[str, object]]:
    """Every forget question with `count` answers to other questions, fewer where there are not as many."""
    if count < 1:
        raise InputError(f"llmu: answers is {count}; there must be at least 1 per question.")
    if unasked := [record["id"] for record in forget if "question" not in record]:
        raise InputError(f"llmu: record {unasked[0]!r} has no question, so no answer can be mismatched with it.")
    said = sorted({str(record["answer"]) for record in retain if "answer" in record})
    rng = np.random.default_rng([seed, 29])
    pairs = []
    for record in forget:
        others = [answer for answer in said if answer != record["answer"]]
        if not others:
            raise InputError(f"llmu: no retain record has an answer other than that of record {record['id']!r}.")
        chosen = rng.choice(len(others), min(count, len(others)), replace=False)
        pairs += [{**record, "answer": others[number]} for number in chosen]
    return pairs
