"""Interactions that do harm: planted where a trained recommender expects them least (UnlearnRec, arXiv 2505.22649).

To forget them must help: what is known of everybody's taste comes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lethe.models.base import Model
from lethe.request import Record

SHARE = 0.5  # of the users who get the item that they would like least, and of the items that get such a user
HELD = 2**21  # scores at a time


def planted(model: Model, known: Sequence[Record], seed: int, share: float = SHARE) -> list[dict[str, Any]]:
    """New interactions of the lowest score, each once: none that is `known`.

    Upstream's own list holds pairs twice, pairs that were there before, and a stray tuple.

    Args:
        model: Trained on the clean data.
        known: All interactions of these data.
        seed: Seed of the draw of users and items.
        share: Share of the users, and of the items, that get one.
    """
    import torch

    net: Any = model.module
    of_user: dict[int, list[int]] = {}
    of_item: dict[int, list[int]] = {}
    for record in known:
        of_user.setdefault(record["user"], []).append(record["item"])
        of_item.setdefault(record["item"], []).append(record["user"])
    rng = np.random.default_rng([seed, 38])
    with model.evaluating():
        users, items = net.embed()
    pairs = []
    for side, (own, other, taken) in enumerate(((users, items, of_user), (items, users, of_item))):
        chosen = rng.permutation(sorted(taken))[: int(share * len(taken))]
        size = max(1, HELD // len(other))
        for start in range(0, len(chosen), size):
            rows = chosen[start : start + size].tolist()
            scores = own[rows] @ other.T
            for row, one in enumerate(rows):
                scores[row, taken[one]] = torch.inf
            lowest = scores.argmin(-1).tolist()
            pairs += [(one, low) if side == 0 else (low, one) for one, low in zip(rows, lowest, strict=True)]
    there = {(record["user"], record["item"]) for record in known}
    return [
        {"id": f"planted-u{user}-i{item}", "user": user, "item": item, "split": "train"}
        for user, item in dict.fromkeys(pairs)
        if (user, item) not in there  # of somebody who has everything
    ]
