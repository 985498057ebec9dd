"""NDCG@K of a recommender."""

from collections.abc import Sequence
from typing import Literal

from lethe.evidence import Evidence
from lethe.metrics.recall import Mask, per_user
from lethe.registry import metric
from lethe.score import Score


@metric(families={"recommender"}, needs={"scores"}, variants=("truncated", "cure4rec"))
def ndcg(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "test",
    k: int = 20,
    variant: Literal["truncated", "cure4rec"] = "truncated",
    mask: Mask = "remaining",
) -> Score:
    """NDCG@K per user over the full catalogue without the user's retained items, 0 to 1.

    Args:
        set: Probe set of interactions.
        k: Length of the list.
        variant: truncated divides by the best list of K; cure4rec by an ideal over all relevant items (stays below 1).
        mask: What no list holds: remaining (retained items) or full (forgotten ones as well).
    """
    return per_user(evidence, "ndcg", "ndcg" if variant == "truncated" else "ndcg.cure4rec", set, k, mask, variant)
