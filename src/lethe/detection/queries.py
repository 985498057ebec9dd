"""Changed copies of records, and the distance of a record to the decision boundary: what the Query algorithms ask for.

Copies are made as TDDBench makes them (arXiv 2411.03363). Where its rule changes nothing (1 % of fewer than 100
columns is no column), one column is changed unless the published rule is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lethe.data.neighbours import replaced
from lethe.detection.subjects import Subject

DEGREES = 15.0
SHARE = 0.01  # of the half range (noise), of the columns (exchange)
Decide = Callable[[np.ndarray, np.ndarray], np.ndarray]  # points (M, D), their records (M,) -> other class (M,) bool


def noisy(subject: Subject, rows: np.ndarray, copies: int, seed: int, published: bool) -> Any:
    """Neighbours of records, all copies of the first record first: Gaussian noise, flipped bits, or exchanged words."""
    inputs, rng = subject.take(rows), np.random.default_rng([seed, 1])
    if subject.kind == "text":
        words = subject.words()
        return tuple(one for text in inputs for one in replaced(text, words, copies, seed=seed))
    every = np.repeat(inputs, copies, axis=0)
    if subject.kind == "tabular" and set(np.unique(subject.inputs)) <= {0.0, 1.0}:
        width = every.shape[1]
        count = int(SHARE * width) if published else max(1, int(SHARE * width))
        flip = rng.random(every.shape).argsort(axis=1) < count
        return np.where(flip, 1 - every, every)
    if subject.kind == "image":
        scale: Any = np.ptp(inputs[0]) / 2
    else:
        scale = np.ptp(subject.inputs, axis=0) / 2
    return (every + rng.normal(size=every.shape) * SHARE * scale).astype(np.float32)


def augmented(subject: Subject, rows: np.ndarray, copies: int, seed: int, published: bool) -> Any:
    """Augmented copies in the same order: rotated images, rows with another's columns, or texts with another word."""
    rng = np.random.default_rng([seed, 2])
    if subject.kind == "text":
        return noisy(subject, rows, copies, seed + 1, published)
    every = np.repeat(subject.take(rows), copies, axis=0)
    if subject.kind == "image":
        return np.stack([_rotated(image, angle) for image, angle in
                         zip(every, rng.uniform(-DEGREES, DEGREES, len(every)), strict=True)])  # fmt: skip
    width = every.shape[1]
    count = int(SHARE * width) if published else max(1, int(SHARE * width))
    taken = rng.random(every.shape).argsort(axis=1) < count
    return np.where(taken, subject.take(rng.choice(rows, len(every))), every)


def _rotated(image: np.ndarray, angle: float) -> np.ndarray:
    from scipy.ndimage import rotate

    return rotate(image, angle, axes=(1, 2), reshape=False, order=1, mode="nearest").astype(np.float32)


def boundary_distances(
    points: np.ndarray, starts: np.ndarray, decide: Decide, *, iterations: int, budget: int, seed: int
) -> tuple[np.ndarray, int]:
    """L2 distance of points to the nearest change of class that a search by decisions finds (HopSkipJump, 1904.02144).

    From a start of another class it walks along the boundary: a gradient estimated from the classes around the boundary
    point, a step that is halved until it stays on the other side, and back to the boundary by bisection.

    Args:
        points: the records, `(N, D)`.
        starts: points of another class, `(N, D)`; where `decide` denies that, the distance is infinite.
        decide: whether points are of another class than their records.
        iterations: most rounds.
        budget: most queries per record.
        seed: seed of the directions.

    Returns:
        The distances `(N,)`, and the queries made per record.
    """
    rng, rows, width = np.random.default_rng([seed, 3]), np.arange(len(points)), points.shape[1]
    reached = decide(starts, rows)
    asked, bisections = 1, 12
    at = _bisect(points, starts, decide, rows, bisections)
    asked += bisections
    best = np.linalg.norm(at - points, axis=1)
    for turn in range(1, iterations + 1):
        draws = int(min(10 * turn**0.5, budget - asked - 2 * bisections))
        if draws < 2:
            break
        away = np.linalg.norm(at - points, axis=1, keepdims=True)
        noise = rng.normal(size=(len(points), draws, width))
        noise /= np.linalg.norm(noise, axis=2, keepdims=True)
        probes = at[:, None] + noise * np.maximum(away, 1e-9)[:, None] / width**0.5
        side = 2.0 * decide(probes.reshape(-1, width), np.repeat(rows, draws)).reshape(len(points), draws) - 1
        mixed = np.abs(side.mean(axis=1)) < 1  # where all agree, their mean direction is what there is to go by
        weight = np.where(mixed[:, None], side - side.mean(axis=1, keepdims=True), side)
        slope = (weight[:, :, None] * noise).mean(axis=1)
        slope /= np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-12)
        step, moved, open_ = away / turn**0.5, at.copy(), reached.copy()
        for _ in range(bisections):
            ahead = at + step * slope
            good = open_ & decide(ahead, rows)
            moved[good], open_ = ahead[good], open_ & ~good
            step = step / 2
        at = _bisect(points, moved, decide, rows, bisections)
        asked += draws + 2 * bisections
        best = np.minimum(best, np.linalg.norm(at - points, axis=1))
    return np.where(reached, best, np.inf), asked


def _bisect(
    points: np.ndarray, outside: np.ndarray, decide: Decide, rows: np.ndarray, times: int
) -> np.ndarray:  # fmt: skip
    """The point nearest to each record on the way to a point of another class that still is of another class."""
    near, far = np.zeros((len(points), 1)), np.ones((len(points), 1))
    for _ in range(times):
        middle = (near + far) / 2
        other = decide(points + middle * (outside - points), rows)[:, None]
        near, far = np.where(other, near, middle), np.where(other, middle, far)
    return points + far * (outside - points)
