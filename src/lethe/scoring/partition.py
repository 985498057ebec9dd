"""Partitions into shards of bounded size that keep what is alike together (arXiv 2201.06820)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

ENTROPY = 0.05  # of the transport plan, as a share of the mean cost
SINKHORN = 200  # scalings of the plan, at most


def limit(count: int, shards: int, cap: float) -> int:
    """The largest shard: cap * N / k, rounded down, or N / k rounded up where the former could not hold them all."""
    return max(math.floor(cap * count / shards), math.ceil(count / shards))


def balanced(
    views: Sequence[Array], shards: int, *, cap: float = 1.2, rounds: int = 50, transport: bool = False, seed: int = 0
) -> Labels:
    """The shard of every element, (N,): balanced k-means.

    In every round all pairs of element and centroid are taken from the nearest on, and an element goes to the first
    shard that is not full; centroids become the means of their shards. Stops when nothing moves.

    Args:
        views: What an element is described by, (N, D) each; its distance to a centroid is the product over views of
            squared distances. One view of users or of items, or two of interactions (their user's, their item's).
        shards: Number of shards k.
        cap: Largest shard over N / k.
        rounds: Most rounds.
        transport: Distances are not the views' own, but how little of an element an entropic transport plan onto shards
            of equal size carries there: elements that lie between two centroids go where there is room.
        seed: Seed of the elements that serve as first centroids.

    Raises:
        InputError: If there are fewer elements than shards, or a number is out of range.
    """
    count = len(views[0])
    if not 1 <= shards <= count:
        raise InputError(f"{shards} shards of {count} elements: give 1 to {count}.")
    if not (cap >= 1 and rounds >= 1):
        raise InputError(f"cap={cap:g} and rounds={rounds} must be at least 1.")
    most = limit(count, shards, 1.0 if transport else cap)
    first = np.random.default_rng([seed, 41]).choice(count, shards, replace=False)
    centroids = [view[first].astype(np.float64) for view in views]
    labels = np.full(count, -1, dtype=np.int64)
    for _ in range(rounds):
        cost = distances(views, centroids)
        found = greedy(-plan(cost) if transport else cost, most)
        if np.array_equal(found, labels):
            break
        labels = found
        for view, centroid in zip(views, centroids, strict=True):
            for shard in np.unique(labels):
                centroid[shard] = view[labels == shard].mean(axis=0)
    return labels


def distances(views: Sequence[Array], centroids: Sequence[Array]) -> Array:
    """Products over views of squared distances, (N, k)."""
    found = np.ones((len(views[0]), len(centroids[0])))
    for view, centroid in zip(views, centroids, strict=True):
        exact = view.astype(np.float64)
        found *= np.stack([np.square(exact - one).sum(axis=1) for one in centroid], axis=1)
    return found


def greedy(cost: Array, most: int) -> Labels:
    """The shard of every element, (N,), where pairs are served from the cheapest on and no shard holds more than most.

    Served shard by shard, not pair by pair: until the next one is full, everybody goes to the nearest with room.
    """
    labels = np.full(len(cost), -1, dtype=np.int64)
    room = np.full(cost.shape[1], most)
    open_cost = cost.astype(np.float64, copy=True)
    while (waiting := np.flatnonzero(labels < 0)).size:
        nearest = open_cost[waiting].argmin(axis=1)
        order = np.argsort(open_cost[waiting, nearest], kind="stable")
        wanted = nearest[order]
        served = len(order)
        for shard in np.flatnonzero(room > 0):
            places = np.flatnonzero(wanted == shard)
            if len(places) >= room[shard]:
                served = min(served, int(places[room[shard] - 1]) + 1)
        chosen = order[:served]
        labels[waiting[chosen]] = nearest[chosen]
        room -= np.bincount(nearest[chosen], minlength=len(room))
        open_cost[:, room == 0] = np.inf
    return labels


def plan(cost: Array) -> Array:
    """The entropic transport plan of N equal elements onto k equal shards, (N, k); rows sum to 1 / N (Sinkhorn)."""
    kernel = -cost / (ENTROPY * max(float(cost.mean()), 1e-300))
    rows, columns = np.full((len(cost), 1), -math.log(len(cost))), np.full((1, cost.shape[1]), -math.log(cost.shape[1]))
    left, right = np.zeros_like(rows), np.zeros_like(columns)
    for _ in range(SINKHORN):
        right = columns - np.logaddexp.reduce(kernel + left, axis=0, keepdims=True)
        moved = rows - np.logaddexp.reduce(kernel + right, axis=1, keepdims=True)
        done = float(np.abs(moved - left).max()) < 1e-6
        left = moved
        if done:
            break
    return np.exp(kernel + left + right)


def scatter(view: Array, labels: Labels) -> float:
    """Sum of squared distances to the own shard's mean."""
    return float(
        sum(np.square(view[labels == one] - view[labels == one].mean(axis=0)).sum() for one in np.unique(labels))
    )
