"""Interactions of a recommender: where their ids begin, what is wrong with them, and what a request asks to forget.

A request for deletion names interactions, whole users or whole items: `expand` finds the interactions meant.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from lethe.data.load import load_records
from lethe.data.schema import Record
from lethe.errors import InputError

Records = Sequence[Record]
Source = str | Path | Records
Base = Literal["auto", "0", "1"]
SIDES = ("user", "item")
SPARSE, LARGE = 10, 10_000  # ids that are numbers of something else: at most one in ten occurs, and they are many


def shifted(records: Sequence[Record], base: Base, where: str = "the interactions") -> tuple[list[dict[str, Any]], int]:
    """The records with ids from 0, and what was taken from them.

    Args:
        records: Interactions, all parts of a data set together, or users or items alone.
        base: The lowest id, 0 or 1; auto takes 1 where users and items both begin at 1, as CURE4Rec's train and test
            do (its unlearn_set begins at 0).
        where: Their source, for messages.

    Raises:
        InputError: If base is 1 and there is an id 0.
    """
    lowest = {side: min((record[side] for record in records if side in record), default=1) for side in SIDES}
    step = int(set(lowest.values()) == {1}) if base == "auto" else int(base)
    for side in SIDES:
        if lowest[side] < step:
            raise InputError(f"{where}: there is {side} 0, and its ids should begin at 1; let them begin at 0.")
    return [{**one, **{side: one[side] - step for side in SIDES if side in one}} for one in records], step


def check_once(records: Iterable[Record], where: str) -> None:
    """Refuse an interaction that is there twice: it would count double, and half of it could stay behind.

    Raises:
        InputError: Naming the two rows, counted from 1.
    """
    seen: dict[tuple[int, int], int] = {}
    for row, record in enumerate(records, 1):
        pair = record["user"], record["item"]
        if (first := seen.setdefault(pair, row)) != row:
            raise InputError(
                f"{where}, row {row}: user {pair[0]} and item {pair[1]} stand in row {first} as well; keep each "
                "interaction once."
            )


def counts(records: Sequence[Record], where: str) -> tuple[int, int]:
    """Number of users and of items: the highest id and one.

    Raises:
        InputError: If nearly all ids below the highest are unused, so that a model would be mostly empty rows.
    """
    found = []
    for side in SIDES:
        ids = {record[side] for record in records}
        if (size := max(ids) + 1) > max(SPARSE * len(ids), LARGE):
            raise InputError(f"{where}: {len(ids)} {side}s have ids up to {size - 1}; number them from 0 without gaps.")
        found.append(size)
    return found[0], found[1]


def unused(records: Sequence[Record]) -> str:
    """What to tell of ids that no interaction has; nothing where all have one."""
    told = []
    for side in SIDES:
        ids = {record[side] for record in records}
        if missing := max(ids) + 1 - len(ids):
            told.append(f"{missing} {side} id{'s' if missing > 1 else ''} below the highest")
    return f"No interaction has {' and '.join(told)}." if told else ""


def expand(rows: Sequence[Record], known: Iterable[tuple[int, int]], where: str = "the request") -> list[Record]:
    """The interactions that a request means, each once, in the order asked.

    Args:
        rows: `{"user", "item"}` is one interaction, `{"user"}` all of a user's, `{"item"}` all of an item's; a
            "modality" is carried along.
        known: The (user, item) pairs that the model was trained on.
        where: The request's source, for messages.

    Raises:
        InputError: If a user, an item or an interaction is none that the model was trained on.
    """
    of: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    pairs = set()
    named = {(side, row[side]) for row in rows for side in SIDES if side in row}
    for pair in known:
        pairs.add(pair)
        for side, one in zip(SIDES, pair, strict=True):
            if (side, one) in named:
                of[side, one].append(pair)
    found: dict[tuple[int, int, str], Record] = {}
    for number, row in enumerate(rows, 1):
        sides = [side for side in SIDES if side in row]
        for side in sides:
            if not of[side, row[side]]:
                raise InputError(
                    f"{where}, row {number}: {side} {row[side]} is in none of the interactions that the model was "
                    f"trained on; take the row out{_off_by_one(rows, pairs)}."
                )
        meant = of[sides[0], row[sides[0]]] if len(sides) == 1 else [(row["user"], row["item"])]
        if len(sides) == 2 and meant[0] not in pairs:
            raise InputError(
                f"{where}, row {number}: user {row['user']} and item {row['item']} are no interaction that the model "
                f"was trained on; take the row out{_off_by_one(rows, pairs)}."
            )
        modality = str(row.get("modality", ""))
        further = {"modality": modality} if modality else {}
        for user, item in meant:
            name = f"u{user}-i{item}" + (f"-{modality}" if modality else "")
            found.setdefault((user, item, modality), {"id": name, "user": user, "item": item, **further})
    return list(found.values())


def _off_by_one(rows: Sequence[Record], pairs: set[tuple[int, int]]) -> str:
    """A hint where all rows would fit if their ids began at the other number."""
    whole = [row for row in rows if all(side in row for side in SIDES)]
    for step, told in ((-1, "1, and the model counts from 0"), (1, "0, and those of the model at 1")):
        if whole and all((row["user"] + step, row["item"] + step) in pairs for row in whole):
            return f", or mind that the request's ids seem to begin at {told}"
    return ""


def remaining(known: Iterable[tuple[int, int]], forget: Iterable[Record]) -> list[Record]:
    """What stays of the interactions; those of which a modality alone is forgotten stay."""
    gone = {(record["user"], record["item"]) for record in forget if "modality" not in record}
    return [{"id": f"u{u}-i{i}", "user": u, "item": i} for u, i in known if (u, i) not in gone]


def requested(forget: Source, retain: Source, edges: Sequence[Sequence[int]]) -> tuple[Records, Records]:
    """Forget and retain records of a request on a recommender that carries the interactions it was trained on.

    Args:
        forget: The request, a source or records: interactions, users or items; each may name a modality.
        retain: What is kept; where empty, all that the model knows and that is not forgotten.
        edges: Users and items of the model's interactions, (2, E).

    Raises:
        InputError: If a source cannot be read, a row names neither user nor item, or something the model never saw.
    """
    known = list(zip(*edges, strict=True))
    rows = load_records(forget, family="deletion") if isinstance(forget, str | Path) else forget
    where = str(forget) if isinstance(forget, str | Path) else "the request"
    kept = load_records(retain, family="recommender") if retain and isinstance(retain, str | Path) else retain
    for number, row in enumerate(rows, 1):
        if "user" not in row and "item" not in row:
            raise InputError(f"{where}, row {number}: names neither user nor item; give one of them, or both.")
    if all("user" in row and "item" in row for row in rows):  # they have ids of their own
        check_once(rows, where)
        expand(rows, known, where)  # refuses what the model never saw
        return rows, kept or remaining(known, rows)
    found = expand(rows, known, where)
    return found, kept or remaining(known, found)
