"""Classification accuracy."""

from collections.abc import Sequence

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items


@metric(families={"classifier"}, needs={"logits"}, variants=("top1", "top2"))
def accuracy(evidence: Evidence, controls: Sequence[Evidence] = (), *, set: str = "forget", top: int = 1) -> Score:
    """Share of records whose label is among the `top` classes, 0 to 1; on the forget set the ideal is the control's.

    Of records with several yes-or-no labels the mean over these of each one's accuracy.

    Args:
        set: Probe set.
        top: How many classes count as an answer.

    Raises:
        InputError: If `top` is above 1 and the labels are yes or no: every answer would count.
    """
    ranks = evidence.per_token(set, what="rank")
    if top > 1 and any(len(own) > 1 for own in ranks):
        raise InputError(f"accuracy: top={top} of yes-or-no labels is always 1; use top=1.")
    items = np.array([(own < top).mean() for own in ranks])
    direction = "control" if set in ("forget", "holdout") else "higher"
    return score_of_items("accuracy", items, variant=f"top{top}", set=set, direction=direction, range=(0, 1))
