"""One number for many: model utility, and forget quality with the effect size that its p-value hides."""

import warnings
from collections.abc import Sequence
from math import comb
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError
from lethe.scoring.arrays import FloatArray, IntArray, matrix, same_shape, vector
from lethe.scoring.intervals import Interval, percentile, resample

MARGIN_PAIRS = 3  # of three controls


class KS(NamedTuple):
    """Two-sample Kolmogorov-Smirnov: distance D in 0..1, exact two-sided p, and the two sample sizes."""

    d: float
    p: float
    n_a: int
    n_b: int


class NullComparison(NamedTuple):
    """Mean D from a model to the controls, mean D between the controls, and their ratio (1 = one more control)."""

    gap: float
    null: float
    ratio: float


def harmonic_mean(components: npt.ArrayLike) -> float:
    """Harmonic mean of components in 0..1; higher is better, any 0 gives 0.

    TOFU's model utility is this over {probability, ROUGE, truth-ratio score} x {retain, real authors, world facts}.

    Args:
        components: the numbers to combine, `(M,)`.

    Raises:
        InputError: no component, a negative one, or one that is not finite.
    """
    return float(_harmonic(vector(components, "utility components")[None])[0])


def harmonic_interval(sets: Sequence[npt.ArrayLike], *, seed: int, draws: int = 1000, level: float = 0.95) -> Interval:
    """Bootstrap interval of the harmonic mean, resampling the items of every set.

    Metrics of one set are resampled together, because they were measured on the same items.

    Args:
        sets: per set, the per-item values of its metrics, `(metrics, items)`.
        seed: seed of the draws.
        draws: number of bootstrap draws.
        level: coverage in 0..1.

    Raises:
        InputError: an empty set, or a mean that is negative or not finite.
    """
    values = [matrix(items, f"utility set {i}") for i, items in enumerate(sets)]

    def utility(*counts: IntArray) -> FloatArray:
        means = [c @ v.T / v.shape[1] for c, v in zip(counts, values, strict=True)]
        return _harmonic(np.concatenate(means, axis=1))

    return percentile(resample([v.shape[1] for v in values], utility, seed=seed, draws=draws), level=level)


def ks(a: npt.ArrayLike, b: npt.ArrayLike) -> KS:
    """Two-sided two-sample KS test by the exact method; TOFU's forget quality is its p on per-item truth ratios.

    p depends on n as much as on D, so p-values of different n must not be compared. D and p are the same for R, 1/R and
    log R. The exact method assumes independent samples; two models asked the same questions make it conservative.

    Args:
        a: per-item values of one model, `(n_a,)`.
        b: per-item values of the other, `(n_b,)`.

    Raises:
        InputError: an empty sample, NaN, or sizes too large and unequal for an exact p.
    """
    from scipy.stats import ks_2samp

    x, y = vector(a, "first sample", finite=False), vector(b, "second sample", finite=False)
    with warnings.catch_warnings(record=True) as gave_up:
        warnings.simplefilter("always", RuntimeWarning)
        found = ks_2samp(x, y, alternative="two-sided", method="exact")
    d, p = float(found.statistic), float(found.pvalue)  # pyright: ignore[reportAttributeAccessIssue]
    if gave_up:
        # scipy went over to the asymptotic p, whose digits differ. It does so for sizes it cannot count, and where
        # rounding lifts an exact p of 1 above 1.
        if p < 0.999:
            raise InputError(f"KS: no exact p for {len(x)} and {len(y)} items; compare equally many.")
        p = 1.0
    return KS(d, p, len(x), len(y))


def ks_floor(n_a: int, n_b: int) -> float:
    """Smallest p the exact KS test can give: that of two disjoint samples, `2 / C(n_a + n_b, n_a)`.

    A published p equal to this says "disjoint", not "how bad".

    Args:
        n_a: size of one sample.
        n_b: size of the other.
    """
    return min(1.0, 2 / comb(n_a + n_b, n_a))


def ks_variant(n_a: int, n_b: int) -> str:
    """Name of a p-value of so many items: `ks_p.n300`, or `ks_p.n300x40` of unequal samples.

    The sizes stand in the name, so that p-values of different n never share a column.

    Args:
        n_a: size of one sample.
        n_b: size of the other.
    """
    return f"ks_p.n{n_a}" if n_a == n_b else f"ks_p.n{n_a}x{n_b}"


