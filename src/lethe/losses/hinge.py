"""The inverted hinge: the answer gives way to its runner-up, with bounded steps."""

from __future__ import annotations

from torch import Tensor

from lethe.losses.catalogue import loss
from lethe.losses.tokens import IGNORED, valid, wide


@loss(kind="token", forgets=True)
def ihl(logits: Tensor, labels: Tensor) -> Tensor:
    """Inverted hinge loss (B, T): 1 + p(label) - max over the other tokens of p, from 2 (certain) down to 0.

    It is 1 wherever label and runner-up are as likely as each other, and 0 where some other token is certain: a
    confident wrong answer is its ideal. The gradient for a logit is at most 1/2 in absolute value.
    Source: Cha et al., arXiv 2408.06621, eq. 5.

    Args:
        logits: Scores (B, T, V).
        labels: Token ids (B, T), -100 where nothing is scored.
    """
    p = wide(logits).softmax(-1)
    named = labels.masked_fill(labels == IGNORED, 0).unsqueeze(-1)
    runner_up = p.scatter(-1, named, -1.0).max(-1).values  # of equals one: `amax` would share the pull among them
    return (1 + p.gather(-1, named).squeeze(-1) - runner_up).masked_fill(~valid(labels), 0)
