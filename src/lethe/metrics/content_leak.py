"""What a recommender still knows of an item without the item's own embedding."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items


@metric(families={"recommender"}, needs={"scores"}, paper="2405.15328", variants=("share", "score"))
def content_leak(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    variant: Literal["share", "score"] = "share",
) -> Score:
    """How an item stands with its user when its ID embedding is 0; the ideal is the control's value.

    What is left is its content (image, text) and the graph. A new item that is recommended for its content alone is
    legitimate, in a retrained model too: that is why neither 0 nor one half is the ideal.

    Args:
        set: Probe set of interactions whose inside was observed (`Spec.interior`).
        variant: share of the catalogue that the item outranks, 0 to 1, or its score itself.

    Raises:
        InputError: If the set's inside was not observed.
    """
    alone = evidence.inside(set, "alone").astype(np.float64)
    shown, bounds, unit = (
        (alone[:, 1], (0.0, 1.0), "") if variant == "share" else (alone[:, 0], (-np.inf, np.inf), "score")
    )
    return score_of_items(
        "content_leak", shown, variant=variant, set=set, direction="control", range=bounds, unit=unit
    )  # fmt: skip
