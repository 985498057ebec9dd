"""What an influence encoder is made of and trained on, without a model: walks on a graph, and the terms of its loss.

A request is a set of edges of the user-item graph. Source: Chen, Xia, Huang, arXiv 2505.22649.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lethe.losses.catalogue import loss
from lethe.losses.tokens import wide

Share = Literal["exp", "softplus"]
Step = Callable[[Tensor], Tensor]  # embeddings of all nodes (N, D), after one step of propagation
LOW = -15.0  # below it log softplus(x) is x to the last bit of float32, and softplus itself soon 0


def log_softplus(scores: Tensor) -> Tensor:
    """Log softplus(score), finite for every score."""
    return torch.where(scores < LOW, scores, F.softplus(scores.clamp(min=LOW)).log())


SHARES: dict[Share, Callable[[Tensor], Tensor]] = {  # log of what a score counts for beside the others of its batch
    "exp": lambda scores: scores,
    "softplus": log_softplus,
}


def walk(step: Step, start: Tensor, steps: int) -> list[Tensor]:
    """`start` (N, D) after 0 to `steps` steps on a graph."""
    states = [start]
    for _ in range(steps):
        states.append(step(states[-1]))
    return states


def withdrawal(step: Step, final: Tensor, weight: Tensor, steps: int) -> Tensor:
    """What walks of exactly `steps` edges of the request carry of the final embeddings, (N, D).

    Args:
        step: One step on the graph of the request alone, by its own degrees; nothing arrives at a node without an edge.
        final: Final embeddings before the request (N, D).
        weight: Share of each node's embedding that sets out (N, 1).
        steps: Length of the walks.
    """
    return walk(step, final * weight, steps)[-1]


@loss(kind="example", forgets=True)
def unlearn(pos: Tensor) -> Tensor:
    """softplus(score) of a removed edge (B,): -log sigmoid(-score), which rests once the score is far below 0.

    Args:
        pos: Scores of removed edges (B,).
    """
    return F.softplus(wide(pos))


@loss(kind="example", forgets=True)
def unlearn_linear(pos: Tensor) -> Tensor:
    """The score of a removed edge itself (B,); without a lower bound.

    Args:
        pos: Scores of removed edges (B,).
    """
    return wide(pos)


def log_share(users: Tensor, items: Tensor, tau: float, share: Share = "exp") -> Tensor:
    """Log of the share that each user's own item has among the items of the batch, (B,), 0 or less.

    By log-sum-exp, so that scores of any size are allowed. With share=exp a constant added to all scores of a user
    changes nothing.

    Args:
        users: Embeddings of users (B, D).
        items: Embeddings of the items they took (B, D).
        tau: Temperature of the inner products.
        share: What a score counts for: exp (softmax) or softplus.
    """
    return SHARES[share](wide(users @ items.T) / tau).log_softmax(-1).diagonal()


def preserve(new: Tensor, old: Tensor) -> Tensor:
    """(B,) squared change of `log_share`; the paper's term is its sum, hence grows with the batch."""
    return (new - old).square()


def contrast(anchors: Tensor, views: Tensor) -> Tensor:
    """InfoNCE (B,) at temperature 1: each anchor must meet its own view among those of the batch, (B, D) both.

    No gradient flows through the anchors.
    """
    return -wide(anchors.detach() @ views.T).log_softmax(-1).diagonal()
