"""Which weights matter least: scores and masks on single matrices, no model in sight."""

from __future__ import annotations

import torch
from torch import Tensor


def wanda(weight: Tensor, norms: Tensor) -> Tensor:
    """Scores `|W_ij| * ||X_j||_2` (I, J) of Wanda (arXiv 2306.11695), of weights (I, J) and input norms (J,)."""
    return weight.abs() * norms


def lowest(scores: Tensor, share: float) -> Tensor:
    """Mask (I, J) of the lowest int(share * J) scores of every row; of equal ones the first.

    Args:
        scores: How much each weight matters, (I, J).
        share: Share of a row, 0 to 1.
    """
    count = int(share * scores.shape[1] + 1e-9)  # 0.29 * 100 is a hair below 29
    mask = torch.zeros_like(scores, dtype=torch.bool)
    return mask.scatter_(1, scores.argsort(dim=1, stable=True)[:, :count], True)
