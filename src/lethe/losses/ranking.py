"""Pairwise ranking losses for recommenders."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from lethe.losses.catalogue import loss
from lethe.losses.tokens import wide


@loss(kind="example", forgets=False)
def bpr(pos: Tensor, neg: Tensor) -> Tensor:
    """Bayesian personalised ranking (B,): -log sigmoid(pos - neg), greater than 0 (Rendle et al., arXiv 1205.2618).

    Args:
        pos: Score of an item that the user took (B,).
        neg: Score of an item drawn from those the user did not take (B,).
    """
    return -F.logsigmoid(wide(pos) - wide(neg))


@loss(kind="example", forgets=True)
def reverse_bpr(pos: Tensor, neg: Tensor) -> Tensor:
    """Reverse BPR (B,): -log sigmoid(neg - pos), so that the item to forget scores below a random one.

    Its gradient vanishes once that is so, whereas ascent on BPR, which is smaller by pos - neg, has no lower bound.
    Source: Sinha et al., arXiv 2405.15328.

    Args:
        pos: Score of the item to forget (B,).
        neg: Score of an item drawn from those the user did not take (B,).
    """
    return bpr(neg, pos)


def agreement(ones: Tensor, others: Tensor, temperature: float) -> Tensor:
    """InfoNCE of two views, in nats (B,): each row of one must be nearest to its own row of the other, by cosine.

    A row that stands in the batch twice competes with itself. Source: SGL, arXiv 2010.10783, eq. 10.

    Args:
        ones: First view (B, D).
        others: Second view (B, D).
        temperature: Divides the cosines.
    """
    cosines = wide(F.normalize(ones, dim=-1) @ F.normalize(others, dim=-1).T)
    return -(cosines / temperature).log_softmax(-1).diagonal()
