"""Membership attack of the sparsity and saliency papers: what share of the forget set passes for unseen?"""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score
from lethe.scoring import classification
from lethe.scoring.intervals import clopper_pearson

Variant = Literal["confidence", "correctness", "entropy", "modified_entropy", "probabilities"]


@metric(families={"classifier"}, needs={"logits"}, paper="2310.12508", variants=get_args(Variant))
def mia_efficacy(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    retain: str = "retain",
    against: str = "holdout",
    variant: Variant = "confidence",
) -> Score:
    """Share of the forget set that an SVC takes for *unseen*, 0 to 1; the ideal is the control's value.

    The SVC tells retain from unseen records. High = passes for unseen, the opposite of `mia_member_rate`.

    Args:
        set: The records that were to be forgotten.
        retain: Records that the model was trained on; as many as there are unseen ones are taken, from the first.
        against: Records of the same distribution that no model was trained on.
        variant: What the SVC reads: confidence in the true class (as published), correctness, entropy, modified
            entropy, or all probabilities.

    Raises:
        InputError: If a set was not observed, or its distributions were not kept.
    """
    sides = [feature(evidence, name, variant) for name in (retain, against, set)]
    value = classification.mia_efficacy(*sides)
    n = len(sides[-1])
    low, high = clopper_pearson(round(value * n), n)
    return Score(
        "mia_efficacy", variant, set, value, low, high, n, "control", (0, 1),
        detail={"interval": "Clopper-Pearson on the forget records", "against": against, "retain": retain},
    )  # fmt: skip


def feature(evidence: Evidence, name: str, variant: Variant) -> np.ndarray:
    """What is read of every record of a set, (N,) or (N, C)."""
    if variant == "confidence":
        return np.exp(-evidence.nll(name))
    if variant == "correctness":
        return np.array([hit.mean() for hit in evidence.per_token(name, what="hit")])
    logp = evidence.distribution(name)
    if not logp:
        raise InputError(
            f"mia_efficacy.{variant} reads distributions of the set {name!r}; name it in Spec.distributions."
        )
    p = np.exp(np.concatenate(logp))
    p /= p.sum(axis=1, keepdims=True)
    if variant == "modified_entropy":
        labels = evidence.column(name, "label")[: len(p)]
        if len(p) > len(logp) or None in labels:
            raise InputError(f"mia_efficacy.modified_entropy reads one label of every record of the set {name!r}.")
        return classification.modified_entropy(p, [int(label) for label in labels])
    values = classification.entropy(p)[:, None] if variant == "entropy" else p
    values = values.reshape(len(logp), -1)
    return values if variant == "probabilities" else values.mean(axis=1)
