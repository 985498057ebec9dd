"""Average gap: the papers' one number over forgetting, utility and membership."""

from collections.abc import Sequence

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score
from lethe.scoring import classification


@metric(families={"classifier"}, needs={"logits"}, paper="2310.12508", requires={"control"})
def average_gap(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    retain: str = "retain",
    test: str = "test",
    against: str = "holdout",
) -> Score:
    """Mean of |metric - control's| over UA, RA, TA and MIA-efficacy, 0 to 1: 0 = the control's, lower is better.

    The control's value of each is the mean over all controls; `detail` holds the four. Four gaps are no sample, so
    there is no interval: read it beside what controls score against each other.

    Args:
        set: The records that were to be forgotten.
        retain: Records that the model was trained on.
        test: Records of the task.
        against: Unseen records like the forget set, which the membership attack learns from.

    Raises:
        InputError: Without a control, or where a set was not observed.
    """
    if not controls:
        raise InputError("average_gap compares with models that never saw the forget set; give their evidence.")
    own, *others = (_four(one, set, retain, test, against) for one in (evidence, *controls))
    theirs = np.mean(others, axis=0)
    gaps = np.abs(own - theirs)
    named = zip(("UA", "RA", "TA", "MIA"), own.tolist(), theirs.tolist(), strict=True)
    return Score(
        "average_gap", "", set, classification.average_gap(own, theirs), np.nan, np.nan, len(gaps), "lower", (0, 1),
        items=tuple(gaps.tolist()), detail={name: [a, b] for name, a, b in named},
    )  # fmt: skip


def _four(evidence: Evidence, forget: str, retain: str, test: str, against: str) -> np.ndarray:
    right = [np.mean([hit.mean() for hit in evidence.per_token(name, what="hit")]) for name in (forget, retain, test)]
    sure = [np.exp(-evidence.nll(name)) for name in (retain, against, forget)]
    return np.array([1 - right[0], *right[1:], classification.mia_efficacy(*sure)])
