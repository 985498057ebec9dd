"""What every score checks of its input: float64, the expected shape, no NaN."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


def vector(values: npt.ArrayLike, what: str, *, finite: bool = True) -> FloatArray:
    """Return `values` as a non-empty `(N,)` float64 array.

    Args:
        values: one number per item, `(N,)`.
        what: the name the error message gives to the values.
        finite: refuse infinities as well as NaN.

    Raises:
        InputError: another shape, no item, or a value that is not a number.
    """
    return _checked(values, what, ndim=1, finite=finite)


def matrix(values: npt.ArrayLike, what: str, *, finite: bool = True) -> FloatArray:
    """Return `values` as a non-empty `(N, K)` float64 array.

    Args:
        values: one row per item, `(N, K)`.
        what: the name the error message gives to the values.
        finite: refuse infinities as well as NaN.

    Raises:
        InputError: another shape, no entry, or a value that is not a number.
    """
    return _checked(values, what, ndim=2, finite=finite)


def ragged(items: Sequence[npt.ArrayLike], what: str) -> list[FloatArray]:
    """Return items of different lengths as a list of N non-empty `(T_i,)` float64 arrays.

    Args:
        items: one array of per-token values per item.
        what: the name the error message gives to the values.

    Raises:
        InputError: no item, an item without a token, or a value that is NaN.
    """
    if len(items) == 0:
        raise InputError(f"{what}: there are no items; give at least one.")
    return [vector(item, f"{what}, item {i}", finite=False) for i, item in enumerate(items)]


def probabilities(values: npt.ArrayLike, what: str) -> FloatArray:
    """Return `values` as `(N, C)` float64 rows of probabilities.

    Args:
        values: one distribution per item, `(N, C)`.
        what: the name the error message gives to the values.

    Raises:
        InputError: a negative entry, or a row whose sum is further than 1e-3 from 1.
    """
    rows = matrix(values, what)
    if (rows < 0).any() or (np.abs(rows.sum(axis=1) - 1) > 1e-3).any():
        raise InputError(f"{what}: rows are not probabilities; apply a softmax over the classes first.")
    return rows


def same_shape(a: FloatArray, b: FloatArray, what: str) -> None:
    """Refuse two arrays that must pair up item by item but do not.

    Args:
        a: first array.
        b: second array.
        what: the name the error message gives to the pair.

    Raises:
        InputError: the shapes differ.
    """
    if a.shape != b.shape:
        raise InputError(f"{what}: shapes {a.shape} and {b.shape} differ; score the same items in the same order.")


def _checked(values: npt.ArrayLike, what: str, *, ndim: int, finite: bool) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != ndim or array.size == 0:
        form = "(N,)" if ndim == 1 else "(N, K)"
        raise InputError(f"{what}: expected a non-empty {form} array, got shape {array.shape}; check the input.")
    bad = ~np.isfinite(array) if finite else np.isnan(array)
    if bad.any():
        where = np.argwhere(bad)[0].tolist()
        raise InputError(f"{what}: the value at {where} is {array[tuple(where)]}; repair or leave out that item.")
    return array
