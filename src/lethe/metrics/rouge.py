"""Overlap of the generated with the right answer."""

from collections.abc import Sequence
from typing import Literal, get_args

from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring.rouge import overlap

Variant = Literal["rougeL_recall.stem", "rougeL_f1", "rougeL_f1.stem", "rougeL_recall", "rougeL_recall.rwku"]
STEMMED: Variant = "rougeL_recall.stem"


@metric(
    needs={"generate"},
    paper="2401.06121",
    variants=get_args(Variant),
)
def rouge(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    variant: Variant = "rougeL_recall.stem",
) -> Score:
    """ROUGE-L of the greedy answer, 0 to 1; the variant says tokenizer, stemming and what is reported.

    Args:
        set: Probe set.
        variant: rougeL_recall.stem is TOFU's, rougeL_f1 muse_bench's, rougeL_recall.rwku RWKU's.
    """
    items = overlap(variant, evidence.generated(set), [str(text) for text in evidence.column(set, "answer")])
    direction = "control" if set in ("forget", "holdout") else "higher"
    return score_of_items("rouge", items, variant=variant, set=set, direction=direction, range=(0, 1))
