"""Questions with two answers: the one to forget beside another, for objectives that compare the two."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lethe.losses import preference
from lethe.models.base import Batch, Example, Model, per_example
from lethe.train import Term


def beside(model: Model, batch: Batch, examples: Sequence[Example]) -> Batch:
    """The examples at the batch's positions in their list, as a batch: the other answers to the same questions."""
    rows: list[int] = batch.index.tolist()
    return model.collate([examples[row] for row in rows], rows).to(model.device)


def prefer(model: Model, known: Sequence[Example], others: Sequence[Example], beta: float) -> Term:
    """DPO: each of the other answers is preferred to the known one at the same position.

    The original model's log-probabilities are computed once per example, so one model is held in memory.
    """
    reference = per_example(model, known).to(model.device)
    other_reference = per_example(model, others).to(model.device)

    def loss(model: Model, batch: Batch) -> Tensor:
        return preference.dpo(
            model.loss(batch),
            reference[batch.index],
            model.loss(beside(model, batch, others)),
            other_reference[batch.index],
            beta=beta,
        )

    return Term("forget", known, loss, per="example", role="forget")
