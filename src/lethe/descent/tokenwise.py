"""Forget terms made of one value per token, on any family's logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lethe.losses.tokens import cross_entropy
from lethe.models.base import Batch, Example, Model
from lethe.train import Term

TokenLoss = Callable[[Tensor, Batch], Tensor]  # logits (B, T, V) and their batch -> (B, T)


def forget_tokens(
    examples: Sequence[Example], loss: TokenLoss, *, weight: float = 1.0, every_position: bool = False
) -> Term:
    """The forget term that averages a token loss.

    Args:
        examples: The encoded forget set.
        loss: Values (B, T), 0 where they do not count.
        weight: Weight of the term.
        every_position: Divide by the number of all positions of the batch, prompt and padding included, instead of
            the scored ones.
    """

    def summed(model: Model, batch: Batch) -> Tensor:
        return loss(model.logits(batch), batch).sum(1)

    def averaged(model: Model, batch: Batch) -> Tensor:
        return loss(model.logits(batch), batch).mean(1)

    if every_position:  # all rows of a batch are equally long, so the mean of their means is the mean over positions
        return Term("forget", examples, averaged, per="example", role="forget", weight=weight)
    return Term("forget", examples, summed, per="token", role="forget", weight=weight)


def frozen_logits(model: Model) -> Callable[[Batch], Tensor]:
    """What the model says now, whatever becomes of it: a function of the batch that holds a frozen copy."""
    original = model.copy()
    original.module.requires_grad_(False)

    def logits(batch: Batch) -> Tensor:
        with original.evaluating():
            return original.logits(batch)

    return logits


def frozen_token_nll(model: Model, examples: Sequence[Example], size: int = 8) -> Callable[[Batch], Tensor]:
    """Negative log-likelihood of each label (B, T) under the model as it is now, as a function of the batch.

    Computed once, in small batches: one number per token is held instead of a second model.
    """
    longest = max(example.length for example in examples)
    rows: list[Tensor] = [torch.empty(0)] * len(examples)
    with model.evaluating():
        for batch in model.batches(examples, size):
            values = cross_entropy(model.logits(batch), batch.labels)
            for row, value in zip(batch.index.tolist(), values, strict=True):
                rows[row] = F.pad(value, (0, longest - len(value)))
    known = torch.stack(rows)
    return lambda batch: known[batch.index, : batch.labels.shape[1]]
