"""A forget set divided into requests that are served one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Literal

from lethe.errors import InputError
from lethe.request import Record, Request
from lethe.task import Task

By = Literal["entity", "record"]
NAMED = {"language": "entity", "classifier": "identity", "recommender": "user"}  # whose records a record is among


def parts(task: Task, requests: int, by: By) -> list[list[Record]]:
    """The forget set divided into requests; a task that has several of its own keeps them.

    Whoever asks is forgotten at once: where the records name an entity, identity or user, all of one go into the same
    request. Requests hold as many of them as each other, or one more.

    Args:
        task: Its forget set is divided.
        requests: Number of requests; 0 takes the task's own, or five.
        by: "entity" where records name one, or "record".

    Raises:
        InputError: If there are too few to divide.
    """
    if task.earlier:
        if requests not in (0, len(task.earlier) + 1):
            raise InputError(f"{task.name} has {len(task.earlier) + 1} requests of its own; leave requests out.")
        return [list(request.forget) for request in (*task.earlier, task.request)]
    units = grouped(task.request.forget, task.family, by)
    wanted = requests or min(5, len(units))
    if not 1 <= wanted <= len(units):
        what = "records" if len(units) == len(task.request.forget) else f"by {NAMED[task.family]} groups"
        more = "" if by == "record" else ", or divide by=record"
        raise InputError(
            f"requests is {requests}; the forget set has {len(units)} {what}, give 1 to {len(units)}{more}."
        )
    size, rest = divmod(len(units), wanted)
    ends = [number * size + min(number, rest) for number in range(wanted + 1)]
    return [[r for unit in units[a:b] for r in unit] for a, b in pairwise(ends)]


def grouped(records: Sequence[Record], family: str, by: By) -> list[list[Record]]:
    """Records of the same entity together, in the order of their first; each alone where one of them names none."""
    name = NAMED[family]
    if by == "record" or not all(name in record for record in records):
        return [[record] for record in records]
    found: dict[Any, list[Record]] = {}
    for record in records:
        found.setdefault(record[name], []).append(record)
    return list(found.values())


def request_of(task: Task, asked: Sequence[Sequence[Record]], served: Sequence[int], now: Sequence[int]) -> Request:
    """The request of one step: its retain set is what must stay now, which holds those who have not asked yet.

    Args:
        task: The whole forget set and what is kept for good.
        asked: Records of every request.
        served: Numbers of the requests before it; their records are in neither set.
        now: Numbers of its requests.
    """
    later = [r for number, one in enumerate(asked) if number not in (*served, *now) for r in one]
    # Records of one forget set may be alike, such as two questions on one person; the whole of it was checked before.
    return replace(
        task.request, forget=[r for number in now for r in asked[number]], retain=[*task.request.retain, *later],
        allow_overlap=True,
    )  # fmt: skip


def sized(task: Task, share: float, by: By) -> Request:
    """A request for a share of all records: of the forget set first and then of what else would have been kept.

    Raises:
        InputError: If that is nothing, or leaves nothing.
    """
    forget, retain = task.request.forget, task.request.retain
    wanted = round(share * (len(forget) + len(retain)))
    chosen: list[Record] = []
    units = [*grouped(forget, task.family, by), *grouped(retain, task.family, by)]
    for unit in units:
        if len(chosen) + len(unit) / 2 <= wanted or not chosen:
            chosen += unit
    left = {str(record["id"]) for record in chosen}
    kept = [record for record in retain if record["id"] not in left]
    if not 0 < share < 1 or not kept:
        raise InputError(f"sizes holds {share:g}; give shares of all records, above 0 and below 1.")
    kept += [record for record in forget if record["id"] not in left]
    return replace(task.request, forget=chosen, retain=kept, allow_overlap=True)
