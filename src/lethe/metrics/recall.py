"""Recall@K of a recommender."""

from collections.abc import Sequence

import numpy as np

from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items


@metric(families={"recommender"}, needs={"scores"})
def recall(evidence: Evidence, controls: Sequence[Evidence] = (), *, set: str = "test", k: int = 20) -> Score:
    """Recall@K per user over the full catalogue without the user's retained items, 0 to 1.

    On the forget set its items count as relevant and are not masked; there the ideal is the control's value.

    Args:
        set: Probe set of interactions.
        k: Length of the list.
    """
    items = [float(np.mean(ranks < k)) for ranks in ranks_by_user(evidence, set).values()]
    direction = "control" if set == "forget" else "higher"
    return score_of_items("recall", items, variant=f"at{k}", set=set, direction=direction, range=(0, 1))


def ranks_by_user(evidence: Evidence, set: str) -> dict[int, np.ndarray]:
    """0-based rank of every relevant item, by user."""
    found: dict[int, list[int]] = {}
    ranks = evidence.per_token(set, what="rank")
    for user, rank in zip(evidence.column(set, "user"), ranks, strict=True):
        found.setdefault(int(user), []).append(int(rank[0]))
    return {user: np.array(values) for user, values in found.items()}
