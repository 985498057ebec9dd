"""Whether a recommender still holds what it was to forget, whom it serves worse, and when a dear preparation pays."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError
from lethe.scoring.arrays import FloatArray, vector
from lethe.scoring.intervals import Interval, percentile, resample

LEAST = 1e-8  # of a denominator, as published
OVERSAMPLED, POWERS = 8, 12  # directions beyond those asked for, and multiplications, of a randomised SVD
ACTIVE = 0.05  # share of the users with the most interactions that count as active


def mi_ratio(above: npt.ArrayLike, below: npt.ArrayLike) -> float:
    """Mean sigmoid of the one scores over that of the others, above 0 and unbounded (arXiv 2505.22649).

    MI-BF divides the scores of the forgotten interactions before unlearning by those after, MI-NG those of
    interactions that never were by those of the forgotten ones. Both reward scores driven below anything that a model
    would give that never saw them: read them beside the control's.

    Args:
        above: scores, `(N,)`; inner products, which a sigmoid makes no probabilities.
        below: scores, `(M,)`.
    """
    return float(_sigmoid(above).mean() / max(_sigmoid(below).mean(), LEAST))


def mi_ratio_interval(above: npt.ArrayLike, below: npt.ArrayLike, *, paired: bool, seed: int = 0) -> Interval:
    """Percentile bootstrap interval of `mi_ratio`; paired where both are scores of the same interactions."""
    own, other = _sigmoid(above), _sigmoid(below)

    def ratio(drawn: npt.NDArray[np.int64], again: npt.NDArray[np.int64] | None = None) -> FloatArray:
        second = drawn if again is None else again
        return (drawn @ own / len(own)) / np.maximum(second @ other / len(other), LEAST)

    return percentile(resample([len(own)] if paired else [len(own), len(other)], ratio, seed=seed))


def _sigmoid(scores: npt.ArrayLike) -> FloatArray:
    values = vector(scores, "scores")
    return np.exp(-np.logaddexp(0.0, -values))  # no overflow, whatever the score


def active(degrees: npt.ArrayLike, share: float = ACTIVE) -> npt.NDArray[np.bool_]:
    """Which users are the most active: that share of them, at least one, ties to the earlier; `(U,)`.

    Args:
        degrees: number of a user's training interactions, `(U,)`.
        share: share of the users, 0..1.
    """
    counts = vector(degrees, "degrees")
    order = np.argsort(-counts, kind="stable")
    chosen = np.zeros(len(counts), dtype=bool)
    chosen[order[: max(1, int(share * len(counts)))]] = True
    return chosen


def gini(values: npt.ArrayLike) -> float:
    """Gini coefficient of values of 0 or more: 0 where all are equal, 1 - 1/n where one has everything; 0 of zeros."""
    own = np.sort(vector(values, "values"))
    if own[0] < 0:
        raise InputError(f"gini: a value is {own[0]:g}; give values of 0 or more.")
    if not own.sum():
        return 0.0
    n = len(own)
    return float((2 * np.arange(1, n + 1) - n - 1) @ own / (n * own.sum()))


class Efficiency(NamedTuple):
    """What a request costs beside retraining."""

    speedup: float  # seconds of retraining over seconds of a request
    break_even: float  # requests after which the preparation has paid; infinite where a request is no cheaper


def efficiency(request: float, retraining: float, preparation: float = 0.0) -> Efficiency:
    """Speed-up of one request, and the number of requests that pay for what was prepared once.

    The count is T_pre / (T_retrain - T_request) (arXiv 2505.22649 reports pre-training apart).

    Args:
        request: seconds that one request takes.
        retraining: seconds that training again takes.
        preparation: seconds spent once, before any request: pre-training, a partition, stored updates.

    Raises:
        InputError: a time that is negative or not finite, or a request that takes none.
    """
    times = (request, retraining, preparation)
    if not all(math.isfinite(time) and time >= 0 for time in times) or request == 0:
        raise InputError(f"efficiency: the times are {times} s; give finite ones of 0 or more, the request's above 0.")
    saved = retraining - request
    return Efficiency(retraining / request, preparation / saved if saved > 0 else math.inf if preparation else 0.0)


def item_vectors(pairs: Sequence[tuple[int, int]], items: int, dim: int = 16) -> FloatArray:
    """Vectors of items that who knows the interactions can make without any model, (I, D): a truncated SVD.

    Rows of users and columns of items are divided by the roots of their degrees; an item that nobody has is 0. The
    same interactions give the same vectors.

    Args:
        pairs: (user, item) interactions.
        items: number of items.
        dim: dimensions, fewer where the matrix has fewer.
    """
    from scipy.sparse import csr_matrix

    users = {user: row for row, user in enumerate(dict.fromkeys(user for user, _ in pairs))}
    rows, columns = [users[user] for user, _ in pairs], [item for _, item in pairs]
    held = csr_matrix((np.ones(len(pairs)), (rows, columns)), shape=(len(users), items))
    by_user, by_item = (np.sqrt(np.maximum(np.asarray(held.sum(axis)).ravel(), 1)) for axis in (1, 0))
    scaled = held.multiply(1 / by_user[:, None]).multiply(1 / by_item[None, :]).tocsr()
    count = min(dim, *scaled.shape)
    # Powers of a few random directions: a Lanczos solver draws anew wherever singular values are equal.
    space = np.random.default_rng(0).normal(size=(items, min(count + OVERSAMPLED, items)))
    for _ in range(POWERS):
        space = np.linalg.qr(scaled.T @ (scaled @ space))[0]
    _, strengths, found = np.linalg.svd(scaled @ space, full_matrices=False)
    return space @ found[:count].T * strengths[:count]
