"""How short a prefix makes the model recite the rest."""

from collections.abc import Sequence
from typing import Literal

from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring import memorization


@metric(families={"language"}, needs={"logits"}, paper="2407.01920", variants=("exact", "ou"))
def extraction_strength(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    variant: Literal["exact", "ou"] = "exact",
) -> Score:
    """1 - k/n with k the shortest answer prefix after which greedy decoding recites the rest, 0 to 1.

    Args:
        set: Probe set.
        variant: exact gives 0 where nothing is recited; ou reproduces open-unlearning's 1/n there.
    """
    hits = evidence.per_token(set, what="hit")
    items = memorization.extraction_strength(hits, ou_compat=variant == "ou")
    direction = "control" if set in ("forget", "holdout") else "higher"
    return score_of_items("extraction_strength", items, variant=variant, set=set, direction=direction, range=(0, 1))
