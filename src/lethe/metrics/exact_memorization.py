"""Share of tokens recited."""

from collections.abc import Sequence
from typing import Literal

from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring import memorization


@metric(needs={"logits"}, paper="2506.12618", variants=("all", "but_last"))
def exact_memorization(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    variant: Literal["all", "but_last"] = "all",
) -> Score:
    """Share of answer tokens whose teacher-forced argmax is right, 0 to 1; ideal is the control's value.

    Args:
        set: Probe set.
        variant: all counts every scored token; but_last leaves out each answer's last, as open-unlearning does (it
            means the end of sequence; texts without one lose a real token, answers of one token are left out).
    """
    hits = evidence.per_token(set, what="hit")
    items = memorization.exact_memorization(hits, but_last=variant == "but_last")
    direction = "control" if set in ("forget", "holdout") else "higher"
    return score_of_items("exact_memorization", items, variant=variant, set=set, direction=direction, range=(0, 1))
