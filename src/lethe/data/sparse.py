"""Interactions as sparse matrices, item features as arrays: NumPy files that are read without running anything."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError, cause

BROKEN = (OSError, EOFError, ValueError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error, MemoryError)
IntArray = npt.NDArray[np.int64]


def sparse_rows(data: bytes, where: str) -> list[dict[str, int]]:
    """The non-zero entries of a matrix users x items as rows `{"user", "item"}`, user by user.

    Args:
        data: A file of `scipy.sparse.save_npz`, in the form csr, csc or coo.
        where: The file's name, for messages.

    Raises:
        InputError: If it is no such file, is damaged, or holds pickled objects.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        users, items = _coordinates(arrays)
    except (*BROKEN, AttributeError, TypeError) as error:
        raise InputError(
            f"{where}: is no intact matrix of scipy.sparse.save_npz ({cause(error).rstrip('.')}); write it again as "
            "csr, csc or coo."
        ) from error
    return [{"user": user, "item": item} for user, item in zip(users.tolist(), items.tolist(), strict=True)]


def _coordinates(arrays: dict[str, np.ndarray]) -> tuple[IntArray, IntArray]:
    """Row and column of every non-zero entry, each pair once, in order."""
    form = bytes(arrays["format"].item()).decode() if "format" in arrays else "csr"
    shape = tuple(int(side) for side in arrays["shape"])
    if form == "coo":
        rows, columns = arrays["row"], arrays["col"]
    elif form in ("csr", "csc"):
        starts = arrays["indptr"].astype(np.int64)
        if len(starts) != shape[form == "csc"] + 1 or starts[0] != 0 or starts[-1] != len(arrays["indices"]):
            raise ValueError("its rows do not add up to its entries")
        major, minor = np.repeat(np.arange(len(starts) - 1), np.diff(starts)), arrays["indices"]
        rows, columns = (major, minor) if form == "csr" else (minor, major)
    else:
        raise ValueError(f"the form {form!r} is none of csr, csc, coo")
    held = arrays["data"] != 0
    rows, columns = (np.asarray(side)[held].astype(np.int64) for side in (rows, columns))
    for side, limit in ((rows, shape[0]), (columns, shape[1])):
        if side.size and not 0 <= side.min() <= side.max() < limit:
            raise ValueError(f"an entry lies outside its shape {shape}")
    order = np.unique(rows * shape[1] + columns)
    return order // shape[1], order % shape[1]


def load_features(path: str | Path, items: int) -> npt.NDArray[np.float32]:
    """Features of all items, (I, D) float32, from an .npy file.

    Args:
        path: File of `numpy.save`: one row per item, in the order of the item ids.
        items: Number of items.

    Raises:
        InputError: If it is no such file, holds pickled objects, NaN or infinity, or features of another number of
            items.
    """
    try:
        found = np.load(path, allow_pickle=False)
    except BROKEN as error:
        pickled = "pickle" in str(error).lower()
        why = "it holds pickled objects, which run code when they are read" if pickled else cause(error).rstrip(".")
        raise InputError(f"{path}: cannot be read as an array ({why}); save the plain array by numpy.save.") from error
    if not isinstance(found, np.ndarray) or found.ndim != 2 or found.dtype.kind not in "iuf":
        raise InputError(f"{path}: is no table of numbers; save one row of features per item by numpy.save.")
    if len(found) != items:
        raise InputError(
            f"{path}: holds features of {len(found)} items and there are {items}; give one row per item id, from 0."
        )
    with np.errstate(over="ignore"):
        features = found.astype(np.float32)
    if not np.isfinite(features).all():
        row = int(np.flatnonzero(~np.isfinite(features).all(1))[0])
        raise InputError(f"{path}, row {row}: holds NaN or infinity; give finite features, or zeros for none.")
    return features
