"""How much the forget data still pull at the weights."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items

Variant = Literal["forget", "relative", "fisher"]


@metric(needs={"nll"}, paper="2506.09227", variants=get_args(Variant))
def gradient_mass(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    against: str = "holdout",
    variant: Variant = "forget",
) -> Score:
    """Length of the gradient of a record's mean token loss over all weights; the ideal is the control's value.

    Near 0 the records are fitted as training data are. Far above the control they are pushed away: a model that never
    saw them has no such slope, and one step down it brings them back.

    Args:
        set: Records named in `Spec.gradients`.
        against: Records never trained on, for `relative`.
        variant: forget: the mean length; relative: its natural logarithm less that of the set `against`, free of the
            model's own scale; fisher: the mean square, the trace of the empirical Fisher matrix.

    Raises:
        InputError: If the gradients of a set that is read were not observed.
    """
    items = _lengths(evidence, set)
    detail = {}
    if variant == "fisher":
        items = items**2
    elif variant == "relative":
        other = _lengths(evidence, against)
        items = np.log(items) - np.log(other).mean()
        detail = {"against": against, "n_against": len(other)}
    return score_of_items(
        "gradient_mass", items, variant=variant, set=set, direction="control",
        range=(-np.inf if variant == "relative" else 0, np.inf),
        unit={"forget": "nats per unit of weight", "relative": "log ratio", "fisher": "squared nats"}[variant],
        **detail,
    )  # fmt: skip


def _lengths(evidence: Evidence, name: str) -> np.ndarray:
    """Norm of each record's gradient over all tensors together, (N,); 1e-12 stands for none at all."""
    return np.maximum(np.linalg.norm(evidence.gradient_norms(name), axis=1), 1e-12)
