"""Uncertainty of a score: over items by bootstrap, over seeds by Student's t, over trials by Clopper-Pearson."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError
from lethe.scoring.arrays import BoolArray, FloatArray, IntArray, matrix, vector

_BLOCK = 4_000_000  # counts held at once while resampling: 32 MB


class Interval(NamedTuple):
    """The two ends of an interval, in the unit of the score."""

    low: float
    high: float


class Spread(NamedTuple):
    """Mean over seeds, sample standard deviation (divisor n - 1) and the t-interval of the mean."""

    mean: float
    sd: float
    low: float
    high: float
    n: int


class ControlDistance(NamedTuple):
    """How many seed spreads a model stands from its controls, per metric, and whether that is a control's distance."""

    z: FloatArray
    threshold: float
    within: BoolArray

    @property
    def passed(self) -> bool:
        """Whether every metric lies within the threshold."""
        return bool(self.within.all())


def resample(
    sizes: Sequence[int], statistic: Callable[..., npt.ArrayLike], *, seed: int, draws: int = 1000
) -> FloatArray:
    """Bootstrap a statistic of one or more samples, `(draws, ...)`.

    A draw is handed over as *counts*: how often each item was drawn. A mean is then `counts @ values / n`, and a rank
    statistic a cumulative sum, with no copy of the data per draw.

    Args:
        sizes: number of items of each sample.
        statistic: called with one `(B, n)` count array per sample, returns `(B, ...)`.
        seed: seed of the draws.
        draws: number of bootstrap draws.
    """
    rng = np.random.default_rng(seed)
    block = max(1, min(draws, _BLOCK // max(sum(sizes), 1)))
    parts = []
    for start in range(0, draws, block):
        counts = [_counts(n, min(block, draws - start), rng) for n in sizes]
        parts.append(np.asarray(statistic(*counts), dtype=np.float64))
    return np.concatenate(parts)


def percentile(draws: FloatArray, *, level: float = 0.95) -> Interval:
    """Percentile interval of bootstrap draws.

    Args:
        draws: the statistic of every draw, `(draws,)`.
        level: coverage in 0..1.
    """
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def bootstrap(values: npt.ArrayLike, *, seed: int, draws: int = 1000, level: float = 0.95) -> Interval:
    """Percentile bootstrap interval of the mean over items.

    Args:
        values: one score per item, `(N,)`.
        seed: seed of the draws.
        draws: number of bootstrap draws.
        level: coverage in 0..1.

    Raises:
        InputError: no item, or a value that is not finite.
    """
    items = vector(values, "per-item values")
    means = resample([len(items)], lambda counts: counts @ items / len(items), seed=seed, draws=draws)
    return percentile(means, level=level)


def clopper_pearson(successes: int, trials: int, *, level: float = 0.95) -> Interval:
    """Exact binomial interval of a rate, in 0..1.

    Args:
        successes: number of hits.
        trials: number of tries.
        level: coverage in 0..1.

    Raises:
        InputError: no trial, or successes outside 0..trials.
    """
    from scipy.stats import beta

    if trials < 1 or not 0 <= successes <= trials:
        raise InputError(f"rate: {successes} successes in {trials} trials; count between 0 and at least one trial.")
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, trials - successes + 1))
    high = 1.0 if successes == trials else float(beta.ppf(1 - tail, successes + 1, trials - successes))
    return Interval(low, high)


def seed_spread(values: npt.ArrayLike, *, level: float = 0.95) -> Spread:
    """Mean, standard deviation and t-interval of one score over independently seeded runs.

    Args:
        values: the score of every seed, `(n,)`.
        level: coverage in 0..1.

    Raises:
        InputError: fewer than two seeds, or a value that is not finite.
    """
    from scipy.stats import t

    scores = vector(values, "scores over seeds")
    n = len(scores)
    if n < 2:
        raise InputError("scores over seeds: one seed has no spread; run at least two.")
    mean, sd = float(scores.mean()), float(scores.std(ddof=1))
    reach = float(t.ppf((1 + level) / 2, n - 1)) * sd / n**0.5
    return Spread(mean, sd, mean - reach, mean + reach, n)


def control_threshold(n_controls: int, n_metrics: int, *, alpha: float = 0.05) -> float:
    """Largest z, in seed spreads, at which one more control would still stand `1 - alpha` of the time.

    `t_{n-1}(1 - alpha/(2M)) sqrt(1 + 1/n)`: a prediction interval for a new run, Bonferroni over the M metrics (the
    decision of Holm's first step). A flat `z <= 2` would fail a true control in 14 % (n = 5, M = 1) of runs.

    Args:
        n_controls: number n of control seeds, at least 2.
        n_metrics: number M of metrics judged together.
        alpha: rate of false alarms over all M metrics.

    Raises:
        InputError: fewer than two controls, or no metric.
    """
    from scipy.stats import t

    if n_controls < 2 or n_metrics < 1:
        raise InputError(f"control distance: {n_controls} controls and {n_metrics} metrics; give at least 2 and 1.")
    return float(t.ppf(1 - alpha / (2 * n_metrics), n_controls - 1)) * (1 + 1 / n_controls) ** 0.5


def control_distance(
    model: npt.ArrayLike, controls: npt.ArrayLike, *, alpha: float = 0.05, sd_floor: float = 0.0
) -> ControlDistance:
    """Distance of a model from its retrained controls in units of their seed spread; lower is better, 0 is the mean.

    `z = |m - mean(controls)| / sd(controls)` with divisor n - 1. Where the controls do not differ at all, z is 0 for a
    model that equals them and infinite otherwise.

    Args:
        model: the model's value of each metric, `(M,)`.
        controls: the same metrics of n controls, `(n, M)`.
        alpha: rate of false alarms over all M metrics.
        sd_floor: smallest spread to believe, in the unit of the metrics (such as one item's worth).

    Raises:
        InputError: shapes that do not fit, fewer than two controls, or a value that is not finite.
    """
    own, others = vector(model, "metrics of the model"), matrix(controls, "metrics of the controls")
    if others.shape[1] != len(own):
        raise InputError(f"control distance: {len(own)} metrics against {others.shape[1]} of the controls; align them.")
    threshold = control_threshold(len(others), len(own), alpha=alpha)
    gap = np.abs(own - others.mean(axis=0))
    spread = np.maximum(others.std(axis=0, ddof=1), sd_floor)
    z = np.divide(gap, spread, out=np.where(gap > 0, np.inf, 0.0), where=spread > 0)
    return ControlDistance(z, threshold, z <= threshold)


def _counts(n: int, draws: int, rng: np.random.Generator) -> IntArray:
    drawn = rng.integers(n, size=(draws, n)) + np.arange(draws)[:, None] * n
    return np.bincount(drawn.ravel(), minlength=draws * n).reshape(draws, n)