def ks_margin(null: npt.ArrayLike) -> float | None:
    """Margin of equivalence: the largest D between controls that differ in their seed alone; None below three of them.

    A model whose whole interval of D lies within it is as near to the controls as they are to each other.

    Args:
        null: distance of every pair of controls, as `ks_null` gives it, or nothing.
    """
    distances = np.asarray(null, dtype=np.float64)
    return float(distances.max()) if len(distances) >= MARGIN_PAIRS else None


def ks_interval(
    a: npt.ArrayLike, b: npt.ArrayLike, *, seed: int, paired: bool = True, draws: int = 1000, level: float = 0.95
) -> Interval:
    """Percentile bootstrap interval of the KS distance D.

    Args:
        a: per-item values of one model, `(n_a,)`.
        b: per-item values of the other, `(n_b,)`.
        seed: seed of the draws.
        paired: resample questions (the same items on both sides), not the two samples independently.
        draws: number of bootstrap draws.
        level: coverage in 0..1.

    Raises:
        InputError: an empty sample, NaN, or paired samples of different size.
    """
    x, y = vector(a, "first sample", finite=False), vector(b, "second sample", finite=False)
    if not paired:
        drawn = resample([len(x), len(y)], lambda u, v: _distance(x, y, u, v), seed=seed, draws=draws)
        return percentile(drawn, level=level)
    same_shape(x, y, "paired samples")
    return percentile(resample([len(x)], lambda u: _distance(x, y, u, u), seed=seed, draws=draws), level=level)


def ks_null(controls: Sequence[npt.ArrayLike]) -> FloatArray:
    """KS distance of every pair of controls: what D is worth when nothing but the seed differs.

    Args:
        controls: per-item values of each control, at least two `(n_i,)`.

    Raises:
        InputError: fewer than two controls, an empty sample or NaN.
    """
    if len(controls) < 2:
        raise InputError("KS null: one control has no seed spread; train at least two.")
    pairs = [(i, j) for j in range(len(controls)) for i in range(j)]
    return np.array([ks(controls[i], controls[j]).d for i, j in pairs])


def ks_against_null(model: npt.ArrayLike, controls: Sequence[npt.ArrayLike]) -> NullComparison:
    """How far a model is from its controls, in units of how far controls are from each other.

    Args:
        model: per-item values of the model, `(n,)`.
        controls: per-item values of each control, at least two (three for a margin worth the name).

    Raises:
        InputError: fewer than two controls, an empty sample or NaN.
    """
    null = float(ks_null(controls).mean())
    gap = float(np.mean([ks(model, control).d for control in controls]))
    if null == 0:
        return NullComparison(gap, null, 1.0 if gap == 0 else float("inf"))
    return NullComparison(gap, null, gap / null)


def relative_difference(value: float, reference: float) -> float:
    """`(value - reference) / reference` in percent; 0 is the reference.

    Args:
        value: the score.
        reference: the score it is read against.

    Raises:
        InputError: the reference is 0.
    """
    if reference == 0:
        raise InputError("relative difference: the reference is 0; report the absolute difference instead.")
    return (value - reference) / reference * 100


def _harmonic(rows: FloatArray) -> FloatArray:
    if (rows < 0).any():
        raise InputError(f"harmonic mean: a component is {rows.min():.6g}; all must be at least 0.")
    with np.errstate(divide="ignore", over="ignore"):
        return rows.shape[1] / (1 / rows).sum(axis=1)


def _distance(a: FloatArray, b: FloatArray, counts_a: IntArray, counts_b: IntArray) -> FloatArray:
    """KS distance of weighted samples, `(B,)`: the largest gap of the cumulative counts, read after each tie."""
    pooled = np.concatenate([a, b])
    order = np.argsort(pooled, kind="stable")
    steps = np.concatenate([counts_a * len(b), -counts_b * len(a)], axis=1)[:, order]
    last_of_tie = np.append(pooled[order][1:] != pooled[order][:-1], True)
    return np.abs(steps.cumsum(axis=1)[:, last_of_tie]).max(axis=1) / (len(a) * len(b))
