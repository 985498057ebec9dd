"""Whether the model knows how sure it may be."""

from collections.abc import Sequence

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score
from lethe.scoring import calibration


@metric(needs={"logits"}, paper="1706.04599")
def calibration_error(
    evidence: Evidence, controls: Sequence[Evidence] = (), *, set: str = "retain", bins: int = 10
) -> Score:
    """Expected calibration error of the most likely token (class, item) at every place of the answers, 0 to 1.

    0 is best: what is held for 80 % sure is right in 80 % of places. Of records whose distributions were kept.

    Args:
        set: Probe set of what must stay, named in `Spec.distributions`.
        bins: Equally wide bins of the confidence.

    Raises:
        InputError: If no distributions over the set's answers were kept, or of the forget set, where being unsure and
            being wrong are both wanted.
    """
    if set == "forget":
        raise InputError("calibration_error has no ideal on the forget set; ask it of what must stay, as set=retain.")
    kept = [number in evidence.distributions for number in evidence.texts(set)]
    sure = [np.exp(rows.max(axis=1).astype(np.float64)).clip(0, 1) for rows in evidence.distribution(set)]
    if not sure:
        raise InputError(f"calibration_error reads distributions over the answers of {set!r}; name it in the Spec's.")
    right = [hits.astype(float) for hits, one in zip(evidence.per_token(set, what="hit"), kept, strict=True) if one]
    value, (low, high) = calibration.calibration_error(sure, right, bins=bins)
    name = "" if bins == 10 else f"bins{bins}"
    return Score("calibration_error", name, set, value, low, high, len(sure), "lower", (0, 1))
