"""How far a recommender's scores of the forgotten interactions stand from the control's."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring.intervals import percentile, resample


@metric(families={"recommender"}, needs={"scores"}, variants=("edges", "mean"), requires={"control"})
def score_distance(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    variant: Literal["edges", "mean"] = "edges",
) -> Score:
    """Distance of the scores to the mean over the controls, 0 or more, lower is better; what is cut of the target's.

    Args:
        set: The interactions whose scores are compared.
        variant: edges: mean absolute difference per interaction, to which the controls' own noise belongs; mean:
            absolute difference of the mean scores, as in arXiv 2505.22649's claim.

    Raises:
        InputError: Without a control.
    """
    if not controls:
        raise InputError(f"score_distance@{set} needs a control.")
    apart = evidence.scored(set) - np.mean([control.scored(set) for control in controls], axis=0)
    if variant == "edges":
        return score_of_items(
            "score_distance", np.abs(apart), variant="edges", set=set, direction="lower", range=(0, np.inf)
        )
    n = len(apart)
    value = float(abs(apart.mean()))
    low, high = percentile(np.abs(resample([n], lambda counts: counts @ apart / n, seed=0)))
    return Score("score_distance", "mean", set, value, min(low, value), max(high, value), n, "lower", (0, np.inf))
