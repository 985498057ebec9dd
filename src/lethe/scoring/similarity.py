"""How alike two models represent the same records, whatever the basis and scale of their states.

Linear CKA in its published form is biased upward by about d / (d + n) for states of width d on n records, so that two
unrelated models look alike; here it is built from the unbiased HSIC_1 of Song et al. (Kornblith et al., 1905.00414;
arXiv 2503.06991 compares unlearned with retrained models by it). Of many records the terms are summed over shuffled
batches before the ratio is taken (arXiv 2010.15327): a mean of the batches' ratios is another number.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError
from lethe.scoring.arrays import FloatArray, IntArray, matrix
from lethe.scoring.intervals import Interval

PERMUTATIONS = 200
BLOCKS = 25  # most parts of the jackknife
BATCH = 512  # records of a batch, as published
WHOLE = 1024  # most records that are compared all with all


class Alike(NamedTuple):
    """Debiased CKA with what it is read against: the biased form, and random pairs of records.

    p: share of random pairings whose CKA is as high, above 0; null: their 95 % quantile.
    """

    value: float
    biased: float
    null: float
    p: float


def hsic(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Unbiased HSIC_1 of two models' states `(N, D)` and `(N, E)` of the same records, linear kernels; 0 if unrelated.

    Raises:
        InputError: fewer than four records, or other records in `b`.
    """
    own, other = _gram(a), _gram(b)
    _same_records(own, other)
    return float((_centred(own) * _centred(other)).sum() / (len(own) * (len(own) - 3)))


def cka(a: npt.ArrayLike, b: npt.ArrayLike, *, batch: int = 0, seed: int = 0) -> float:
    """Debiased linear CKA of two models' states of the same records, -1 to 1; 1 = the same up to rotation and scale.

    Two independent sets of states have 0 in expectation; few records can come out below.

    Args:
        a: states of one model, `(N, D)`, N at least 4.
        b: states of the other, `(N, E)`.
        batch: most records of a batch over which the terms are summed; 0: all at once up to 1,024 records, then 512.
        seed: seed of the batches.

    Returns:
        NaN where one model's states do not differ between records.

    Raises:
        InputError: fewer than four records, or other records in `b`.
    """
    return _ratio(_centred_pairs(a, b, batch, seed))


