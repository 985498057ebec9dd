"""Unlearning accuracy: what papers call the error on the forget set."""

from collections.abc import Sequence

import numpy as np

from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items


@metric(families={"classifier"}, needs={"logits"}, paper="2310.12508")
def unlearning_accuracy(evidence: Evidence, controls: Sequence[Evidence] = (), *, set: str = "forget") -> Score:
    """UA, share of records (or of their several labels) that is wrong, 0 to 1; the ideal is the control's, not 1.

    Args:
        set: The records that were to be forgotten.
    """
    items = np.array([(rank > 0).mean() for rank in evidence.per_token(set, what="rank")])
    return score_of_items("unlearning_accuracy", items, set=set, direction="control", range=(0, 1))
