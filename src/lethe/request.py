"""A request: what is to be forgotten, what is to stay, and what for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from lethe.data.content import digest
from lethe.data.duplicates import Overlap, overlap
from lethe.data.identities import apart
from lethe.data.schema import Record, nearest
from lethe.errors import InputError

__all__ = ["Intent", "Overlap", "Record", "Request", "Scope", "classes_of", "overlap"]

Intent = Literal["removal", "suppression", "unsure"]
Scope = Literal["sample", "entity", "topic", "capability", "copyright"]

SETS = ("forget", "retain", "holdout", "validation")


@dataclass(frozen=True, eq=False)
class Request:
    """Records to forget beside records to keep, checked before any compute.

    Args:
        forget: Records the model must forget; at least one.
        retain: Records it must keep; may be empty for methods that need none.
        holdout: Records of the same kind that it was never trained on.
        intent: "removal" of the knowledge, "suppression" of its expression, or "unsure" (audited as removal).
        scope: What is forgotten: sample, entity, topic, capability or copyright(ed text).
        seed: Seed of every random draw made for this request.
        reason: Why, in the requester's words; changes nothing.
        allow_overlap: Accept records of the forget set that also stand in another set.
        validation: Records for choosing the best step in training.

    Raises:
        InputError: On an empty forget set, a repeated id, an unknown intent or scope, or (unless `allow_overlap`) a
            forget record that another set holds exactly or nearly, see `lethe.data.duplicates.overlap`, or an
            "identity" in both forget and retain records where the scope is entity.
    """

    forget: Sequence[Record]
    retain: Sequence[Record]
    holdout: Sequence[Record] = ()
    intent: Intent = "removal"
    scope: Scope = "entity"
    seed: int = 0
    reason: str = ""
    allow_overlap: bool = False
    validation: Sequence[Record] = ()

    def __post_init__(self) -> None:
        for name, value, known in (("intent", self.intent, Intent), ("scope", self.scope, Scope)):
            if value not in get_args(known):
                raise InputError(f"There is no {name} {value!r}; {nearest(str(value), get_args(known))}")
        if not self.forget:
            raise InputError("The forget set is empty; give at least one record to forget.")
        for name in SETS:
            object.__setattr__(self, name, _identified(getattr(self, name), name))
        self._check_ids()
        if not self.allow_overlap:
            if self.scope == "entity":
                apart({"forget": self.forget, "retain": self.retain}, mend=", or ask with scope=sample")
            self._check_overlap()

    def fingerprint(self) -> str:
        """SHA-256 of all that can change a result: records in their order, intent, scope and seed."""
        content = {name: getattr(self, name) for name in (*SETS, "intent", "scope", "seed")}
        return digest(content)

    def _check_ids(self) -> None:
        """One id, one content: whatever is cached by id must not be mistaken for something else."""
        seen: dict[str, tuple[str, int, Record]] = {}
        for name in SETS:
            for row, record in enumerate(getattr(self, name), 1):
                if record["id"] not in seen:
                    seen[record["id"]] = name, row, record
                    continue
                place, number, known = seen[record["id"]]
                if place == name or digest(known) != digest(record):
                    raise InputError(
                        f"{place} row {number} and {name} row {row} have the same id {record['id']!r}; make ids unique."
                    )

    def _check_overlap(self) -> None:
        for name in SETS[1:]:
            others = getattr(self, name)
            if found := overlap(self.forget, others):
                one = next((pair for pair in found if pair.kind == "exact"), found[0])
                how = "the same" if one.kind == "exact" else f"{one.similarity:.0%} alike"
                more = f" ({len(found) - 1} more such pairs)" if len(found) > 1 else ""
                raise InputError(
                    f"forget row {one.row + 1} ({self.forget[one.row]['id']!r}) and {name} row {one.other + 1} "
                    f"({others[one.other]['id']!r}) are {how}{more}; take them out of one of the two sets, or allow "
                    "the overlap."
                )


def classes_of(records: Sequence[Record], who: str) -> list[int]:
    """The class of every record, for methods that think in classes.

    Raises:
        InputError: If a record has several yes-or-no labels instead of one class.
    """
    for record in records:
        if "label" not in record:
            raise InputError(
                f"{who} acts on classes, and record {record['id']!r} has several labels, none of which is a class; "
                "choose another method, or one attribute as the label."
            )
    return [int(record["label"]) for record in records]


def _identified(records: Sequence[Record], name: str) -> tuple[Record, ...]:
    """The records as a tuple; one without an id gets one from its set, position and content."""
    identified = []
    for row, record in enumerate(records, 1):
        if not isinstance(record, Mapping):
            raise InputError(f"{name} row {row}: is a {type(record).__name__}; a record is a dict with named fields.")
        if not isinstance(record.get("id", ""), str):
            raise InputError(f"{name} row {row}, field 'id': is {record['id']!r}; ids are texts.")
        identified.append(record if "id" in record else {"id": f"{name}:{row}:{digest(record)[:8]}", **record})
    return tuple(identified)
