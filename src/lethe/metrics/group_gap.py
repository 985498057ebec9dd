"""Whom a recommender serves better: the active or the others."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.metrics.recall import ranks_by_user
from lethe.registry import metric
from lethe.score import Score
from lethe.scoring.interactions import active, gini
from lethe.scoring.intervals import percentile, resample
from lethe.scoring.ranking import of_places

GROUPS = 5  # of equal size, by degree


@metric(families={"recommender"}, needs={"scores"}, paper="2408.14393", variants=("gap", "gini"))
def group_gap(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: Literal["test", "retain"] = "test",
    k: int = 20,
    variant: Literal["gap", "gini"] = "gap",
) -> Score:
    """NDCG@K of the most active twentieth of the users minus that of the others, or its Gini over groups.

    The ideal is the control's value: what changes in it is what unlearning has done to one group at another's expense.

    Args:
        set: Interactions on which users are served.
        k: Length of the list.
        variant: gap, -1 to 1: active (top 5 % by retained interactions) minus the others; gini, 0 to 1: over five
            groups of users by degree, 0 = all are served alike.

    Raises:
        InputError: If fewer than two groups can be made of the users.
    """
    degrees = Counter(int(user) for user in evidence.column("retain", "user"))
    found = {user: of_places(ranks, k)["ndcg"] for user, ranks in ranks_by_user(evidence, set).items()}
    users = sorted(found)
    if len(users) < GROUPS:
        raise InputError(f"group_gap: {len(users)} users have interactions in {set!r}; give at least {GROUPS}.")
    values, counts = np.array([found[user] for user in users]), np.array([float(degrees[user]) for user in users])
    if variant == "gap":
        top = active(counts)
        parts = [values[top], values[~top]]
    else:
        order = np.argsort(counts, kind="stable")
        parts = np.array_split(values[order], GROUPS)

    def spread(*drawn: np.ndarray) -> np.ndarray:
        means = np.stack([own @ part / len(part) for own, part in zip(drawn, parts, strict=True)], -1)
        return means[:, 0] - means[:, 1] if variant == "gap" else np.array([gini(row) for row in means])

    value = float(spread(*(np.ones((1, len(part))) for part in parts))[0])
    low, high = percentile(resample([len(part) for part in parts], spread, seed=0))
    bounds = (-1, 1) if variant == "gap" else (0, 1)
    return Score(
        "group_gap", f"{variant}.at{k}", set, value, min(low, value), max(high, value), len(values), "control", bounds,
        detail={"groups": [len(part) for part in parts]},
    )  # fmt: skip
