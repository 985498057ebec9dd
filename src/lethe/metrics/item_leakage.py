"""How many of the forgotten items still stand in somebody's list."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items


@metric(families={"recommender"}, needs={"scores"}, paper="2405.15328")
def item_leakage(
    evidence: Evidence, controls: Sequence[Evidence] = (), *, set: Literal["forget"] = "forget", k: int = 20
) -> Score:
    """Share of the forgotten items that stand among the first K of any observed user, 0 to 1.

    The ideal is the control's value, also of items that nobody has any more: only a filter makes it 0 (see `refusal`).

    Args:
        set: The interactions whose items were to be forgotten.
        k: Length of the list.

    Raises:
        InputError: If no lists were observed, or only shorter ones.
    """
    lists = evidence.rankings.get("items")
    if lists is None or lists.shape[1] < min(k, _catalogue(evidence)):
        raise InputError(f"item_leakage needs everybody's first {k} items; set Spec.top to {k} or more.")
    items = sorted({int(item) for item in evidence.column(set, "item")})
    shown = np.isin(items, lists[:, :k]).astype(float)
    return score_of_items(
        "item_leakage", shown, variant=f"at{k}", set=set, direction="control", range=(0, 1), users=len(lists)
    )


def _catalogue(evidence: Evidence) -> int:
    return evidence.rankings["items"].shape[1] if (evidence.rankings["items"] == -1).any() else np.iinfo(int).max
