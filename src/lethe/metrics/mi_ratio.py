"""UnlearnRec's two ratios of scores, before and after, and against pairs that never were."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score
from lethe.scoring import interactions


@metric(
    families={"recommender"},
    needs={"scores"},
    paper="2505.22649",
    variants=("bf", "ng"),
    requires={"original"},
)
def mi_ratio(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    original: Evidence | None = None,
    *,
    set: str = "forget",
    variant: Literal["bf", "ng"] = "bf",
) -> Score:
    """MI-BF and MI-NG: how much lower forgotten interactions score, as a ratio of mean sigmoids; 1 = no difference.

    Unbounded, and larger where scores are driven below those of any pair: the ideal is the control's value. Inner
    products are no probabilities, and where they are large a sigmoid hides their differences.

    Args:
        set: The interactions that were to be forgotten.
        variant: bf: before unlearning over after; ng: pairs of the set holdout, which never were, over the forgotten.

    Raises:
        InputError: Without what the variant compares with.
    """
    own = evidence.scored(set)
    if variant == "bf":
        if original is None:
            raise InputError("mi_ratio.bf compares with the model before unlearning; give its evidence.")
        above = original.scored(set)
    else:
        if not evidence.has("holdout"):
            raise InputError("mi_ratio.ng compares with the set 'holdout', which was not observed.")
        above = evidence.scored("holdout")
    low, high = interactions.mi_ratio_interval(above, own, paired=variant == "bf")
    value = interactions.mi_ratio(above, own)
    return Score("mi_ratio", variant, set, value, low, high, len(own), "control", (0, np.inf))
