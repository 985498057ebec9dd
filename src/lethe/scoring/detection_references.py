"""The detection algorithms that compare a record with reference models (arXiv 2411.03363, paradigm "Model").

Reference models were trained with the record (`_in`) or without it (`_out`). High = looks like a member.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError
from lethe.scoring.arrays import FloatArray, matrix, vector

_LEAST = 1e-30  # smallest deviation of a normal distribution: a signal that never varies must not divide by 0


def model_loss(*, loss: npt.ArrayLike, loss_in: npt.ArrayLike, loss_out: npt.ArrayLike) -> FloatArray:
    """Middle of the medians in and out, minus the loss, `(N,)` nats (MALT, Sablayrolles et al. 2019)."""
    own, inside, outside = _sides(loss, loss_in, loss_out)
    return (np.median(inside, axis=1) + np.median(outside, axis=1)) / 2 - own


def model_calibration(*, loss: npt.ArrayLike, loss_out: npt.ArrayLike) -> FloatArray:
    """Median loss of models without the record, minus the target's, `(N,)` nats (difficulty calibration)."""
    own, outside = beside(loss, loss_out)
    return np.median(outside, axis=1) - own


def model_lira(
    *,
    phi: npt.ArrayLike,
    phi_in: npt.ArrayLike,
    phi_out: npt.ArrayLike,
    spread: Literal["global", "record"] = "global",
) -> FloatArray:
    """Log-likelihood of phi among models with the record minus that among models without it, `(N,)` nats (LiRA).

    Two normal distributions around the medians (Carlini et al., arXiv 2112.03570).

    Args:
        phi: rescaled logits of the target, `(N,)`.
        phi_in: those of models trained with the record, `(N, K)`.
        phi_out: those of models trained without it, `(N, K)`.
        spread: deviation of all records and models of a side at once (TDDBench), or of each record alone.
    """
    own, inside, outside = _sides(phi, phi_in, phi_out)
    axis = 1 if spread == "record" else None
    return _log_normal(own, inside, axis) - _log_normal(own, outside, axis)


def model_fpr(*, phi: npt.ArrayLike, phi_out: npt.ArrayLike) -> FloatArray:
    """Share of models without the record that are less sure of it, `(N,)` in 0..1 (attack R, arXiv 2111.09679).

    By the normal distribution around their median, with each record's own deviation.
    """
    own, outside = beside(phi, phi_out)
    return normal_cdf(own, np.median(outside, axis=1), outside.std(axis=1))


def model_robust(
    *,
    p_true: npt.ArrayLike,
    p_true_in: npt.ArrayLike,
    p_true_out: npt.ArrayLike,
    population_true: npt.ArrayLike,
    population_true_in: npt.ArrayLike,
    population_true_out: npt.ArrayLike,
    gamma: float = 2.0,
) -> FloatArray:
    """Share of population records whose likelihood ratio the record's own exceeds `gamma`-fold, `(N,)` in 0..1 (RMIA).

    The ratio is p_y over the mean of the two reference means (arXiv 2312.03262).
    """
    own = likelihood_ratio(p_true, p_true_out, inside=p_true_in)
    return ratio_share(own, likelihood_ratio(population_true, population_true_out, inside=population_true_in), gamma)


def query_ref(*, phi_query: npt.ArrayLike, phi_query_in: npt.ArrayLike, phi_query_out: npt.ArrayLike) -> FloatArray:
    """LiRA at queries made for each record, averaged over its Q queries, `(N,)` nats (Canary, arXiv 2210.10750)."""
    own = matrix(phi_query, "phi at the queries")
    inside, outside = (np.asarray(values, dtype=np.float64) for values in (phi_query_in, phi_query_out))
    if inside.ndim != 3 or outside.ndim != 3 or not own.shape == inside.shape[:2] == outside.shape[:2]:
        raise InputError(
            f"queries: phi of shapes {own.shape}, {inside.shape}, {outside.shape}; give (N, Q) and twice (N, Q, K)."
        )
    each = [model_lira(phi=own[:, q], phi_in=inside[:, q], phi_out=outside[:, q]) for q in range(own.shape[1])]
    return np.mean(each, axis=0)


