"""Whether the model still writes text."""

from collections.abc import Sequence

from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring.rouge import ngram_entropy


@metric(needs={"generate"}, paper="2406.10890", variants=("entropy",))
def fluency(evidence: Evidence, controls: Sequence[Evidence] = (), *, set: str = "forget") -> Score:
    """Weighted bi- and trigram entropy of the greedy answers, bits; near 0 means repetition; ideal is the control's.

    Args:
        set: Probe set.
    """
    items = ngram_entropy(evidence.generated(set))
    return score_of_items(
        "fluency", items, variant="entropy", set=set, direction="control", range=(0, float("inf")), unit="bits"
    )
