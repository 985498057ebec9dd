"""Precision@K of a recommender."""

from collections.abc import Sequence

from lethe.evidence import Evidence
from lethe.metrics.recall import Mask, per_user
from lethe.registry import metric
from lethe.score import Score


@metric(families={"recommender"}, needs={"scores"})
def precision(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "test",
    k: int = 20,
    mask: Mask = "remaining",
) -> Score:
    """Share of the first K items that are relevant, per user, 0 to 1.

    Args:
        set: Probe set of interactions.
        k: Length of the list.
        mask: What no list holds: remaining (retained items) or full (forgotten ones as well).
    """
    return per_user(evidence, "precision", "precision", set, k, mask)
