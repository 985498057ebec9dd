"""How alike two models represent the same records, whatever the basis and scale of their states.

Linear CKA in its published form is biased upward by about d / (d + n) for states of width d on n records, so that two
unrelated models look alike; here it is built from the unbiased HSIC_1 of Song et al. (Kornblith et al., 1905.00414;
arXiv 2503.06991 compares unlearned with retrained models by it).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError
from lethe.scoring.arrays import FloatArray, IntArray, matrix
from lethe.scoring.intervals import Interval

PERMUTATIONS = 200
BLOCKS = 25  # most parts of the jackknife


class Alike(NamedTuple):
    """Debiased CKA with what it is read against: the biased form, and random pairs of records.

    p: share of random pairings whose CKA is as high, above 0; null: their 95 % quantile.
    """

    value: float
    biased: float
    null: float
    p: float


def cka(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Debiased linear CKA of two models' states of the same records, -1 to 1; 1 = the same up to rotation and scale.

    Two independent sets of states have 0 in expectation; few records can come out below.

    Args:
        a: states of one model, `(N, D)`, N at least 4.
        b: states of the other, `(N, E)`.

    Returns:
        NaN where one model's states do not differ between records.

    Raises:
        InputError: fewer than four records, or other records in `b`.
    """
    own, other = _gram(a), _gram(b)
    _same_records(own, other)
    return _cosine(_centred(own), _centred(other))


def cka_biased(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Linear CKA as published, 0 to 1: about d / (d + n) for unrelated models; for comparison with printed values."""
    own, other = _gram(a), _gram(b)
    _same_records(own, other)
    return _cosine(*(k - k.mean(0) - k.mean(1)[:, None] + k.mean() for k in (own, other)))


def alike(a: npt.ArrayLike, b: npt.ArrayLike, *, seed: int = 0) -> Alike:
    """Debiased CKA beside the biased form and the null of randomly paired records.

    Args:
        a: states of one model, `(N, D)`.
        b: states of the other, `(N, E)`.
        seed: seed of the pairings.
    """
    own, other = _centred(_gram(a)), _centred(_gram(b))
    value = cka(a, b)
    if np.isnan(value):
        return Alike(value, cka_biased(a, b), value, value)
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(own)) for _ in range(PERMUTATIONS)]
    drawn = np.array([_cosine(own, other[np.ix_(order, order)]) for order in orders])
    p = (1 + int((drawn >= value - 1e-12).sum())) / (1 + PERMUTATIONS)
    return Alike(value, cka_biased(a, b), float(np.quantile(drawn, 0.95)), p)


def cka_interval(pairs: list[tuple[FloatArray, FloatArray]], *, value: float) -> Interval:
    """95 % interval of the mean debiased CKA over pairs of states of the same N records, by the jackknife over records.

    The bootstrap would draw records twice, whose equal states no estimator can tell from alike models.

    Args:
        pairs: states of one and the other model, `(N, D)` and `(N, E)` each; pairs without a CKA are left out.
        value: the mean itself.
    """
    grams = [(_gram(a), _gram(b)) for a, b in pairs]
    count = len(grams[0][0])
    blocks = min(BLOCKS, count)
    part = np.arange(count) % blocks
    if count - np.bincount(part).max() < 4:
        return Interval(float("nan"), float("nan"))
    kept = [np.flatnonzero(part != block) for block in range(blocks)]

    def mean(rows: IntArray) -> float:
        parts = [[_centred(gram[np.ix_(rows, rows)]) for gram in pair] for pair in grams]
        return float(np.nanmean([_cosine(own, other) for own, other in parts]))

    means = np.array([mean(rows) for rows in kept])
    reach = 1.96 * float(np.sqrt((blocks - 1) / blocks * ((means - means.mean()) ** 2).sum()))
    return Interval(max(-1.0, value - reach), min(1.0, value + reach))


def _gram(states: npt.ArrayLike) -> FloatArray:
    rows = matrix(states, "hidden states")
    if len(rows) < 4:
        raise InputError(f"CKA: {len(rows)} records; compare at least four.")
    rows = rows - rows.mean(0)  # changes no CKA, and keeps large means from eating up the digits
    spread = np.abs(rows).max()
    # States that are equal up to rounding say nothing of which records are alike.
    return rows @ rows.T if spread > 1e-5 * (np.abs(states).max() + 1e-12) else np.zeros((len(rows), len(rows)))


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
    length = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float(np.clip((a * b).sum() / length, -1, 1)) if length > 0 else float("nan")
