"""How far a model's confidence lies from its accuracy."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError
from lethe.scoring.arrays import FloatArray, ragged
from lethe.scoring.intervals import Interval, percentile, resample


def calibration_error(
    confidence: Sequence[npt.ArrayLike], right: Sequence[npt.ArrayLike], *, bins: int = 10, seed: int = 0
) -> tuple[float, Interval]:
    """Expected calibration error (arXiv 1706.04599) with its bootstrap interval over items; lower is better, 0 to 1.

    The mean over equally wide bins of |share right - mean confidence|, weighted by how many guesses fall into each.

    Args:
        confidence: per item the probabilities of its guesses, N arrays `(T_i,)` in 0..1.
        right: per item whether each guess was right, as `confidence`.
        bins: number of bins.
        seed: seed of the interval.

    Raises:
        InputError: items of unlike lengths, no item, or a number of bins below 1.
    """
    sure, hit = ragged(confidence, "confidences"), ragged(right, "hits")
    if bins < 1 or [len(one) for one in sure] != [len(one) for one in hit]:
        raise InputError(
            f"calibration error: {bins} bins, or hits that do not fit the confidences; give one per guess."
        )
    sums = np.stack([_by_bin(one, other, bins) for one, other in zip(sure, hit, strict=True)])  # (N, 2, bins)

    def error(counts: FloatArray) -> FloatArray:
        gap, size = np.einsum("bn,nkj->kbj", counts, sums)
        return np.abs(gap).sum(-1) / size.sum(-1)

    low, high = percentile(resample([len(sums)], error, seed=seed))
    return float(error(np.ones((1, len(sums))))[0]), Interval(low, high)


def _by_bin(confidence: FloatArray, right: FloatArray, bins: int) -> FloatArray:
    """Of one item: hits less confidences, and guesses, per bin (2, bins)."""
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gap, size = np.bincount(place, right - confidence, bins), np.bincount(place, minlength=bins)
    return np.stack([gap, size]).astype(np.float64)
