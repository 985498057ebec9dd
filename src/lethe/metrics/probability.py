"""Probability of the right answer."""

from collections.abc import Sequence
from typing import Literal

from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring import memorization


@metric(needs={"logits"}, paper="2401.06121", variants=("answer", "options"))
def probability(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    variant: Literal["answer", "options"] = "answer",
) -> Score:
    """Geometric mean of the answer's token probabilities, 0 to 1.

    Args:
        set: Probe set.
        variant: answer is exp(-NLL); options divides by the sum over the right and the wrong answers (utility sets).
    """
    if variant == "options":
        items = memorization.option_probability(evidence.nll(set), evidence.nll(set, "perturbed"))
    else:
        items = memorization.probability(evidence.nll(set))
    direction = "control" if set in ("forget", "holdout") else "higher"
    return score_of_items("probability", items, variant=variant, set=set, direction=direction, range=(0, 1))
