"""NDCG@K of a recommender."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from lethe.evidence import Evidence
from lethe.metrics.recall import ranks_by_user
from lethe.registry import metric
from lethe.score import Score, score_of_items


@metric(families={"recommender"}, needs={"scores"}, variants=("truncated", "cure4rec"))
def ndcg(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "test",
    k: int = 20,
    variant: Literal["truncated", "cure4rec"] = "truncated",
) -> Score:
    """NDCG@K per user over the full catalogue without the user's retained items, 0 to 1.

    Args:
        set: Probe set of interactions.
        k: Length of the list.
        variant: truncated divides by the best list of K; cure4rec by an ideal over all relevant items (stays below 1).
    """
    values = []
    for ranks in ranks_by_user(evidence, set).values():
        ideal = min(len(ranks), k) if variant == "truncated" else len(ranks)
        gain = (1 / np.log2(ranks[ranks < k] + 2)).sum()
        values.append(gain / (1 / np.log2(np.arange(ideal) + 2)).sum())
    direction = "control" if set == "forget" else "higher"
    return score_of_items("ndcg", values, variant=f"{variant}.at{k}", set=set, direction=direction, range=(0, 1))
