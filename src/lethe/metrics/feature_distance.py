"""How far the model's features lie from a retrained model's, whatever the basis."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.interior import PENULTIMATE
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring.representation import aligned_distance

Variant = Literal["control", "original"]


@metric(
    families={"classifier"},
    paper="2503.06991",
    variants=get_args(Variant),
    requires={"control", "original"},
)
def feature_distance(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    original: Evidence | None = None,
    *,
    set: str = "forget",
    variant: Variant = "control",
    layer: str = PENULTIMATE,
) -> Score:
    """Distance of features after the best rotation, found on the other half of the records: 0 = equal, 1 = unrelated.

    Both sides are centred and of one size, so basis, scale and offset do not count. Two seeds of one recipe are far
    from 0: read a control's own value, which is against the other controls, and first of all the target's.

    Args:
        set: Records named in `Spec.interior`.
        variant: control: to the controls, a mean over them; original: to the model before unlearning.
        layer: penultimate (what the last linear layer reads), another layer's name, or output for the logits.

    Raises:
        InputError: Without the other model's evidence, if the features were not observed, or do not differ.
    """
    others = controls if variant == "control" else [original] if original else []
    if not others:
        raise InputError(f"feature_distance.{variant} compares with the {variant}; give its evidence.")
    own = evidence.layer(set, layer)
    items = np.mean([aligned_distance(own, other.layer(set, layer)) for other in others], axis=0)
    return score_of_items(
        "feature_distance", items, set=set, variant=variant if layer == PENULTIMATE else f"{variant}.{layer}",
        direction="lower" if variant == "control" else "control", range=(0, 2), layer=layer,
    )  # fmt: skip
