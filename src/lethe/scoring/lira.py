"""Likelihood-ratio attacks on pairs of models, and what they tell with an interval over models and over points.

A *pair* is two models that share the points between them: one was trained with a point, the other was not. So what is
known of J pairs at P points is two arrays: `inside` (J, P), the value under the model that held the point, and
`outside` (J, P), the value under its partner (or under a model retrained without the point).

The attacked pairs are none of those whose distributions the attacker knows. Leaving one pair out in turn would count
every two pairs twice, and an interval over pairs would be too narrow just where there is nothing to find. As it is,
the attack is right half of the time where the two sides do not differ, whatever the reference models happen to be.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError
from lethe.scoring.arrays import FloatArray, IntArray, matrix, same_shape, vector
from lethe.scoring.detection_references import model_lira
from lethe.scoring.intervals import percentile

FPR = 0.01
_BLOCK = 50  # bootstrap draws held at once: 10,000 cells each


class Estimate(NamedTuple):
    """A number with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


class Attack(NamedTuple):
    """What an attack tells: its accuracy at a threshold, its AUC, and its true positive rate at 1 % false positives.

    All are balanced over the two sides. `resolved` is False where there are too few cells to see that rate.
    """

    accuracy: Estimate
    auc: Estimate
    tpr: Estimate
    resolved: bool


def ratio(
    asked: npt.ArrayLike,
    inside: npt.ArrayLike,
    outside: npt.ArrayLike,
    *,
    spread: Literal["record", "global"] = "record",
) -> FloatArray:
    """Log-likelihood ratio of every cell, `(T, P)` nats: high = looks as under models that held the point.

    LiRA (arXiv 2112.03570) knows models that were plainly trained. U-LiRA (arXiv 2403.01218) knows those that were
    unlearned by the method that is attacked.

    Args:
        asked: Values (phi) that are attacked, of T models, `(T, P)`.
        inside: Values of reference models that held the point, `(J, P)`.
        outside: Values of reference models that did not, `(J, P)`.
        spread: Deviation of each point alone, or of all points of a side; the latter for fewer than some 16 pairs.

    Raises:
        InputError: Numbers of points that differ, or fewer than three reference models a side.
    """
    values, held, free = (matrix(rows, "phi") for rows in (asked, inside, outside))
    if not values.shape[1] == held.shape[1] == free.shape[1]:
        raise InputError(f"phi of {values.shape[1]}, {held.shape[1]} and {free.shape[1]} points; ask all for the same.")
    if min(len(held), len(free)) < 3:
        raise InputError(f"{len(held)} and {len(free)} reference models tell no spread; make at least 3 of a side.")
    return np.stack([model_lira(phi=row, phi_in=held.T, phi_out=free.T, spread=spread) for row in values])


def attack(
    members: npt.ArrayLike, others: npt.ArrayLike, *, seed: int, threshold: float = 0.0, draws: int = 1000
) -> Attack:
    """What scores of members and of others (J, P) tell; the intervals resample pairs of models and points at once.

    Args:
        members: Scores of cells whose model was trained with the point, high = looks like one, `(J, P)`.
        others: Scores of cells whose model was not, `(J, P)`.
        seed: Seed of the bootstrap.
        threshold: "Member" from here on; 0 of a log-likelihood ratio.
        draws: Bootstrap draws.

    Raises:
        InputError: Shapes that differ, or a score that is no number.
    """
    own, other = matrix(members, "scores of members", finite=False), matrix(others, "scores of others", finite=False)
    same_shape(own, other, "scores of members and others")
    right = ((own > threshold) + (own == threshold) / 2 + (other < threshold) + (other == threshold) / 2) / 2
    pooled = np.concatenate([own.ravel(), other.ravel()])
    order = np.argsort(-pooled, kind="stable")
    ties = np.flatnonzero(np.append(True, pooled[order][1:] != pooled[order][:-1]))

    def measured(weights: FloatArray) -> FloatArray:
        """(B, 3) of cell weights (B, J P) that sum to 1."""
        nothing = np.zeros_like(weights)
        true, false = (
            np.add.reduceat(np.concatenate(halves, axis=1)[:, order], ties, axis=1).cumsum(axis=1)
            for halves in ((weights, nothing), (nothing, weights))
        )
        steps = np.diff(false, axis=1, prepend=0.0)
        area = (steps * (true - np.diff(true, axis=1, prepend=0.0) / 2)).sum(axis=1)
        caught = np.where(false <= FPR + 1e-9, true, 0.0).max(axis=1)
        return np.clip(np.stack([weights @ right.ravel(), area, caught], axis=1), 0, 1)  # rounding

    values = measured(np.full((1, own.size), 1 / own.size))[0]
    drawn = np.concatenate([measured(weights) for weights in _resampled(own.shape, seed, draws)])
    estimates = [Estimate(float(value), *percentile(drawn[:, i])) for i, value in enumerate(values)]
    return Attack(*estimates, resolved=own.size * FPR >= 1 - 1e-9)


def over_pairs(values: npt.ArrayLike, *, seed: int, draws: int = 1000) -> Estimate:
    """Mean of one value per pair with the bootstrap interval over pairs, of a value that has none per point."""
    items = vector(values, "values of the pairs")
    counts = np.stack([_counts(len(items), np.random.default_rng([seed, draw])) for draw in range(draws)])
    return Estimate(float(items.mean()), *percentile(counts @ items / len(items)))


def _resampled(shape: tuple[int, ...], seed: int, draws: int) -> Iterator[FloatArray]:
    """Weights (B, J P) of cells, from pairs and points that are drawn apart."""
    pairs, points = shape
    for start in range(0, draws, _BLOCK):
        weights = []
        for draw in range(start, min(start + _BLOCK, draws)):
            rng = np.random.default_rng([seed, draw])
            weights.append(np.outer(_counts(pairs, rng), _counts(points, rng)).ravel() / (pairs * points))
        yield np.stack(weights)


def _counts(n: int, rng: np.random.Generator) -> IntArray:
    return np.bincount(rng.integers(n, size=n), minlength=n)
