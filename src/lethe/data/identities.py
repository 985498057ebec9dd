"""Who is shown in a record: nobody may stand on two sides of a request for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lethe.errors import InputError


def apart(sets: Mapping[str, Sequence[Mapping[str, Any]]], who: str = "", mend: str = "") -> None:
    """Refuse sets of records of which two hold the same identity; records that name none are nobody's.

    Args:
        sets: Set name -> records.
        who: Who asks, for the message.
        mend: What can be done beside moving the records.

    Raises:
        InputError: Naming the identity, the two sets and a record in each.
    """
    seen: dict[str, tuple[str, str]] = {}
    for name, records in sets.items():
        for record in records:
            if "identity" not in record:
                continue
            place, other = seen.setdefault(str(record["identity"]), (name, str(record["id"])))
            if place != name:
                raise InputError(
                    f"{f'{who}: ' if who else ''}identity {record['identity']!r} stands in {place} ({other!r}) and in "
                    f"{name} ({record['id']!r}); move all its records to one of the two{mend}."
                )
