"""Hit rate@K of a recommender."""

from collections.abc import Sequence
from typing import Literal

from lethe.evidence import Evidence
from lethe.metrics.recall import Mask, per_user
from lethe.registry import metric
from lethe.score import Score


@metric(families={"recommender"}, needs={"scores"}, variants=("any", "cure4rec"))
def hit_rate(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "test",
    k: int = 20,
    variant: Literal["any", "cure4rec"] = "any",
    mask: Mask = "remaining",
) -> Score:
    """Share of the users with a relevant item among the first K, 0 to 1; what CURE4Rec calls "HR" is recall.

    Args:
        set: Probe set of interactions.
        k: Length of the list.
        variant: any counts a user with at least one hit as 1; cure4rec is recall, under the name its tables use.
        mask: What no list holds: remaining (retained items) or full (forgotten ones as well).
    """
    return per_user(evidence, "hit_rate", "hit" if variant == "any" else "recall", set, k, mask, variant)
