"""Euclidean distance of the predictions from the control's."""

from collections.abc import Sequence

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring import divergence


@metric(families={"classifier"}, needs={"logits"}, paper="2012.13431", requires={"control"})
def activation_distance(evidence: Evidence, controls: Sequence[Evidence] = (), *, set: str = "forget") -> Score:
    """Distance of predicted probabilities from the control's, mean L2 norm, 0 to 1.42: 0 = the same, lower is better.

    The mean over all controls. Papers call it activation distance, though it is one of outputs.

    Args:
        set: Records named in `Spec.distributions`.

    Raises:
        InputError: Without a control, or where the distributions were not kept.
    """
    own = evidence.distribution(set)
    if not controls or not own:
        raise InputError(f"activation_distance@{set} needs a control and the distributions of the set {set!r}.")
    p = np.exp(np.concatenate(own))
    apart = [
        divergence.activation_distance(p, np.exp(np.concatenate(control.distribution(set)))) for control in controls
    ]
    items = np.mean(apart, axis=0).reshape(len(own), -1).mean(axis=1)  # of several labels, their mean
    return score_of_items(
        "activation_distance", items, set=set, direction="lower", range=(0, 2**0.5),
        controls=len(controls),
    )  # fmt: skip
