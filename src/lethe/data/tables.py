"""Tables of numbers with a label per row."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lethe.data.parse import format_of, parse
from lethe.errors import InputError, cause
from lethe.registry import did_you_mean


@dataclass(frozen=True)
class NumericTable:
    """Rows (N, D) with their classes (N,), numbered in the order of their names."""

    name: str
    rows: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]


def read_table(path: str | Path, label: str) -> NumericTable:
    """A file whose columns are all numbers but the one that names the class.

    Args:
        path: A csv or tsv file with a header, jsonl or parquet.
        label: Name of the label's column.

    Raises:
        InputError: If the file cannot be read, has no such column or no other, a cell is no finite number, or all rows
            are of one class.
    """
    file = Path(path).expanduser()
    try:
        rows = parse(file.read_bytes(), format_of(file), str(file))
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({cause(error)}); check the path and its permissions.") from error
    columns = list(rows[0])
    if label not in columns:
        near = did_you_mean(label, columns)
        raise InputError(f"{file}: there is no column {label!r}{near}; name the one that holds the class.")
    features = [name for name in columns if name != label]
    if not features:
        raise InputError(f"{file}: beside {label!r} there is no column to tell classes by.")
    numbers = [
        [_number(row.get(name), f"{file}, row {place}, column {name!r}") for name in features]
        for place, row in enumerate(rows, 1)
    ]
    classes, labels = np.unique([str(row[label]) for row in rows], return_inverse=True)
    if len(classes) < 2:
        raise InputError(f"{file}: all rows have {label}={classes[0]}; a classifier needs two classes or more.")
    return NumericTable(file.stem, np.array(numbers, dtype=np.float32), labels, tuple(map(str, classes)))


def _number(cell: object, where: str) -> float:
    try:
        number = float(cell)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        number = np.nan
    if not np.isfinite(number):
        raise InputError(f"{where}: {cell!r} is no finite number; encode names as numbers, fill or drop what is empty.")
    return number