def likelihood_ratio(
    p_true: npt.ArrayLike, outside: npt.ArrayLike, *, inside: npt.ArrayLike | None = None, a: float = 0.4
) -> FloatArray:
    """RMIA's p_y over what reference models give it on average, `(N,)`.

    Without models that hold the record (offline) their mean is guessed as `a mean_out + 1 - a`.

    Args:
        p_true: the target's probability of the true class, positive, `(N,)`.
        outside: that of models trained without the record, `(N, K)`.
        inside: that of models trained with it, `(N, K)`.
        a: slope of the guess: .3 CIFAR-10, .6 CIFAR-100, 1 ImageNet, .2 Purchase, else .4.
    """
    own, out = beside(p_true, outside)
    mean_out = out.mean(axis=1)
    mean_in = a * mean_out + 1 - a if inside is None else beside(p_true, inside)[1].mean(axis=1)
    if (own < 0).any() or (mean_in + mean_out <= 0).any():
        raise InputError("likelihood ratio: needs positive probabilities; TDDBench's stored signals are negated.")
    return own / ((mean_in + mean_out) / 2)


def ratio_share(ratio: npt.ArrayLike, population: npt.ArrayLike, gamma: float = 2.0) -> FloatArray:
    """Share of population ratios that each ratio exceeds more than `gamma`-fold, `(N,)` in 0..1."""
    others = np.sort(vector(population, "ratios of the population"))
    return np.searchsorted(others, vector(ratio, "likelihood ratios") / gamma, side="left") / len(others)


def split_references(values: npt.ArrayLike, inside: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Signals of reference models with each record, and of those without it: two `(N, K)` arrays.

    K is the smallest number that every record has of a side; of more, the first K are taken.

    Args:
        values: signal of R reference models on every record, `(N, R)`.
        inside: whether the model was trained with the record, `(N, R)`.

    Raises:
        InputError: the shapes differ, or a record is inside all models or none.
    """
    signals, held = matrix(values, "signals of the reference models"), matrix(inside, "membership") > 0
    if signals.shape != held.shape:
        raise InputError(f"references: signals {signals.shape} but membership {held.shape}; give both for each model.")
    counts = held.sum(axis=1)
    k_in, k_out = int(counts.min()), int(held.shape[1] - counts.max())
    if min(k_in, k_out) < 1:
        side = int(np.argmin(counts) if k_in < 1 else np.argmax(counts))
        raise InputError(
            f"references: record {side} is in {counts[side]} of {held.shape[1]} models; train more models."
        )
    first = np.argsort(~held, axis=1, kind="stable")  # the models that hold the record come first, in their order
    last = np.argsort(held, axis=1, kind="stable")
    return np.take_along_axis(signals, first[:, :k_in], 1), np.take_along_axis(signals, last[:, :k_out], 1)


def beside(own: npt.ArrayLike, others: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Signals of the target `(N,)`, and K more of the same records `(N, K)`."""
    values, rows = vector(own, "signals of the target"), matrix(others, "signals beside the target's")
    if len(values) != len(rows):
        raise InputError(f"detection: {len(values)} records but {len(rows)} rows beside them; align them.")
    return values, rows


def normal_cdf(own: FloatArray, mean: FloatArray, std: FloatArray) -> FloatArray:
    """Share of normal distributions below each value, `(N,)` in 0..1."""
    from scipy.special import ndtr

    return ndtr((own - mean) / np.maximum(std, _LEAST))


def _sides(
    own: npt.ArrayLike, inside: npt.ArrayLike, outside: npt.ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray]:
    values, held = beside(own, inside)
    return values, held, beside(own, outside)[1]


def _log_normal(own: FloatArray, references: FloatArray, axis: int | None) -> FloatArray:
    std = np.maximum(references.std(axis=axis), _LEAST)
    return -0.5 * ((own - np.median(references, axis=1)) / std) ** 2 - np.log(std)
