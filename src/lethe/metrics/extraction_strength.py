"""How short a prefix makes the model recite the rest."""

from collections.abc import Sequence
from typing import Literal, get_args

from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring import memorization

Variant = Literal["exact", "ou", "but_last", "ou.but_last"]


@metric(families={"language"}, needs={"logits"}, paper="2407.01920", variants=get_args(Variant))
def extraction_strength(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    variant: Variant = "exact",
) -> Score:
    """1 - k/n with k the shortest answer prefix after which greedy decoding recites the rest, 0 to 1.

    Args:
        set: Probe set.
        variant: exact gives 0 where nothing is recited, ou reproduces open-unlearning's 1/n there; but_last leaves out
            each answer's last token, and ou.but_last does both, as open-unlearning does.
    """
    hits = evidence.per_token(set, what="hit")
    items = memorization.extraction_strength(
        hits, ou_compat=variant.startswith("ou"), but_last=variant.endswith("but_last")
    )
    direction = "control" if set in ("forget", "holdout") else "higher"
    return score_of_items("extraction_strength", items, variant=variant, set=set, direction=direction, range=(0, 1))
