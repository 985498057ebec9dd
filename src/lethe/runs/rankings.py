"""The lists of some users of a recommender, kept for the report: the same users for every model that is compared."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from lethe.evidence import Evidence
from lethe.task import Task

ASKED, OTHERS, SHOWN = 6, 2, 10  # users that lose something, users that lose nothing, and the length of their lists
NAMES = ("title", "item_name", "name")  # fields of a record that say what its item is called


def users_of(task: Task) -> tuple[dict[str, Any], ...]:
    """Some users, each with what they are to forget, the number of what is retained, and names of items.

    Args:
        task: A recommender's; of any other family there are no lists.
    """
    if task.family != "recommender":
        return ()
    gone, kept = defaultdict(list), defaultdict(list)
    for found, name in ((gone, "forget"), (kept, "retain")):
        for record in task.probes[name]:
            found[int(record["user"])].append(int(record["item"]))
    rng = np.random.default_rng([task.request.seed, 41])
    asked, others = (rng.permutation(sorted(side)).tolist() for side in (gone, kept.keys() - gone.keys()))
    return tuple(
        {"user": user, "forgotten": sorted(set(gone.get(user, ()))), "retained": len(kept.get(user, ()))}
        for user in (*asked[:ASKED], *others[:OTHERS])
    )


def names_of(task: Task) -> dict[str, str]:
    """What items are called, by their id, where records say so."""
    if task.family != "recommender":
        return {}
    records = [record for records in task.probes.values() for record in records]
    field = next((name for name in NAMES if records and name in records[0]), "")
    return {str(record["item"]): str(record[field]) for record in records if field in record} if field else {}


def lists_of(task: Task, evidence: Evidence) -> dict[str, list[int]]:
    """The first items of these users' lists under one model, by user."""
    shown = evidence.rankings
    if not shown:
        return {}
    rows = dict(zip(shown["users"].tolist(), shown["items"], strict=True))
    listed = {one["user"]: rows[one["user"]][:SHOWN].tolist() for one in users_of(task) if one["user"] in rows}
    return {str(user): [item for item in items if item >= 0] for user, items in listed.items()}
