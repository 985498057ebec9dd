"""What users of a recommender are shown before and after, beside a model that never knew: forgotten items and moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lethe.report.tables import Group
from lethe.runs.results import BenchmarkResult

METHODS = 4  # columns of unlearned models, at most


@dataclass(frozen=True)
class Entry:
    """One place of one list."""

    item: str
    forgotten: bool
    moved: str  # beside the list before: "" for the same place, "new", or "was 7"

    @property
    def told(self) -> str:
        """The place in words."""
        return ", ".join(filter(None, ("to be forgotten" if self.forgotten else "", self.moved)))


@dataclass(frozen=True)
class Listed:
    """One user's lists under several models."""

    user: str
    about: str
    columns: tuple[str, ...]
    places: tuple[tuple[Entry | None, ...], ...]  # per place one entry of every column; None where a list is shorter
    found: tuple[str, ...]  # per column: how many of the forgotten items stand in it


def rankings(benchmark: BenchmarkResult, lines: Sequence[Group]) -> list[Listed]:
    """The lists of the sampled users: target, unlearned models, control; none where no lists were kept.

    Args:
        benchmark: The run.
        lines: Its groups; of each the first row is shown.
    """
    by_role = {role: [line for line in lines if line.role == role and line.first.lists] for role in
               ("target", "method", "control")}  # fmt: skip
    if not by_role["target"]:
        return []
    chosen = [*by_role["target"][:1], *by_role["method"][:METHODS], *by_role["control"][:1]]
    labels = ["before", *(line.label for line in chosen[1:])]
    found = []
    for one in benchmark.listed:
        lists = [line.first.lists.get(str(one["user"]), []) for line in chosen]
        gone = set(one["forgotten"])
        entries = [[_entry(item, place, lists[0], gone, benchmark.named, number) for place, item in enumerate(items)]
                   for number, items in enumerate(lists)]  # fmt: skip
        length = max(map(len, entries), default=0)
        rows = tuple(tuple(column[place] if place < len(column) else None for column in entries)
                     for place in range(length))  # fmt: skip
        counts = tuple(str(len(gone & set(items))) for items in lists) if gone else ()
        found.append(Listed(f"user {one['user']}", _about(one), tuple(labels), rows, counts))
    return found


def _entry(item: int, place: int, before: Sequence[int], gone: set[int], names: dict[str, str], column: int) -> Entry:
    moved = ""
    if column and item not in before:
        moved = "new"
    elif column and before.index(item) != place:
        moved = f"was {before.index(item) + 1}"
    return Entry(names.get(str(item), f"item {item}"), item in gone, moved)


def _about(one: dict[str, object]) -> str:
    gone = one["forgotten"]
    assert isinstance(gone, list)
    asked = (
        f"{len(gone)} interaction{'s' if len(gone) != 1 else ''} to be forgotten" if gone else "nothing to be forgotten"
    )
    return f"{asked}, {one['retained'] or 'none'} retained"
