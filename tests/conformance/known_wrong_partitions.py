"""Balanced partitions as released code has them, in small: each must fail what a partition is checked for."""

from collections.abc import Callable, Sequence
from math import ceil
from typing import Any

import numpy as np

from lethe.scoring.partition import Array, Labels, distances, greedy, limit


def scalar_centroid(
    views: Sequence[Array], shards: int, *, cap: float = 1.2, rounds: int = 50, seed: int = 0
) -> Labels:
    """Centroids are means over all numbers of a shard: one scalar, which every dimension is then compared with."""
    return _rounds(views, shards, limit(len(views[0]), shards, cap), rounds, seed, lambda members: np.mean(members))


def farthest_first(views: Sequence[Array], shards: int, cap: float = 1.2, rounds: int = 50, seed: int = 0) -> Labels:
    """Pairs are served from the most distant on, up to ceil(N / k) per shard."""
    most = ceil(len(views[0]) / shards)
    return _rounds(views, shards, most, rounds, seed, lambda members: members.mean(axis=0), farthest=True)


def unbounded(views: Sequence[Array], shards: int, cap: float = 1.2, rounds: int = 50, seed: int = 0) -> Labels:
    """Plain k-means: whatever is near belongs together, however large the shard becomes."""
    return _rounds(views, shards, len(views[0]), rounds, seed, lambda members: members.mean(axis=0))


def _rounds(
    views: Sequence[Array],
    shards: int,
    most: int,
    rounds: int,
    seed: int,
    centre: Callable[[Array], Any],
    farthest: bool = False,
) -> Labels:
    first = np.random.default_rng([seed, 41]).choice(len(views[0]), shards, replace=False)
    centroids = [view[first].copy() for view in views]
    labels: Labels = np.zeros(len(views[0]), dtype=np.int64)
    for _ in range(rounds):
        cost = distances(views, centroids)
        labels = greedy(-cost if farthest else cost, most)
        for view, centroid in zip(views, centroids, strict=True):
            for shard in np.unique(labels):
                centroid[shard] = centre(view[labels == shard])
    return labels


KNOWN_WRONG = (scalar_centroid, farthest_first, unbounded)
