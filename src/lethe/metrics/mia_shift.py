"""What unlearning did to texts about a target, beyond what it did to other texts."""

from collections.abc import Sequence
from typing import get_args

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.metrics.mia_mean import SHARE, Variant, losses, named
from lethe.registry import metric
from lethe.score import Score
from lethe.scoring.intervals import percentile, resample
from lethe.scoring.rwku import membership_shift


@metric(
    families={"language"}, needs={"logits"}, paper="2406.10890", variants=get_args(Variant), requires={"original"}
)  # fmt: skip
def mia_shift(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    original: Evidence | None = None,
    *,
    set: str = "forget",
    against: str = "retain",
    variant: Variant = "loss",
    k: float = SHARE,
) -> Score:
    """Rise of the loss on texts about the targets less that on other texts; 0 for the original, ideal the control's.

    The corrected reading of RWKU's FM and RM. The interval resamples the texts of both sets.

    Args:
        set: Texts about the targets.
        against: Texts about others.
        variant: As in mia_mean.
        k: Share of the lowest tokens for Min-K, 0 to 1.

    Raises:
        InputError: Without the original model's evidence, or where one of the sets was not observed.
    """
    if original is None:
        raise InputError("mia_shift compares with the model before unlearning; give the original's evidence.")
    after, before = ([losses(one, name, variant, k) for name in (set, against)] for one in (evidence, original))
    (forget, retain), (forget_before, retain_before) = ([side.mean() for side in sides] for sides in (after, before))
    value = membership_shift(
        forget=forget, retain=retain, forget_before=forget_before, retain_before=retain_before
    )  # fmt: skip
    rises = [now - then for now, then in zip(after, before, strict=True)]
    sizes = [len(rise) for rise in rises]
    draws = resample(
        sizes, lambda f, r: f @ rises[0] / sizes[0] - r @ rises[1] / sizes[1], seed=0
    )  # fmt: skip
    low, high = percentile(draws)
    return Score(
        "mia_shift", named(variant, k), set, value, low, high, sizes[0], "control", (-np.inf, np.inf),
        detail={"against": against, "n_against": sizes[1]},
    )  # fmt: skip