def cka_biased(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Linear CKA as published, 0 to 1: about d / (d + n) for unrelated models; for comparison with printed values."""
    own, other = _rows(a), _rows(b)
    _same_records(own, other)
    if max(own.shape[1], other.shape[1]) < len(own):  # the same number from what is smaller
        own, other = ((rows - rows.mean(0)) * _told(rows) for rows in (own, other))
        terms = (np.square(x.T @ y).sum() for x, y in ((own, other), (own, own), (other, other)))
        return _quotient(*terms)
    return _cosine(*(k - k.mean(0) - k.mean(1)[:, None] + k.mean() for k in (_gram(own), _gram(other))))


def cka_paper(a: npt.ArrayLike, b: npt.ArrayLike, *, batch: int = BATCH) -> float:
    """Linear CKA as arXiv 2503.06991 computes it, 0 to 1: biased, by batches in the order of the records, their mean.

    The last batch weighs as much as the others however short it is; one of less than four records is left out.

    Args:
        a: states of one model, `(N, D)`.
        b: states of the other, `(N, E)`.
        batch: records of a batch.
    """
    own, other = _rows(a), _rows(b)
    _same_records(own, other)
    starts = [start for start in range(0, len(own), batch) if start == 0 or len(own) - start >= 4]
    return float(np.mean([cka_biased(own[i : i + batch], other[i : i + batch]) for i in starts]))


def alike(a: npt.ArrayLike, b: npt.ArrayLike, *, seed: int = 0) -> Alike:
    """Debiased CKA beside the biased form and the null of randomly paired records.

    Args:
        a: states of one model, `(N, D)`.
        b: states of the other, `(N, E)`.
        seed: seed of the pairings, which of many records stay inside of their batches.
    """
    pairs = _centred_pairs(a, b, 0, seed)
    value = _ratio(pairs)
    if np.isnan(value):
        return Alike(value, cka_biased(a, b), value, value)
    rng = np.random.default_rng(seed)
    sizes = np.prod([np.sqrt(_term(one, one)) for one in zip(*pairs, strict=True)])
    orders = ([rng.permutation(len(own)) for own, _ in pairs] for _ in range(PERMUTATIONS))
    drawn = np.array([_term(*_shuffled(pairs, order)) for order in orders]) / sizes
    p = (1 + int((drawn >= value - 1e-12).sum())) / (1 + PERMUTATIONS)
    return Alike(value, cka_biased(a, b), float(np.quantile(drawn, 0.95)), p)


def cka_interval(pairs: Sequence[tuple[FloatArray, FloatArray]], *, value: float) -> Interval:
    """95 % interval of the mean debiased CKA over pairs of states of the same N records, by the jackknife over records.

    The bootstrap would draw records twice, whose equal states no estimator can tell from alike models.

    Args:
        pairs: states of one and the other model, `(N, D)` and `(N, E)` each; pairs without a CKA are left out.
        value: the mean itself.
    """
    means = np.nanmean(jackknifed(pairs), axis=0)
    reach = 1.96 * jackknife_error(means)
    return Interval(max(-1.0, value - reach), min(1.0, value + reach))


def jackknifed(pairs: Sequence[tuple[FloatArray, FloatArray]]) -> FloatArray:
    """Debiased CKA of each pair with every 25th of the same N records left out in turn, `(pairs, up to 25)`.

    NaN where fewer than four records would be left.
    """
    count = len(pairs[0][0])
    blocks = min(BLOCKS, count)
    part = np.arange(count) % blocks
    if count - np.bincount(part).max() < 4:
        return np.full((len(pairs), blocks), np.nan)
    if count > WHOLE:  # the same records in batches, each time anew
        kept = [np.flatnonzero(part != block) for block in range(blocks)]
        return np.array([[cka(np.asarray(a)[rows], np.asarray(b)[rows]) for rows in kept] for a, b in pairs])
    grams = [(_gram(a), _gram(b)) for a, b in pairs]

    def without(block: int, own: FloatArray, other: FloatArray) -> float:
        rows = np.flatnonzero(part != block)
        return _cosine(_centred(own[np.ix_(rows, rows)]), _centred(other[np.ix_(rows, rows)]))

    return np.array([[without(block, *pair) for block in range(blocks)] for pair in grams])


def jackknife_error(values: FloatArray) -> float:
    """Standard error of what was computed without each of B parts of the records in turn, `(B,)`."""
    return float(np.sqrt((len(values) - 1) / len(values) * np.square(values - values.mean()).sum()))


def _centred_pairs(a: npt.ArrayLike, b: npt.ArrayLike, batch: int, seed: int) -> list[tuple[FloatArray, FloatArray]]:
    """U-centred Gram matrices of both models, batch by batch; batches are of equal size up to one record."""
    own, other = _rows(a), _rows(b)
    _same_records(own, other)
    most = batch or (len(own) if len(own) <= WHOLE else BATCH)
    order = np.arange(len(own)) if len(own) <= most else np.random.default_rng(seed).permutation(len(own))
    parts: Iterable[IntArray] = np.array_split(order, -(-len(own) // most))
    return [(_centred(_gram(own[part])), _centred(_gram(other[part]))) for part in parts]


def _shuffled(
    pairs: Sequence[tuple[FloatArray, FloatArray]], orders: Sequence[IntArray]
) -> tuple[list[FloatArray], list[FloatArray]]:
    """The batches of both models, the records of the second in another order."""
    others = [other[order][:, order] for (_, other), order in zip(pairs, orders, strict=True)]
    return [own for own, _ in pairs], others


def _ratio(pairs: Sequence[tuple[FloatArray, FloatArray]]) -> float:
    own, other = zip(*pairs, strict=True)
    return _quotient(_term(own, other), _term(own, own), _term(other, other))


def _term(own: Sequence[FloatArray], other: Sequence[FloatArray]) -> float:
    """Sum of HSIC_1 over batches of U-centred Gram matrices, each with the weight of its records."""
    return float(sum(np.vdot(a, b) / (len(a) - 3) for a, b in zip(own, other, strict=True)))


def _rows(states: npt.ArrayLike) -> FloatArray:
    rows = matrix(states, "hidden states")
    if len(rows) < 4:
        raise InputError(f"CKA: {len(rows)} records; compare at least four.")
    return rows


def _told(rows: FloatArray) -> bool:
    """States that are equal up to rounding say nothing of which records are alike."""
    return bool(np.abs(rows - rows.mean(0)).max() > 1e-5 * (np.abs(rows).max() + 1e-12))


def _gram(states: npt.ArrayLike) -> FloatArray:
    rows = _rows(states)
    centred = (rows - rows.mean(0)) * _told(rows)  # changes no CKA, and keeps large means from eating up the digits
    return centred @ centred.T


def _same_records(own: FloatArray, other: FloatArray) -> None:
    if len(own) != len(other):
        raise InputError(f"CKA: {len(own)} and {len(other)} records; look at both models with the same ones.")


def _centred(gram: FloatArray) -> FloatArray:
    """U-centred: the inner product of two is n (n - 3) HSIC_1, the diagonal left out."""
    n = len(gram)
    off = gram.copy()
    np.fill_diagonal(off, 0.0)
    sums = off.sum(0)
    off += sums.sum() / ((n - 1) * (n - 2)) - (sums[:, None] + sums[None]) / (n - 2)
    np.fill_diagonal(off, 0.0)
    return off


def _cosine(a: FloatArray, b: FloatArray) -> float:
    return _quotient(float((a * b).sum()), float((a * a).sum()), float((b * b).sum()))


def _quotient(both: float, own: float, other: float) -> float:
    length = float(np.sqrt(own * other))
    return float(np.clip(both / length, -1, 1)) if length > 0 else float("nan")
