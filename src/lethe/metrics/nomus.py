"""MUFAC's score of utility and forgetting in one."""

from collections.abc import Sequence

import numpy as np

from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score
from lethe.scoring import classification


@metric(families={"classifier"}, needs={"logits"}, paper="2311.02240")
def nomus(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    test: str = "test",
    against: str = "holdout",
) -> Score:
    """NoMUS, half of the test accuracy U plus half of 1 - 2|m - 0.5|, 0 to 1; the ideal is the control's value.

    No distance to the control: random weights, blind to everything, score 0.5 + U / 2. `detail` holds U, the attack's
    accuracy m, on which side the forget losses lie (a raised loss gives a record away as well), and what a random
    classifier of as many classes scores. Of several labels U is the mean share that is right.

    Args:
        set: The records that were to be forgotten.
        test: Records of the task.
        against: Records of the same distribution as the forget set that no model was trained on.

    Raises:
        InputError: Where a set was not observed, or is too small for the attack.
    """
    utility = float(np.mean([hit.mean() for hit in evidence.per_token(test, what="hit")]))
    forget, unseen = evidence.nll(set), evidence.nll(against)
    m = classification.mia_loss_logistic(forget, unseen)
    labels = [label for name in evidence.sets() for label in evidence.column(name, "label")]
    classes = 2 if None in labels else 1 + max(map(int, labels))  # several labels are a yes or no each
    return Score(
        "nomus", "", set, classification.nomus(utility, m), np.nan, np.nan, len(forget), "control", (0, 1),
        detail={
            "U": utility, "m": m, "forget loss": "higher" if np.median(forget) > np.median(unseen) else "lower",
            "random classifier": classification.nomus(1 / classes, 0.5), "against": against,
        },
    )  # fmt: skip
