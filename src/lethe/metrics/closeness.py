"""How close a class-unlearned classifier is to a retrained one, by its logits and by its features."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.interior import PENULTIMATE
from lethe.registry import metric
from lethe.score import Score
from lethe.scoring import representation
from lethe.scoring.representation import knn_hits
from lethe.scoring.similarity import cka

Variant = Literal["h_lr", "agl", "agr"]
LOGITS = ("forget", "retain", "holdout", "test")  # FA, RA, TFA and TRA


@metric(families={"classifier"}, paper="2503.06991", variants=get_args(Variant), requires={"control"})
def closeness(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    downstream: tuple[str, ...] = ("retain",),
    variant: Variant = "h_lr",
) -> Score:
    """Closeness to the controls by logits and by downstream features, 0 to 1; our definition under the paper's names.

    AGL is the mean of 1 - |accuracy - control's| over forget, retain, holdout and test, as far as they were observed;
    AGR the mean over the downstream sets of the same of k-NN accuracies, and of debiased CKA; H-LR their harmonic mean.
    A mean hides which of its parts is off, and a control's own value is below 1.

    Args:
        set: The forget set.
        downstream: Sets named in `Spec.interior`, separated by commas.
        variant: h_lr, agl or agr.

    Raises:
        InputError: Without a control, or if the features of a downstream set were not observed.
    """
    if not controls:
        raise InputError("closeness compares with the controls; give the evidence of one or more.")
    sets = [set, *(name for name in LOGITS[1:] if evidence.has(name) and name != set)]
    own, others = _accuracies(evidence, sets), np.mean([_accuracies(one, sets) for one in controls], axis=0)
    logits = representation.agl(own, others.tolist())
    near, retrained = _neighbours(evidence, downstream), [_neighbours(one, downstream) for one in controls]
    alike = [
        float(np.mean([cka(evidence.layer(name, PENULTIMATE), one.layer(name, PENULTIMATE)) for one in controls]))
        for name in downstream
    ]
    features = representation.agr(near, np.mean(retrained, axis=0).tolist(), alike)
    values = {"agl": logits, "agr": features, "h_lr": representation.h_lr(logits, features)}
    unknown = float("nan")
    return Score(
        "closeness", variant, set, values[variant], unknown, unknown, len(evidence.nll(set)), "higher", (0, 1),
        detail={**values, "sets": sets, "downstream": list(downstream), "knn": near, "cka": alike},
    )  # fmt: skip


def _accuracies(evidence: Evidence, sets: Sequence[str]) -> list[float]:
    return [float(np.mean([hit[0] for hit in evidence.per_token(name, what="hit")])) for name in sets]


def _neighbours(evidence: Evidence, sets: Sequence[str]) -> list[float]:
    return [float(knn_hits(evidence.layer(n, PENULTIMATE), evidence.column(n, "label")).mean()) for n in sets]
