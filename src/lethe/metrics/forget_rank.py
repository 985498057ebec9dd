"""Where forgotten items stand in a recommender's lists."""

from collections.abc import Sequence

import numpy as np

from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items


@metric(families={"recommender"}, needs={"scores"}, paper="2405.15328", variants=("position",))
def forget_rank(evidence: Evidence, controls: Sequence[Evidence] = (), *, set: str = "forget") -> Score:
    """Mean position of the interactions' items in their users' full lists, 0 = top; ideal is the control's value.

    Args:
        set: Probe set of interactions.
    """
    items = np.array([int(rank[0]) for rank in evidence.per_token(set, what="rank")], dtype=float)
    return score_of_items(
        "forget_rank", items, variant="position", set=set, direction="control", range=(0, np.inf), unit="items"
    )
