"""Reciprocal rank@K of a recommender."""

from collections.abc import Sequence

from lethe.evidence import Evidence
from lethe.metrics.recall import Mask, per_user
from lethe.registry import metric
from lethe.score import Score


@metric(families={"recommender"}, needs={"scores"})
def mrr(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "test",
    k: int = 20,
    mask: Mask = "remaining",
) -> Score:
    """1 over the place of the first relevant item of the first K, per user; 0 where there is none, 0 to 1.

    Args:
        set: Probe set of interactions.
        k: Length of the list.
        mask: What no list holds: remaining (retained items) or full (forgotten ones as well).
    """
    return per_user(evidence, "mrr", "mrr", set, k, mask)
