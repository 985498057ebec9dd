"""What the nearest neighbours in the model's features say of a record's label."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lethe.evidence import Evidence
from lethe.interior import PENULTIMATE
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring.representation import SPLIT_SEED, accuracy_gap, closeness, gap_closed, knn_hits


@metric(families={"classifier"}, paper="2503.06991", requires={"original"})
def knn(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    original: Evidence | None = None,
    *,
    set: str = "retain",
    layer: str = PENULTIMATE,
    k: int = 5,
    split_seed: int = SPLIT_SEED,
) -> Score:
    """Accuracy of k nearest neighbours (cosine) in the features, 0 to 1; the control's value is ideal.

    Neighbours are other records of the same set, four fifths of it, so the labels may be of a task that the model was
    never trained on. The layer that was read stands in the score's name: the released code of the paper reads the
    logits (layer=output), which a change to the last layer alone can move. With two controls and the original, `detail`
    tells how far these are apart, with its standard error, and how much of that gap was closed: nothing where it lies
    within the noise of two seeds of retraining.

    Args:
        set: Records named in `Spec.interior`, 50 or more.
        layer: penultimate (what the last linear layer reads), another layer's name, or output for the logits.
        k: Number of neighbours that vote.
        split_seed: Seed of the division of the set.

    Raises:
        InputError: If the features were not observed, there is no such layer, or the records are too few.
    """
    labels = evidence.column(set, "label")

    def hits(seen: Evidence) -> np.ndarray:
        return knn_hits(seen.layer(set, layer), labels, k=k, seed=split_seed)

    own = hits(evidence)
    detail: dict[str, Any] = {"layer": layer}
    if original is not None and len(controls) > 1:
        first, others = hits(original), [hits(one) for one in controls]
        gap, retrained = accuracy_gap(first, others), float(np.mean(others))
        ends = (closeness(float(one.mean()), retrained) for one in (own, first))
        detail |= {"gap": gap.value, "error": gap.error, "closed": gap_closed(*ends) if gap.told_apart else None}
    told = {"k": (k, 5), "seed": (split_seed, SPLIT_SEED)}
    variant = ".".join([layer, *(f"{name}{value}" for name, (value, usual) in told.items() if value != usual)])
    return score_of_items("knn", own, set=set, variant=variant, direction="control", range=(0, 1), **detail)
