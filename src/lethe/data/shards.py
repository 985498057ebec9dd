"""Which shard and slice a record belongs to: a function of the record and a seed alone, so that none moves another."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from lethe.data.schema import Record
from lethe.errors import InputError

Shards = list[list[list[Record]]]  # of every shard the slices, of every slice the records


def place(key: object, shards: int, slices: int, seed: int) -> tuple[int, int, str]:
    """Shard, slice, and the rank within it (a hash), of whatever carries this key."""
    drawn = hashlib.sha256(f"{seed}|{key}".encode()).hexdigest()
    number = int(drawn[:32], 16)
    return number % shards, number // shards % slices, drawn


def check_numbers(shards: int, slices: int, records: int) -> None:
    """Refuse what cannot be divided so. After deletions shards may well outnumber the records, some then being empty.

    Raises:
        InputError: If there are fewer records than shards, or a number is below 1.
    """
    for name, value in (("shards", shards), ("slices", slices)):
        if value < 1:
            raise InputError(f"{name} is {value}; give at least 1.")
    if shards > records:
        raise InputError(f"{shards} shards are more than the {records} records; give at most {records}.")


def assign(records: Sequence[Record], shards: int, slices: int, seed: int, by: str = "id") -> Shards:
    """The records in their shards and slices, in an order that is each record's own.

    Uniform and independent, like the drawing of balls into urns: sizes vary, and a shard of few records may be empty.
    Cutting a shuffled list into equal parts would move records between shards whenever one of them is deleted.

    Args:
        records: Records with unique ids.
        shards: Number of shards.
        slices: Number of slices in every shard.
        seed: Seed of the assignment.
        by: Field whose value decides the shard and the slice; records that share it stay together.

    Raises:
        InputError: If a record lacks the field.
    """
    found: Shards = [[[] for _ in range(slices)] for _ in range(shards)]
    for record in sorted(records, key=lambda record: place(record["id"], 1, 1, seed)[2]):
        if by not in record:
            raise InputError(f"record {record['id']!r} has no field {by!r} to be sharded by; it has {sorted(record)}.")
        shard, part, _ = place(record[by], shards, slices, seed)
        found[shard][part].append(record)
    return found
