"""Membership attack of bad teacher and SSD: what share of the forget set passes for training data?"""

from collections.abc import Sequence

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score
from lethe.scoring import classification
from lethe.scoring.intervals import clopper_pearson


@metric(families={"classifier"}, needs={"logits"}, paper="2205.08096", variants=("entropy",))
def mia_member_rate(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    retain: str = "retain",
    against: str = "holdout",
) -> Score:
    """Share of the forget set that a logistic model of entropy takes for *members*, 0 to 1; ideal: the control's value.

    High = passes for training data, the opposite of `mia_efficacy`.

    Args:
        set: The records that were to be forgotten.
        retain: Records that the model was trained on.
        against: Records of the same distribution that no model was trained on.

    Raises:
        InputError: If a set was not observed, or its distributions were not kept.
    """
    sides = [_entropy(evidence, name) for name in (retain, against, set)]
    value = classification.mia_member_rate(*sides)
    n = len(sides[-1])
    low, high = clopper_pearson(round(value * n), n)
    return Score(
        "mia_member_rate", "entropy", set, value, low, high, n, "control", (0, 1),
        detail={"interval": "Clopper-Pearson on the forget records", "against": against, "retain": retain},
    )  # fmt: skip


def _entropy(evidence: Evidence, name: str) -> np.ndarray:
    evidence.texts(name)
    logp = evidence.distribution(name)
    if not logp:
        raise InputError(f"mia_member_rate reads distributions of the set {name!r}; name it in Spec.distributions.")
    p = np.exp(np.concatenate(logp))
    values = classification.entropy(p / p.sum(axis=1, keepdims=True))
    return values.reshape(len(logp), -1).mean(axis=1)  # of several labels, their mean
