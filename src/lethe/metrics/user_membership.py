"""Membership of whole users, from nothing but their lists."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.metrics.recall import ranks_by_user
from lethe.registry import metric
from lethe.score import Score
from lethe.scoring.interactions import item_vectors
from lethe.scoring.roc import auc, auc_interval

KNOWN, FEWEST = 2000, 5  # users that the attacker learns from: at most, at least
Histories = dict[int, list[int]]


@metric(families={"recommender"}, needs={"scores"}, variants=("places", "lists"))
def user_membership(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    variant: Literal["places", "lists"] = "places",
    k: int = 20,
) -> Score:
    """AUC of telling what forgotten users did from what they never did, user by user; the ideal is the control's value.

    A logistic regression learns from users whose membership is known, and judges forgotten users by the history that
    was to be forgotten and by pairs of the set holdout, which never were.

    Args:
        set: The interactions that were to be forgotten.
        variant: places: mean, first and last place of a history's items in the user's full list, learnt from retained
            interactions against those of the set test; lists (after Zhang et al. 2021): mean vector of a history's
            items minus that of the items recommended, by vectors that the attacker makes of the retained interactions,
            learnt from retained users with their own history against somebody else's.
        k: Length of the lists.

    Raises:
        InputError: If a set was not observed, or too few users are left to learn from.
    """
    for name in (set, "holdout", "retain", *(["test"] if variant == "places" else [])):
        if not evidence.has(name):
            raise InputError(f"user_membership.{variant} needs the set {name!r}, which was not observed.")
    learnt, asked = (_places if variant == "places" else _lists)(evidence, set, k)
    if min(map(len, learnt)) < FEWEST:
        raise InputError(f"user_membership: {len(learnt[0])} known users are too few to learn from; give {FEWEST}.")
    members, never = _judged(learnt, asked)
    low, high = auc_interval(members, never, seed=0)
    named = "places" if variant == "places" else f"lists.at{k}"
    return Score(
        "user_membership", named, set, auc(members, never), low, high, len(members), "control", (0, 1),
        detail={"against": "holdout", "learnt_from": len(learnt[0])},
    )  # fmt: skip


Features = tuple[Sequence[np.ndarray], Sequence[np.ndarray]]  # of known and of other histories, to learn; to judge


def _places(evidence: Evidence, set: str, k: int) -> Features:
    def features(name: str) -> np.ndarray:
        found = [np.log1p(ranks) for ranks in ranks_by_user(evidence, name).values()]
        return np.array([[one.mean(), one.min(), one.max()] for one in found[:KNOWN]])

    known, others, asked, never = (features(name) for name in ("retain", "test", set, "holdout"))
    return (known, others), (asked, never)


def _lists(evidence: Evidence, set: str, k: int) -> Features:
    lists = evidence.rankings.get("items")
    if lists is None:
        raise InputError("user_membership.lists reads everybody's list, and none was observed.")
    shown = dict(zip(evidence.rankings["users"].tolist(), lists[:, :k], strict=True))
    kept, asked, never = (_histories(evidence, name) for name in ("retain", set, "holdout"))
    pairs = [(user, item) for user, items in kept.items() for item in items]
    named = [item for found in (kept, asked, never) for items in found.values() for item in items]
    vectors = item_vectors(pairs, 1 + max(int(lists.max()), *named))
    users = list(kept)[:KNOWN]
    own = {user: kept[user] for user in users}
    others = dict(zip(users, [kept[user] for user in (*users[1:], users[0])], strict=True))
    rows = [_features(found, shown, vectors) for found in (own, others, asked, never)]
    return rows[:2], rows[2:]


def _histories(evidence: Evidence, name: str) -> Histories:
    found: Histories = defaultdict(list)
    for user, item in zip(evidence.column(name, "user"), evidence.column(name, "item"), strict=True):
        if not isinstance(user, int) or not isinstance(item, int):
            raise InputError(f"The records of the set {name!r} name no users and items.")
        found[user].append(item)
    return found


def _features(histories: Histories, shown: dict[int, np.ndarray], vectors: np.ndarray) -> np.ndarray:
    """Size of the difference in every dimension, (U, D): what a history has in common with a list makes it small."""
    rows = []
    for user, items in histories.items():
        listed = shown[user][shown[user] >= 0]
        recommended = vectors[listed].mean(0) if len(listed) else np.zeros(vectors.shape[1])
        rows.append(np.abs(vectors[items].mean(0) - recommended))
    return np.array(rows)


def _judged(learnt: Sequence[np.ndarray], asked: Sequence[np.ndarray]) -> list[np.ndarray]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scale = StandardScaler().fit(np.concatenate(learnt))
    labels = np.repeat([1, 0], [len(rows) for rows in learnt])
    model = LogisticRegression(max_iter=1000).fit(scale.transform(np.concatenate(learnt)), labels)
    return [model.decision_function(scale.transform(rows)) for rows in asked]
