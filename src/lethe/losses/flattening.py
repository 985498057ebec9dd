"""Flattening: the most likely next token loses its lead, whatever the label says."""

from __future__ import annotations

from torch import Tensor

from lethe.losses.catalogue import loss
from lethe.losses.tokens import valid, wide


@loss(kind="token", forgets=True)
def flatten_logits(logits: Tensor, labels: Tensor) -> Tensor:
    """Squared lead of the largest logit over the mean logit (B, T), at least 0; 0 where all tokens are equally likely.

    A constant added to all logits of a position changes nothing. The labels only say which positions count: those that
    predict an answer token. The released code averages over every position, and its successor's mask is not shifted,
    so that it flattens what follows each answer token and leaves the first one alone.
    Source: PDU (constrained entropic unlearning), arXiv 2506.05314, as in open-unlearning.

    Args:
        logits: Scores (B, T, V).
        labels: Token ids (B, T), -100 where nothing is scored.
    """
    scores = wide(logits)
    return (scores.amax(-1) - scores.mean(-1)).square().masked_fill(~valid(labels), 0)
