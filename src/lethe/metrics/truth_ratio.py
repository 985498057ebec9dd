"""How much more likely the right answer is than wrong ones of the same form."""

from collections.abc import Sequence
from typing import Literal

from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring import memorization

Kind = Literal["geometric", "arithmetic"]


@metric(families={"language"}, needs={"logits"}, paper="2401.06121", variants=("geometric", "arithmetic"))
def truth_ratio(
    evidence: Evidence, controls: Sequence[Evidence] = (), *, set: str = "forget", variant: Kind = "geometric"
) -> Score:
    """Truth-ratio score, 0 to 1: mean min(R, 1/R) on the forget set, mean max(0, 1 - R) on utility sets.

    R = mean P(wrong) / P(paraphrase), length-normalised. On the forget set the ideal is the control's value, not 1.

    Args:
        set: Probe set; without paraphrases the right answer itself stands in (the two real sets).
        variant: geometric averages the wrong answers' losses (TOFU's logs), arithmetic their probabilities (the paper).
    """
    ratio = ratios(evidence, set, variant)
    if set == "forget":
        items, direction = memorization.truth_ratio_forget_score(ratio), "control"
    else:
        items, direction = memorization.truth_ratio_utility_score(ratio), "higher"
    return score_of_items("truth_ratio", items, variant=variant, set=set, direction=direction, range=(0, 1))


def ratios(evidence: Evidence, set: str, kind: Kind) -> memorization.FloatArray:
    """Truth ratio R per item, (N,)."""
    right = evidence.nll(set, "paraphrase" if evidence.has(set, "paraphrase") else "answer")
    return memorization.truth_ratio(right, evidence.nll(set, "perturbed"), kind=kind)
