"""How much more likely the right answer is than wrong ones of the same form."""

from collections.abc import Sequence
from typing import Literal, get_args

from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring import memorization, variants

Kind = Literal["geometric", "arithmetic", "ou"]
Variant = Literal["geometric", "arithmetic", "ou", "knowledge"]


@metric(families={"language"}, needs={"logits"}, paper="2401.06121", variants=get_args(Variant))
def truth_ratio(
    evidence: Evidence, controls: Sequence[Evidence] = (), *, set: str = "forget", variant: Variant = "geometric"
) -> Score:
    """Truth-ratio score, 0 to 1: mean min(R, 1/R) on the forget set, mean max(0, 1 - R) on utility sets.

    R = mean P(wrong) / P(paraphrase), length-normalised. On the forget set the ideal is the control's value, not 1.

    Args:
        set: Probe set; without paraphrases the right answer itself stands in (the two real sets).
        variant: geometric averages the wrong answers' losses (TOFU's logs), arithmetic their probabilities (the paper);
            ou is geometric with open-unlearning's 1e-10 in both divisors; knowledge is its "prob_mean" instead of the
            score, P(paraphrase) / (P(paraphrase) + mean P(wrong)), geometric: 1 = known.
    """
    ratio = ratios(evidence, set, "geometric" if variant == "knowledge" else variant)
    if variant == "knowledge":
        items, direction = memorization.knowledge(ratio), "control" if set == "forget" else "higher"
    elif set == "forget":
        score = variants.truth_ratio_forget_score_ou if variant == "ou" else memorization.truth_ratio_forget_score
        items, direction = score(ratio), "control"
    else:
        items, direction = memorization.truth_ratio_utility_score(ratio), "higher"
    return score_of_items("truth_ratio", items, variant=variant, set=set, direction=direction, range=(0, 1))


def ratios(evidence: Evidence, set: str, kind: Kind) -> memorization.FloatArray:
    """Truth ratio R per item, (N,)."""
    right = evidence.nll(set, "paraphrase" if evidence.has(set, "paraphrase") else "answer")
    wrong = evidence.nll(set, "perturbed")
    return variants.truth_ratio_ou(right, wrong) if kind == "ou" else memorization.truth_ratio(right, wrong, kind=kind)
