"""Zero-retrain forgetting: how much like random weights the model looks."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring import classification

Variant = Literal["paper", "reference"]


@metric(families={"classifier"}, needs={"logits"}, paper="2205.08096", variants=get_args(Variant))
def zrf(
    evidence: Evidence, controls: Sequence[Evidence] = (), *, set: str = "forget", variant: Variant = "paper"
) -> Score:
    """Zero-retrain forgetting, 0 to 1: 1 = predicts as random weights do; the ideal is the control's value, not 1.

    Args:
        set: Records named in `Spec.untrained` and in `Spec.distributions`.
        variant: paper is 1 minus the Jensen-Shannon divergence in bits; reference is the released code, which turns the
            divergence round and divides it by the number of classes, so that all values crowd near 1.

    Raises:
        InputError: If the distributions of the set, or an untrained network on it, were not observed.
    """
    logp = evidence.distribution(set)
    blank = np.exp(evidence.of_untrained(set)[: len(logp)])
    if not logp:
        raise InputError(f"zrf reads the distributions of the set {set!r}; name it in Spec.distributions.")
    own, blank = np.exp(np.concatenate(logp)), np.concatenate(blank)
    if variant == "reference":
        items, least, unit = classification.zrf_reference(own, blank), -np.inf, "nats/class"
    else:
        items, least, unit = np.clip(classification.zrf(own, blank), 0, 1), 0, "bits"
    items = items.reshape(len(logp), -1).mean(axis=1)  # of several labels, their mean
    return score_of_items("zrf", items, variant=variant, set=set, direction="control", range=(least, 1), unit=unit)
