"""Rows as they were read become records, or one sentence about the first bad one."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lethe.data.content import digest
from lethe.data.schema import KINDS, Alias, Record, Schema, nearest
from lethe.errors import InputError


def rename(row: Any, schema: Schema, place: str, *, cells: bool = False) -> dict[str, Any]:
    """A row with Lethe's names for its fields, without those that are absent (None).

    Args:
        row: As it was read.
        schema: Of its family.
        place: Of the row, for messages.
        cells: The values come from a table of plain text, where "" is absent and "3" a number.

    Raises:
        InputError: If it is no row, two of its fields mean the same, or a value has no translation.
    """
    if not isinstance(row, Mapping):
        raise InputError(f"{place}: is a {type(row).__name__}; a record must be an object with named fields.")
    renamed: dict[str, Any] = {}
    for name, value in row.items():
        alias = schema.aliases.get(name) or Alias(name)
        if cells:
            value = _cell(value, schema.fields.get(alias.name, ""))
        if value is None:
            continue
        if alias.name in renamed:
            raise InputError(f"{place}: has {alias.name!r} twice, once under another name ({name!r}); drop one.")
        if alias.values and str(value) not in alias.values:
            raise InputError(f"{place}, field {name!r}: is {value!r:.40}; write one of {', '.join(alias.values)}.")
        renamed[alias.name] = alias.values[str(value)] if alias.values else value
    return renamed


def check(
    rows: Iterable[tuple[int, Mapping[str, Any]]],
    schema: Schema,
    where: str,
    stem: str,
    *,
    image: Callable[[Any], np.ndarray],
    classes: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Turn renamed rows into records, each with an id, or say what is wrong with the first bad one.

    Args:
        rows: Row numbers (from 1) with `rename`d rows.
        schema: Of their family.
        where: Name of the source, for messages.
        stem: Start of the ids of records that have none.
        image: Decodes what stands in a field of kind image to (C, H, W).
        classes: Class names in the order of their numbers, where labels are names.

    Raises:
        InputError: Naming source, row and field.
    """
    converters = _CONVERTERS | {"image": image}
    records: list[dict[str, Any]] = []
    seen: dict[str, int] = {}
    first: tuple[int, dict[str, Any]] | None = None
    checked: Collection[str] | None = None
    for number, row in rows:
        place = f"{where}, row {number}"
        if row.keys() != checked:
            _check_names(row, schema, place)
            checked = row.keys()
        record: dict[str, Any] = {"id": ""}
        for name, value in row.items():
            kind = schema.fields.get(name)
            try:
                record[name] = converters[kind](value) if kind else value
            except InputError as error:
                raise InputError(f"{place}, field {name!r}: {error}.") from error
        first = first or (number, record)
        if not schema.mixed:
            _check_alike(record, first, schema, place)
        record["id"] = _identifier(row, record, f"{stem}:{number}", place)
        if record["id"] in seen:
            raise InputError(f"{place}: has the same id {record['id']!r} as row {seen[record['id']]}; make ids unique.")
        seen[record["id"]] = number
        records.append(record)
    if records and "label" in records[0]:
        _number_classes(records, classes, where)
    return records


def _check_names(row: Mapping[str, Any], schema: Schema, place: str) -> None:
    """One form, whole; and no field that looks like a misspelt one."""
    unknown = [name for name in row if name not in schema.fields and name != "id"]
    complete = [form for form in schema.forms if all(name in row for name in form)]
    if len(complete) > 1:
        raise InputError(f"{place}: holds the fields of more than one form; keep those of one: {schema.needed}.")
    if not complete:
        closest = max(schema.forms, key=lambda form: sum(name in row for name in form) - len(form))
        missing = next(name for name in closest if name not in row)
        # Of all forms, a field that is nearly spelt like an unknown one says best what was meant.
        for name in [missing, *(other for form in schema.forms for other in form if other not in row)]:
            if near := difflib.get_close_matches(name, unknown, n=1, cutoff=0.7):
                raise InputError(f"{place}: has no field {name!r}; is {near[0]!r} meant? Then rename it to {name!r}.")
        has = ", ".join(map(repr, row)) or "nothing"
        raise InputError(
            f"{place}: has no field {missing!r}, only {has}; a {schema.family} record needs {schema.needed}."
        )
    absent = [name for name in schema.fields if name not in row and not any(name in form for form in schema.forms)]
    for name in unknown:
        if near := difflib.get_close_matches(name, absent, n=1, cutoff=0.85):
            raise InputError(f"{place}: there is no field {name!r}; rename it to {near[0]!r}, or drop it.")


