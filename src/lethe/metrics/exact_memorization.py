"""Share of tokens recited."""

from collections.abc import Sequence

from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring import memorization


@metric(needs={"logits"}, paper="2506.12618")
def exact_memorization(evidence: Evidence, controls: Sequence[Evidence] = (), *, set: str = "forget") -> Score:
    """Share of answer tokens whose teacher-forced argmax is right, 0 to 1; ideal is the control's value.

    Args:
        set: Probe set.
    """
    items = memorization.exact_memorization(evidence.per_token(set, what="hit"))
    direction = "control" if set in ("forget", "holdout") else "higher"
    return score_of_items("exact_memorization", items, set=set, direction=direction, range=(0, 1))
