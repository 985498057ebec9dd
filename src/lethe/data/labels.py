"""One numbering of class names for all sets of a request, and the model's own where it has one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lethe.data.schema import nearest
from lethe.errors import InputError


def aligned(
    sets: Mapping[str, Sequence[Mapping[str, Any]]], names: Sequence[str] = (), count: int | None = None
) -> dict[str, Sequence[Mapping[str, Any]]]:
    """The sets with their named labels numbered alike: a source that holds one class alone would call it class 0.

    Args:
        sets: Set name -> records; those whose label was a name hold it as "class".
        names: Class names of the model in the order of their numbers; without them those of all sets, sorted.
        count: Number of the model's classes, where it is known.

    Raises:
        InputError: If a name is none of the model's, or the model has no names and not as many classes as the sets.
    """
    rows = [record for records in sets.values() for record in records if isinstance(record, Mapping)]
    every = sorted({str(record["class"]) for record in rows if "class" in record})
    if not every:
        return dict(sets)
    if not names and count is not None and len(every) != count:
        raise InputError(
            f"The records name {len(every)} classes ({every[0]!r}...) and the model has {count} without names, so that "
            "it is not known which is which; write labels as numbers, or id2label into the model's config.json."
        )
    numbers = {name: number for number, name in enumerate(names or every)}
    return {name: [_numbered(record, numbers, name) for record in records] for name, records in sets.items()}


def _numbered(record: Mapping[str, Any], numbers: Mapping[str, int], place: str) -> Mapping[str, Any]:
    if not isinstance(record, Mapping) or "class" not in record:
        return record
    name = str(record["class"])
    if name not in numbers:
        raise InputError(f"{place} record {record['id']!r}: the model has no class {name!r}; {nearest(name, numbers)}")
    return record if record["label"] == numbers[name] else {**record, "label": numbers[name]}
