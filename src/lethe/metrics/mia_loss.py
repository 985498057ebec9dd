"""The loss-threshold attack of MUFAC."""

from collections.abc import Sequence

from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score
from lethe.scoring.classification import mia_loss_logistic
from lethe.scoring.intervals import clopper_pearson


@metric(families={"classifier"}, needs={"logits"}, paper="2311.02240", variants=("logistic",))
def mia_loss(
    evidence: Evidence, controls: Sequence[Evidence] = (), *, set: str = "forget", against: str = "holdout"
) -> Score:
    """Cross-validated accuracy of telling forget from unseen losses, 0 to 1; ideal is the control's value (near 0.5).

    Args:
        set: The records that were to be forgotten.
        against: Records of the same distribution that no model was trained on.
    """
    forget, unseen = evidence.nll(set), evidence.nll(against)
    value = mia_loss_logistic(forget, unseen)
    n = min(len(forget), len(unseen)) * 2
    low, high = clopper_pearson(round(value * n), n)
    return Score(
        "mia_loss", "logistic", set, value, low, high, n, "control", (0, 1),
        detail={"interval": "Clopper-Pearson on the pooled records", "against": against},
    )  # fmt: skip