def _check_alike(record: Record, first: tuple[int, Record], schema: Schema, place: str) -> None:
    """Same fields, and values of the same shape, as the first record: scores are compared item by item."""
    number, model = first
    if record.keys() != model.keys():
        for name in schema.fields:
            if (name in record) != (name in model):
                has, other = ("has", "has not") if name in record else ("lacks", "has it")
                raise InputError(
                    f"{place}: {has} the field {name!r} and row {number} {other}; do not mix schemas in one source."
                )
    for name, value in record.items():
        if not isinstance(value, (list, np.ndarray)) or name not in schema.fields:
            continue
        shape, expected = np.shape(value), np.shape(model[name])
        if shape != expected:
            advice = "pass a size" if name == "image" else "give all rows the same"
            raise InputError(
                f"{place}, field {name!r}: has the shape {shape} and row {number} has {expected}; {advice}."
            )


def _identifier(row: Record, record: Record, position: str, place: str) -> str:
    """The record's own id; else its position with the start of its content's hash."""
    own = row.get("id")
    if own is None:
        return f"{position}:{digest({name: value for name, value in record.items() if name != 'id'})[:8]}"
    if isinstance(own, bool) or not isinstance(own, (str, int)) or not str(own).strip():
        raise InputError(f"{place}, field 'id': is {own!r}; write {KINDS['name']}, or leave the field out.")
    return str(own)


def _number_classes(records: Sequence[dict[str, Any]], classes: Sequence[str], where: str) -> None:
    """Replace class names by their number; the name stays as `class`."""
    named = [record for record in records if isinstance(record["label"], str)]
    if named and len(named) != len(records):
        raise InputError(f"{where}: some labels are numbers and some are names; use one of the two.")
    numbers = {name: number for number, name in enumerate(classes)}
    for record in named:
        name = record["label"]
        if name not in numbers:
            raise InputError(f"{where}: the label {name!r} is none of the classes; {nearest(name, numbers)}")
        record["class"], record["label"] = name, numbers[name]


def _wrong(kind: str, value: Any) -> InputError:
    shown = f"{value!r:.40}" if isinstance(value, (str, int, float)) else f"a {type(value).__name__}"
    return InputError(f"is {shown}; write {KINDS[kind]}")


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _wrong("text", value)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"holds half of a surrogate pair at character {error.start}; write it as UTF-8") from error
    return value


def _texts(value: Any) -> list[str]:
    if not isinstance(value, (list, tuple)):
        raise _wrong("texts", value)
    if not value:
        raise InputError("is an empty list; give at least one text, or leave the field out")
    return [_text(inner) for inner in value]


def _wordings(value: Any) -> str | list[str]:
    if not isinstance(value, (str, list, tuple)):
        raise _wrong("wordings", value)
    return _text(value) if isinstance(value, str) else _texts(value)


def _index(value: Any) -> int:
    if isinstance(value, float) and not math.isfinite(value):
        raise _wrong("index", value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
        raise _wrong("index", value)
    if not 0 <= value < 2**63:
        raise _wrong("index", value)
    return int(value)


def _class(value: Any) -> int | str:
    try:
        return _text(value) if isinstance(value, str) else _index(value)
    except InputError:
        raise _wrong("class", value) from None


def _decisions(value: Any) -> list[int]:
    if not isinstance(value, (list, tuple, np.ndarray)) or not len(value) or any(one not in (0, 1) for one in value):
        raise _wrong("decisions", value)
    return [int(one) for one in value]


def _name(value: Any) -> int | str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float) and value.is_integer():  # a column with gaps comes as floats
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong("name", value)
    return value


def _numbers(value: Any, kind: str) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError:  # ragged
        raise _wrong(kind, value) from None
    if array.dtype.kind not in "iuf" or not array.size:
        raise _wrong(kind, value)
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise InputError(f"holds NaN or infinity; write {KINDS[kind]}")
    return array


def _vector(value: Any) -> np.ndarray:
    array = _numbers(value, "vector")
    if array.ndim != 1:
        raise _wrong("vector", value)
    return array


def image_array(value: Any) -> np.ndarray:
    """An image that is given as numbers: (C, H, W) float32 in [0, 1]."""
    array = _numbers(value, "image")
    if array.ndim != 3 or array.min() < 0 or array.max() > 1:
        raise InputError(f"has the shape {array.shape} and values up to {array.max():g}; write {KINDS['image']}")
    return array


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "text": _text,
    "texts": _texts,
    "wordings": _wordings,
    "index": _index,
    "class": _class,
    "decisions": _decisions,
    "name": _name,
    "vector": _vector,
}


def _cell(text: str, kind: str) -> Any:
    """The value that a cell of a plain-text table stands for, in a field of that kind."""
    if text == "":
        return None
    try:
        if kind in ("index", "class", "name") and str(int(text)) == text:
            return int(text)
        if kind == "index":
            return float(text)
        if kind in ("texts", "wordings", "vector", "image", "decisions") and text.startswith("["):
            return json.loads(text)
    except (ValueError, RecursionError):
        pass  # the field's own check says it better
    return text
