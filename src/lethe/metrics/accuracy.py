"""Classification accuracy."""

from collections.abc import Sequence

import numpy as np

from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items


@metric(families={"classifier"}, needs={"logits"}, variants=("top1", "top2"))
def accuracy(evidence: Evidence, controls: Sequence[Evidence] = (), *, set: str = "forget", top: int = 1) -> Score:
    """Share of records whose label is among the `top` classes, 0 to 1; on the forget set the ideal is the control's.

    Args:
        set: Probe set.
        top: How many classes count as an answer.
    """
    items = np.array([rank[0] < top for rank in evidence.per_token(set, what="rank")], dtype=float)
    direction = "control" if set in ("forget", "holdout") else "higher"
    return score_of_items("accuracy", items, variant=f"top{top}", set=set, direction=direction, range=(0, 1))
