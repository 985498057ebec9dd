"""Negative log-likelihoods of tokens, and how they add up: the quantities every other loss is made of.

Logits are shifted already: `logits[:, t]` predicts `labels[:, t]`. A classifier is the case T = 1 with V classes.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lethe.losses.catalogue import loss

IGNORED = -100  # label of a position that is not scored: prompt and padding
Compat = Literal["masked", "reference"]  # ignored positions left out, or counted where the papers' code counts them


def wide(values: Tensor) -> Tensor:
    """The same values in float32 at least: sums of bfloat16 over 200 tokens lose about 0.01 nats."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def valid(labels: Tensor) -> Tensor:
    """Which positions are scored: (B, T) bool."""
    return labels != IGNORED


@loss(kind="token", forgets=False)
def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihood of each label (B, T) in nats, 0 where the label is -100.

    Args:
        logits: Scores (B, T, V).
        labels: Token ids (B, T), -100 where nothing is scored.
    """
    flat = F.cross_entropy(wide(logits).flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none")
    return flat.view(labels.shape)


@loss(kind="example", forgets=False)
def sequence_nll(logits: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihood of each whole answer (B,) in nats: the sum over its tokens, not their mean."""
    return cross_entropy(logits, labels).sum(1)


def token_mean(values: Tensor, labels: Tensor) -> Tensor:
    """Mean of per-token values (B, T) over the scored tokens of the whole batch, a scalar; 0 if there are none.

    This is not the mean of per-sequence means: a long answer counts more than a short one.
    """
    scored = valid(labels)
    return values.masked_fill(~scored, 0).sum() / scored.sum().clamp(min=1)
