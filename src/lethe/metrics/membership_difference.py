"""Who sees both models, before and after: can they tell what was forgotten?"""

from collections.abc import Sequence

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score
from lethe.scoring.roc import auc, auc_interval


@metric(needs={"logits"}, paper="1912.07942", requires={"original"})
def membership_difference(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    original: Evidence | None = None,
    *,
    set: str = "forget",
    against: str = "holdout",
) -> Score:
    """AUC of telling forget from holdout records by how much their loss rose since the original, 0 to 1.

    1: whoever keeps the old model reads off the new one what was deleted. A retrained control gives that away as well,
    so its value is the ideal, and 0.5 says that nothing has changed.

    Args:
        set: The records that were to be forgotten.
        against: Records of the same distribution that no model was trained on.

    Raises:
        InputError: Without the original model's evidence, or where there is no holdout set.
    """
    if original is None:
        raise InputError(
            "membership_difference compares with the model before unlearning; give the original's evidence."
        )
    if not evidence.has(against):
        raise InputError(f"membership_difference needs the set {against!r}: records that were never trained on.")
    forget, unseen = (evidence.nll(name) - original.nll(name) for name in (set, against))
    low, high = auc_interval(forget, unseen, seed=0)
    return Score(
        "membership_difference", "loss", set, auc(forget, unseen), low, high, len(forget), "control", (0, 1),
        detail={"against": against, "n_against": len(unseen)},
    )  # fmt: skip
