"""Recall@K of a recommender."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring.ranking import of_places

Mask = Literal["remaining", "full"]
ABOUT_ANYBODY = ("forget", "holdout")  # sets that ask what is still known of a user, not how well they are served


@metric(families={"recommender"}, needs={"scores"})
def recall(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "test",
    k: int = 20,
    mask: Mask = "remaining",
) -> Score:
    """Recall@K per user over the full catalogue without the user's retained items, 0 to 1; CURE4Rec calls it "HR".

    On the forget set its items count as relevant and are not masked; there the ideal is the control's value.

    Args:
        set: Probe set of interactions.
        k: Length of the list.
        mask: What no list holds: remaining (retained items, so that forgotten ones may come back), or full (forgotten
            ones as well, as where the old graph is masked).
    """
    return per_user(evidence, "recall", "recall", set, k, mask)


def per_user(
    evidence: Evidence, metric: str, what: str, set: str, k: int, mask: Mask = "remaining", variant: str = ""
) -> Score:
    """One of the values of `of_places`, averaged over users with relevant items.

    Who has nothing left that could be known of them is not served: they are left out, and `excluded` counts them.
    """
    if k < 1:
        raise InputError(f"{metric}: k is {k}; a list holds at least one item.")
    found = ranks_by_user(evidence, set, mask)
    values = [of_places(ranks, k)[what] for ranks in found.values()]
    named = ".".join(filter(None, (variant, f"at{k}", "full" if mask == "full" else "")))
    direction = "control" if set == "forget" else "higher"
    excluded = len({int(user) for user in evidence.column(set, "user")}) - len(values)
    return score_of_items(metric, values, variant=named, set=set, direction=direction, range=(0, 1), excluded=excluded)


def ranks_by_user(evidence: Evidence, set: str, mask: Mask = "remaining") -> dict[int, np.ndarray]:
    """0-based rank of every relevant item, by user, in a list without retained (full: and without forgotten) items.

    Users of whom nothing is retained are left out, but where they are asked about (forget, holdout).

    Raises:
        InputError: If the forget set is to be masked in its own ranking, or nobody is left.
    """
    ranks = _ranks(evidence, set)
    if set not in ABOUT_ANYBODY and evidence.has("retain"):
        left = {int(user) for user in evidence.column("retain", "user")}
        ranks = {user: own for user, own in ranks.items() if user in left}
        if not ranks:
            raise InputError(f"Nobody in the set {set!r} has a retained interaction; nothing is known of them.")
    if mask == "remaining":
        return ranks
    if set == "forget":
        raise InputError("The forget set masked would be in nobody's list; set mask=remaining.")
    gone = _ranks(evidence, "forget")
    # Both sets are ranked among the same items, so the forgotten ones before an item are those of a smaller rank.
    return {user: own - np.searchsorted(np.sort(gone[user]), own) if user in gone else own
            for user, own in ranks.items()}  # fmt: skip


def _ranks(evidence: Evidence, set: str) -> dict[int, np.ndarray]:
    found: dict[int, list[int]] = defaultdict(list)
    ranks = evidence.per_token(set, what="rank")
    for user, rank in zip(evidence.column(set, "user"), ranks, strict=True):
        found[int(user)].append(int(rank[0]))
    return {user: np.array(values) for user, values in found.items()}
