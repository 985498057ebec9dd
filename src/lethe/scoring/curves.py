"""Published ROC curves: what was reported of them, and the scores that would draw them again."""

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError
from lethe.scoring.arrays import FloatArray, same_shape, vector


def published(fpr: npt.ArrayLike, tpr: npt.ArrayLike, members: int, nonmembers: int) -> dict[str, float]:
    """TDDBench's ten columns of a ROC curve, by their published names (arXiv 2411.03363).

    Accuracy is the best balanced accuracy over thresholds, chosen on the audited records and so optimistic; the counts
    behind precision and recall are cut to whole records (`int`), as released; TPR@f is that of the last point with a
    false positive rate strictly below f.

    Args:
        fpr: false positive rates, rising from 0 to 1, `(T,)`.
        tpr: true positive rates at the same thresholds, `(T,)`.
        members: number of members behind the rates.
        nonmembers: number of non-members.

    Raises:
        InputError: the two differ in length, or hold NaN.
    """
    x, y = _rates(fpr, tpr)
    best = int(np.argmax(1 - (x + (1 - y)) / 2))
    hits, alarms = int(y[best] * members), int(x[best] * nonmembers)
    precision = hits / (hits + alarms) if hits + alarms else 0.0
    recall = hits / members
    return {
        "AUROC": float((np.diff(x) * (y[1:] + y[:-1])).sum() / 2),
        "Accuracy": float(1 - (x[best] + (1 - y[best])) / 2),
        "Precision": precision,
        "Recall": recall,
        "F1-score": 2 * precision * recall / (precision + recall) if hits else 0.0,
        "FNR": float(1 - y[best]),
        "FPR": float(x[best]),
        "Membership advantage": float(y[best] - x[best]),
        "TPR@1%FPR": _last_below(x, y, 0.01),
        "TPR@10%FPR": _last_below(x, y, 0.1),
    }


def unroll(fpr: npt.ArrayLike, tpr: npt.ArrayLike, members: int, nonmembers: int) -> tuple[FloatArray, FloatArray]:
    """Scores that draw a curve: `(M,)` for the members and `(N,)` for the non-members, high = member.

    Records between two points are tied. Where collinear points were dropped (as scikit-learn does) these ties are ours,
    and leave the area as it is.

    Args:
        fpr: false positive rates, rising from 0 to 1, `(T,)`.
        tpr: true positive rates at the same thresholds, `(T,)`.
        members: number of members M behind the rates.
        nonmembers: number of non-members N.

    Raises:
        InputError: the two differ in length, or are not rates of so many records.
    """
    x, y = _rates(fpr, tpr)
    return _spread(y, members, "true positive rates"), _spread(x, nonmembers, "false positive rates")


def _spread(rates: FloatArray, records: int, what: str) -> FloatArray:
    counts = rates * records
    whole = np.rint(counts)
    if np.abs(counts - whole).max() > 1e-6:
        raise InputError(f"ROC curve: its {what} are not those of {records} records; give the labels it was drawn on.")
    drawn = np.diff(whole, prepend=0).astype(np.int64)
    return -np.repeat(np.arange(len(rates), dtype=np.float64), drawn)


def _last_below(fpr: FloatArray, tpr: FloatArray, rate: float) -> float:
    below = np.flatnonzero(fpr < rate)
    return float(tpr[below[-1]]) if below.size else 0.0


def _rates(fpr: npt.ArrayLike, tpr: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    x, y = vector(fpr, "false positive rates"), vector(tpr, "true positive rates")
    same_shape(x, y, "rates of a ROC curve")
    return x, y
