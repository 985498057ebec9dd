"""Top-K quality of a recommender over the whole catalogue, and where forgotten items stand in it.

Metrics are per user; a user without a relevant item has no value (NaN), so average with `nanmean`.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError
from lethe.scoring.arrays import BoolArray, FloatArray, IntArray, matrix


def top_k(scores: npt.ArrayLike, k: int, *, seen: npt.ArrayLike | None = None) -> IntArray:
    """The k best items of every user, best first, `(U, k)`; ties go to the lower id, -1 where items run out.

    Args:
        scores: score of every item for every user, `(U, I)`.
        k: length of the list.
        seen: items not to recommend, boolean `(U, I)` (a user's training interactions).

    Raises:
        InputError: k outside 1..I, NaN, or a mask of another shape.
    """
    masked, hidden = _masked(scores, seen)
    if not 1 <= k <= masked.shape[1]:
        raise InputError(f"top-k: k = {k} in a catalogue of {masked.shape[1]} items; choose it in between.")
    order = np.argsort(-masked, axis=1, kind="stable")[:, :k]
    return np.where(np.take_along_axis(hidden, order, axis=1), -1, order)


def item_ranks(
    scores: npt.ArrayLike, users: npt.ArrayLike, items: npt.ArrayLike, *, seen: npt.ArrayLike | None = None
) -> FloatArray:
    """Rank of each (user, item) pair in the user's full list, `(N,)`; 1 is best, ties share their mean rank.

    Args:
        scores: score of every item for every user, `(U, I)`.
        users: the user of each pair, `(N,)`.
        items: the item of each pair, `(N,)`; it is ranked even where `seen` hides it.
        seen: items left out of the competition, boolean `(U, I)`.

    Raises:
        InputError: ids outside the matrix, NaN, or a mask of another shape.
    """
    masked, _ = _masked(scores, seen)
    u, i = np.asarray(users, dtype=np.int64), np.asarray(items, dtype=np.int64)
    if u.shape != i.shape or u.ndim != 1 or u.size == 0:
        raise InputError(f"item ranks: users {u.shape} and items {i.shape}; give one user and one item per pair.")
    if min(u.min(), i.min()) < 0 or u.max() >= masked.shape[0] or i.max() >= masked.shape[1]:
        raise InputError(f"item ranks: an id lies outside the {masked.shape} scores; count users and items from 0.")
    own = np.asarray(scores, dtype=np.float64)[u, i][:, None]
    rivals = masked[u]
    rivals[np.arange(len(u)), i] = -np.inf
    return 1 + (rivals > own).sum(axis=1) + (rivals == own).sum(axis=1) / 2


def mean_rank(
    scores: npt.ArrayLike, users: npt.ArrayLike, items: npt.ArrayLike, *, seen: npt.ArrayLike | None = None
) -> float:
    """Mean of `item_ranks` over the pairs; read it against the control's, not against chance.

    Args:
        scores: score of every item for every user, `(U, I)`.
        users: the user of each pair, `(N,)`.
        items: the item of each pair, `(N,)`.
        seen: items left out of the competition, boolean `(U, I)`.

    Raises:
        InputError: ids outside the matrix, NaN, or a mask of another shape.
    """
    return float(item_ranks(scores, users, items, seen=seen).mean())


def recall_at_k(ranking: npt.ArrayLike, relevant: Sequence[npt.ArrayLike], k: int) -> FloatArray:
    """`hits / relevant` per user, `(U,)` in 0..1; higher is better. CURE4Rec prints it as "HR".

    Args:
        ranking: recommended items, best first, `(U, K)` with K >= k; -1 for no item.
        relevant: the items each user does like, U arrays without repeats.
        k: length of the list that counts.

    Raises:
        InputError: shapes that do not fit, or k outside 1..K.
    """
    return _per_user(ranking, relevant, k, lambda hits, n: hits.sum() / n)


def precision_at_k(ranking: npt.ArrayLike, relevant: Sequence[npt.ArrayLike], k: int) -> FloatArray:
    """`hits / k` per user, `(U,)` in 0..1; higher is better.

    Args:
        ranking: recommended items, best first, `(U, K)` with K >= k; -1 for no item.
        relevant: the items each user does like, U arrays without repeats.
        k: length of the list that counts.

    Raises:
        InputError: shapes that do not fit, or k outside 1..K.
    """
    return _per_user(ranking, relevant, k, lambda hits, n: hits.sum() / k)


def hit_rate_at_k(ranking: npt.ArrayLike, relevant: Sequence[npt.ArrayLike], k: int) -> FloatArray:
    """1 for a user with at least one hit, else 0, `(U,)`; higher is better. Not what CURE4Rec calls "HR".

    Args:
        ranking: recommended items, best first, `(U, K)` with K >= k; -1 for no item.
        relevant: the items each user does like, U arrays without repeats.
        k: length of the list that counts.

    Raises:
        InputError: shapes that do not fit, or k outside 1..K.
    """
    return _per_user(ranking, relevant, k, lambda hits, n: float(hits.any()))


def ndcg_at_k(ranking: npt.ArrayLike, relevant: Sequence[npt.ArrayLike], k: int) -> FloatArray:
    """NDCG per user, `(U,)` in 0..1; higher is better. The ideal list has `min(k, relevant)` hits, so 1 is reachable.

    Args:
        ranking: recommended items, best first, `(U, K)` with K >= k; -1 for no item.
        relevant: the items each user does like, U arrays without repeats.
        k: length of the list that counts.

    Raises:
        InputError: shapes that do not fit, or k outside 1..K.
    """
    return _per_user(ranking, relevant, k, lambda hits, n: (hits @ _discount(k)) / _discount(min(k, n)).sum())


def ndcg_at_k_cure4rec(ranking: npt.ArrayLike, relevant: Sequence[npt.ArrayLike], k: int) -> FloatArray:
    """CURE4Rec's NDCG per user, `(U,)`: the ideal list holds *all* relevant items, so a perfect top-k may stay below 1.

    arXiv 2408.14393, released code.

    Args:
        ranking: recommended items, best first, `(U, K)` with K >= k; -1 for no item.
        relevant: the items each user does like, U arrays without repeats.
        k: length of the list that counts.

    Raises:
        InputError: shapes that do not fit, or k outside 1..K.
    """
    return _per_user(ranking, relevant, k, lambda hits, n: (hits @ _discount(k)) / _discount(n).sum())


def _discount(n: int) -> FloatArray:
    return 1 / np.log2(np.arange(2, n + 2))


def _per_user(
    ranking: npt.ArrayLike,
    relevant: Sequence[npt.ArrayLike],
    k: int,
    score: Callable[[BoolArray, int], float],
) -> FloatArray:
    lists = np.asarray(ranking, dtype=np.int64)
    if lists.ndim != 2 or len(lists) != len(relevant) or not 1 <= k <= lists.shape[1]:
        raise InputError(
            f"ranking: {lists.shape} recommendations, {len(relevant)} users with relevant items and k = {k}; "
            "give one list of at least k items per user."
        )
    liked = [np.unique(np.asarray(items, dtype=np.int64)) for items in relevant]
    rows = zip(lists[:, :k], liked, strict=True)
    return np.array([score(np.isin(row, items), len(items)) if len(items) else np.nan for row, items in rows])


def _masked(scores: npt.ArrayLike, seen: npt.ArrayLike | None) -> tuple[FloatArray, BoolArray]:
    values = matrix(scores, "item scores")
    hidden = np.zeros(values.shape, dtype=bool) if seen is None else np.asarray(seen, dtype=bool)
    if hidden.shape != values.shape:
        raise InputError(f"item scores: a mask of shape {hidden.shape} for {values.shape} scores; align them.")
    return np.where(hidden, -np.inf, values), hidden


def of_places(places: npt.ArrayLike, k: int) -> dict[str, float]:
    """Every top-K value of one user, each in 0..1, from the places of the relevant items in the user's full list.

    recall (CURE4Rec prints it as "HR"), precision, hit, ndcg (ideal truncated at K), ndcg.cure4rec (ideal over all
    relevant items), mrr (1 over the place of the first hit), map (mean over min(K, relevant) of the precision at every
    hit).

    Args:
        places: place of every relevant item, 0 = first, `(n,)` without repeats.
        k: length of the list that counts.

    Raises:
        InputError: no relevant item, or k below 1.
    """
    own = np.sort(np.asarray(places, dtype=np.int64))
    if not own.size or k < 1:
        raise InputError(f"top-k: {own.size} relevant items and k = {k}; give at least one of each.")
    hits = own[own < k]
    best = min(k, len(own))
    gain = (1 / np.log2(hits + 2)).sum()
    return {
        "recall": len(hits) / len(own),
        "precision": len(hits) / k,
        "hit": float(len(hits) > 0),
        "ndcg": float(gain / _discount(best).sum()),
        "ndcg.cure4rec": float(gain / _discount(len(own)).sum()),
        "mrr": float(1 / (hits[0] + 1)) if len(hits) else 0.0,
        "map": float((np.arange(1, len(hits) + 1) / (hits + 1)).sum() / best),
    }
