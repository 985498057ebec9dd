"""Where a mixture of experts sends its tokens, before and after: numbers from the gates, without a model.

Gates are weights (T, E) of T tokens over E routed experts, 0 where a token does not visit an expert. Leading axes (such
as layers) are carried along. All after SEUF (arXiv 2411.18797).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lethe.errors import InputError


def affinity(gates: Iterable[ArrayLike]) -> NDArray[np.float64]:
    """How much weight a set of texts gives each expert: (..., E), in [0, 1] for gates that sum to at most 1.

    The mean is taken within each sequence first, so that a long text counts as much as a short one (section 3, eq. 4).

    Args:
        gates: One array (..., T_j, E) per sequence, without padding.

    Raises:
        InputError: If there is no sequence, or one without tokens.
    """
    means = []
    for number, sequence in enumerate(gates):
        values = np.asarray(sequence, dtype=np.float64)
        if not values.shape[-2]:
            raise InputError(f"Sequence {number} has no token whose experts could be counted.")
        means.append(values.mean(axis=-2))
    if not means:
        raise InputError("There is no sequence whose experts could be counted.")
    return np.mean(means, axis=0)


def affinity_ranks(scores: ArrayLike) -> NDArray[np.int64]:
    """Rank of every expert over all layers, 1 for the largest affinity; among equals the first comes first."""
    values = np.asarray(scores, dtype=np.float64)
    ranks = np.empty(values.size, dtype=np.int64)
    ranks[np.argsort(-values.ravel(), kind="stable")] = np.arange(1, values.size + 1)
    return ranks.reshape(values.shape)


def selection_overlap(before: ArrayLike, after: ArrayLike) -> NDArray[np.float64]:
    """Share of each token's experts that it still visits, mean over tokens: (...,) in [0, 1], 1 if routing stayed.

    Args:
        before: Gates (..., T, E) of the original model.
        after: Gates of the changed model on the same tokens.

    Raises:
        InputError: If the two were not taken on the same tokens and experts.
    """
    first, second = np.asarray(before) > 0, np.asarray(after) > 0
    if first.shape != second.shape:
        raise InputError(f"Gates of shapes {first.shape} and {second.shape} do not belong to the same tokens.")
    return ((first & second).sum(-1) / np.maximum(first.sum(-1), 1)).mean(-1)


def activation_rate(gates: ArrayLike) -> NDArray[np.float64]:
    """Share of the tokens (..., T, E) that visit each expert: (..., E) in [0, 1]; uniform routing gives K / E."""
    return (np.asarray(gates) > 0).mean(axis=-2)


def top_stability(first: ArrayLike, second: ArrayLike, count: int = 6) -> NDArray[np.float64]:
    """Share of the `count` experts of largest affinity (..., E) that two sets of texts agree on: (...,) in [0, 1].

    Raises:
        InputError: If there are fewer experts than `count`, or `count` is below 1.
    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if not 1 <= count <= one.shape[-1]:
        raise InputError(f"count is {count}; choose 1 to {one.shape[-1]}, the number of experts.")
    tops = [np.argsort(-values, axis=-1, kind="stable")[..., :count] for values in (one, other)]
    return (tops[0][..., :, None] == tops[1][..., None, :]).any(-1).mean(-1)
