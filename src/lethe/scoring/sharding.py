"""What sharded training saves when records are deleted (SISA, arXiv 1912.03817), in closed form.

A deletion retrains its shard from the checkpoint before its slice on. Stage j of R trains on the first j slices, so a
shard costs R (R + 1) / 2 slices in all, and a deletion in slice r costs it the stages r to R again.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

from lethe.errors import InputError


def touched(shards: int, deletions: int, rows: int | None = None) -> float:
    """Expected number of shards that K deletions touch: S (1 - (1 - 1/S)^K).

    Args:
        shards: S.
        deletions: K.
        rows: Number of rows, where the deletions are distinct rows of shards of equal size: S (1 - C(n - n/S, K) /
            C(n, K)), a little more. Without it rows fall on shards independently, as `lethe.data.shards` places them.

    Raises:
        InputError: If the numbers do not belong together.
    """
    return shards * _met(1, shards, deletions, rows)


def retrained(shards: int, slices: int, deletions: int, rows: int | None = None) -> float:
    """Expected share of the ensemble's training that K deletions cost again, 0 to 1.

    Stage j is trained again if a deletion falls on the first j slices of its shard: the sum over j of j / (1 + ... + R)
    times the chance of that. One deletion costs (2R + 1) / (3R) / S; without slices K cost touched / S.

    Args:
        shards: S.
        slices: R.
        deletions: K.
        rows: As in `touched`.

    Raises:
        InputError: If the numbers do not belong together.
    """
    stages = slices * (slices + 1) / 2
    return sum(j / stages * _met(j, shards * slices, deletions, rows) for j in range(1, slices + 1))


def cost(sizes: Sequence[int], start: int = 0) -> int:
    """Rows that a shard with slices of these sizes reads in an epoch of every stage from `start` on, counted from 0."""
    return sum(sum(sizes[: stage + 1]) for stage in range(start, len(sizes)))


def _met(part: int, parts: int, deletions: int, rows: int | None) -> float:
    """The chance that one of the deletions falls on `part` of `parts` equal parts."""
    if min(part, parts) < 1 or deletions < 0:
        raise InputError(f"{parts} parts and {deletions} deletions: give at least 1 shard, 1 slice and 0 deletions.")
    if rows is None:
        return 1 - (1 - part / parts) ** deletions
    if rows % parts or deletions > rows:
        raise InputError(f"{rows} rows cannot be cut into {parts} equal parts and lose {deletions}.")
    return 1 - comb(rows - part * rows // parts, deletions) / comb(rows, deletions)
