"""Tests of one model against its controls, and the correction for testing many things at once."""

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError
from lethe.scoring.arrays import FloatArray, vector


def holm(p: npt.ArrayLike) -> FloatArray:
    """p-values after Holm's step-down correction, in their order: at most a share alpha of families has a false one.

    The smallest of m is multiplied by m, the next by m - 1, and none may fall below the one before it.

    Args:
        p: p-values of one family, `(m,)`; m may be 0.

    Raises:
        InputError: a value outside 0..1.
    """
    if not np.size(p):
        return np.zeros(0)
    values = vector(p, "p-values")
    if (values < 0).any() or (values > 1).any():
        raise InputError("p-values: one lies outside 0 to 1; recompute it.")
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def paired_p(differences: npt.ArrayLike) -> float:
    """One-sided p of a mean difference that is not above 0: Student's t over the items, n - 1 degrees of freedom.

    Args:
        differences: of each item, what one model scores above another, `(N,)`; with one item nothing is sure (p = 1).

    Raises:
        InputError: no item, or a value that is not finite.
    """
    values = vector(differences, "differences of items")
    if len(values) < 2:
        return 1.0
    return tail_p(float(values.mean()), float(values.std(ddof=1)) / len(values) ** 0.5, len(values) - 1)


def tail_p(gap: float, error: float, df: float) -> float:
    """One-sided p of a gap above 0 under Student's t.

    Args:
        gap: what was observed.
        error: its standard error; where it is 0, p is 0 for a gap above 0 and otherwise 1.
        df: degrees of freedom, above 0.
    """
    from scipy.stats import t

    if error <= 0:
        return float(gap <= 0)
    return float(t.sf(gap / error, df))
