"""The bytes of a file become rows: one function per format, none of which knows a schema."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lethe.data.sparse import sparse_rows
from lethe.errors import InputError

Rows = list[Any]  # what is no mapping is refused, with its row number, by `lethe.data.check.rename`


def parse(data: bytes, form: str, where: str) -> Rows:
    """Read all rows of a file, or nothing.

    Args:
        data: The whole file.
        form: A key of `FORMATS`.
        where: The file's name, for messages.

    Raises:
        InputError: If the bytes are not whole and valid in that format, or hold no row.
    """
    rows = FORMATS[form](data, where)
    if not rows:
        raise InputError(f"{where}: holds no records; give a file with at least one.")
    return rows


def format_of(path: Path, given: str | None = None) -> str:
    """The format that a file's name stands for, unless another is `given`.

    Raises:
        InputError: If there is no such format.
    """
    form = given or SUFFIXES.get(path.suffix.lower())
    if form is None and path.suffix.lower() in REFUSED:
        told = REFUSED[path.suffix.lower()].format(name=path.name, stem=path.stem)
        raise InputError(f"{path}: {told}.")
    if form not in FORMATS:
        raise InputError(f"{path}: the format {given or path.suffix!r} is unknown; pass one of {', '.join(FORMATS)}.")
    return form


def _text(data: bytes, where: str) -> str:
    mark = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
    try:
        return data[mark:].decode()
    except UnicodeDecodeError as error:
        at = error.start + mark
        if error.reason == "unexpected end of data":
            raise InputError(
                f"{where}: ends in the middle of a character at byte {at}; it is truncated, get it again."
            ) from error
        raise InputError(f"{where}: is not UTF-8 at byte {at} (0x{data[at]:02x}); save it as UTF-8.") from error


def _json(data: bytes, where: str) -> Rows:
    """A list of objects, an object of equally long lists, one object, or (as many data sets do) JSON lines."""
    text = _text(data, where)
    if not text.strip():
        return []
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return _json_lines(data, where)
        truncated = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
        raise InputError(
            f"{where}: is not JSON ({error.msg}: line {error.lineno}, column {error.colno}); "
            f"{'it is truncated, get it again' if truncated else 'mend it there'}."
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: holds a number too long or a nesting too deep to be data; mend it.") from error
    if isinstance(value, list):
        return value
    if isinstance(value, dict) and value and all(isinstance(column, list) for column in value.values()):
        lengths = {name: len(column) for name, column in value.items()}
        if len(set(lengths.values())) > 1:
            raise InputError(f"{where}: its lists differ in length ({lengths}); make them equal.")
        return [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]
    return [value]


def _json_lines(data: bytes, where: str) -> Rows:
    rows = []
    lines = _text(data, where).split("\n")  # not splitlines: a text may hold U+2028
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            advice = "it is truncated, get it again" if number == len(lines) else "write one JSON object a line"
            if not rows:
                advice = "write one JSON object a line, or pass format='txt' if it holds plain lines"
            said = error.msg if isinstance(error, json.JSONDecodeError) else "a number too long or a nesting too deep"
            raise InputError(f"{where}, line {number}: is not JSON ({said}); {advice}.") from error
    return rows


def _table(delimiter: str, typed: bool = False) -> Callable[[bytes, str], Rows]:
    """A reader of tables; in a typed one (RecBole's atomic files) the type follows each name: `user_id:token`."""

    def read(data: bytes, where: str) -> Rows:
        csv.field_size_limit(2**31 - 1)  # a text may be a book
        reader = csv.reader(io.StringIO(_text(data, where), newline=""), delimiter=delimiter, strict=True)
        try:
            lines = [(reader.line_num, cells) for cells in reader if cells]
        except csv.Error as error:
            raise InputError(f"{where}, line {reader.line_num}: {error}; mend it, or get the file again.") from error
        if not lines:
            return []
        header = [cell.partition(":")[0] if typed else cell for cell in lines[0][1]]
        if len(set(header)) < len(header):
            raise InputError(f"{where}: two columns have the same name; rename one.")
        for number, cells in lines[1:]:
            if len(cells) != len(header):
                raise InputError(
                    f"{where}, line {number}: has {len(cells)} cells and the header has {len(header)}; "
                    "put quotes around cells that hold the separator, or get the file again."
                )
        return [dict(zip(header, cells, strict=True)) for _, cells in lines[1:]]

    return read


def _plain_lines(data: bytes, where: str) -> Rows:
    return [{"text": line} for line in (row.rstrip("\r") for row in _text(data, where).split("\n")) if line.strip()]


def _parquet(data: bytes, where: str) -> Rows:
    import pyarrow as pa
    from pyarrow import parquet

    if not data:
        return []
    try:
        table = parquet.read_table(pa.BufferReader(data), use_threads=False)
        rows = table.to_pylist()
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        first = str(error).split("\n", 1)[0].rstrip(".")
        raise InputError(f"{where}: is not whole parquet ({first}); get it again.") from error
    if len(set(table.column_names)) < len(table.column_names):
        raise InputError(f"{where}: two columns have the same name; rename one.")
    return rows


FORMATS: dict[str, Callable[[bytes, str], Rows]] = {
    "jsonl": _json_lines,
    "json": _json,
    "csv": _table(","),
    "tsv": _table("\t"),
    "parquet": _parquet,
    "txt": _plain_lines,
    "inter": _table("\t", typed=True),
    "npz": sparse_rows,
}
UNTYPED = frozenset({"csv", "tsv", "inter"})  # formats whose values are all text
SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".inter": "inter",  # RecBole and MMRec
    ".parquet": "parquet",
    ".txt": "txt",
    ".npz": "npz",  # scipy.sparse.save_npz
}
_PICKLE = (
    "is a pickle, which runs whatever code it holds when it is read; where you trust it, convert it there by two lines "
    "of Python: import pickle, scipy.sparse; scipy.sparse.save_npz('{stem}.npz', scipy.sparse.csr_matrix(pickle.load("
    "open('{name}', 'rb')))) and give {stem}.npz"
)
REFUSED = {  # what other projects' data come as, and what to do
    ".pkl": _PICKLE,
    ".pickle": _PICKLE,
    ".mat": "is a MATLAB file; convert it by two lines of Python: import scipy.io, scipy.sparse; scipy.sparse.save_npz("
    "'{stem}.npz', scipy.sparse.csr_matrix(scipy.io.loadmat('{name}')['NAME'])) and give {stem}.npz",
    ".npy": "is an array or a pickle, not a table of records; interactions come as .tsv, .csv, .inter or .npz (what "
    "CURE4Rec's pos_dict.npy holds stands in its train.csv), item features as a benchmark's own option",
}
