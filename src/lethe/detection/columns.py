"""The columns of a detection table: one score of every record in, numbers with intervals out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lethe.score import Score
from lethe.scoring import roc
from lethe.scoring.intervals import seed_spread

RATES = (0.01, 0.1)
NAMES = (
    "auc",
    "tpr_below_0.01_fpr",
    "tpr_at_0.01_fpr",
    "tpr_below_0.1_fpr",
    "tpr_at_0.1_fpr",
    "best_balanced_accuracy",
)


@dataclass(frozen=True)
class Column:
    """One column over the targets.

    `sd` divides by their number, as TDDBench prints it. `low` and `high` hold the 95 % t-interval of the mean over the
    targets as well as the mean of the targets' own intervals over their records: few targets that happen to agree are
    no certainty. `resolved` is False where there are too few non-members to see the
    false positive rate.
    """

    name: str
    mean: float
    sd: float
    low: float
    high: float
    targets: int
    resolved: bool


def columns(scores: np.ndarray, member: np.ndarray, *, seed: int = 0) -> tuple[Score, ...]:
    """What a detection table says of one algorithm on one target, in the order of `NAMES`.

    `tpr_below_F_fpr` is the true positive rate where the false one is strictly below F, as TDDBench has it,
    `tpr_at_F_fpr` where it is at most F. Their intervals are what it may be where the true rate is F. The threshold of
    the balanced accuracy is chosen on the same records, so it is optimistic and has no interval.

    Args:
        scores: high = looks like a member, `(A,)`.
        member: whether the target was trained on the record, `(A,)`.
        seed: seed of the bootstrap.

    Raises:
        InputError: If there is no member, no non-member, or a score that is no number.
    """
    own, other = scores[member], scores[~member]
    counts = {"n_against": len(other)}
    low, high = roc.auc_interval(own, other, seed=seed)

    def score(variant: str, value: float, low: float, high: float, **detail: bool) -> Score:
        least = 0.5 if variant == "best_balanced_accuracy" else 0.0
        return Score(
            "membership", variant, "audited", value, low, high, len(own), "control", (least, 1), seed=seed,
            detail=counts | detail,
        )  # fmt: skip

    found = {"auc": score("auc", roc.auc(own, other), low, high)}
    for rate in RATES:
        bounds = roc.tpr_bounds(own, other, rate)
        for variant, inclusive in ((f"tpr_below_{rate:g}_fpr", False), (f"tpr_at_{rate:g}_fpr", True)):
            point = roc.tpr_at_fpr(own, other, rate, inclusive=inclusive)
            found[variant] = score(variant, point.tpr, *bounds, resolved=point.resolved)
    best = roc.best_balanced_accuracy(own, other).balanced_accuracy
    found["best_balanced_accuracy"] = score("best_balanced_accuracy", best, np.nan, np.nan)
    return tuple(found[name] for name in NAMES)


def over_targets(scores: list[tuple[Score, ...]]) -> tuple[Column, ...]:
    """Mean, deviation and interval of every column over the targets."""
    found = []
    for same in zip(*scores, strict=True):
        values = [score.value for score in same]
        low, high = (float(np.mean([getattr(score, end) for score in same])) for end in ("low", "high"))
        if len(values) > 1:
            spread, (least, most) = seed_spread(values), same[0].range
            low, high = max(least, np.fmin(low, spread.low)), min(most, np.fmax(high, spread.high))
        resolved = all(score.detail.get("resolved", True) for score in same)
        mean, sd = float(np.mean(values)), float(np.std(values))
        found.append(Column(same[0].variant, mean, sd, float(low), float(high), len(values), resolved))
    return tuple(found)
