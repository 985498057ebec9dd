"""Membership of single interactions, by a recommender's own score."""

from collections.abc import Sequence
from typing import Literal

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score
from lethe.scoring.roc import auc, auc_interval

AGAINST = {"unseen": "holdout", "test": "test"}


@metric(families={"recommender"}, needs={"scores"}, variants=("unseen", "test"))
def edge_membership(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    variant: Literal["unseen", "test"] = "unseen",
) -> Score:
    """AUC of telling forgotten interactions from others by their score alone, 0 to 1; the ideal is the control's value.

    That ideal is far above 0.5 against pairs that never were: what somebody likes can be told from the rest.

    Args:
        set: The interactions that were to be forgotten.
        variant: unseen: against pairs of the set holdout, which never were and whose users and items are as popular;
            test: against interactions that are real and that no model was trained on.

    Raises:
        InputError: If the set to compare with was not observed.
    """
    against = AGAINST[variant]
    if not evidence.has(against):
        raise InputError(f"edge_membership.{variant} compares with the set {against!r}, which was not observed.")
    members, others = evidence.scored(set), evidence.scored(against)
    low, high = auc_interval(members, others, seed=0)
    return Score(
        "edge_membership", variant, set, auc(members, others), low, high, len(members), "control", (0, 1),
        detail={"against": against, "n_against": len(others)},
    )  # fmt: skip
