"""Further texts of a record that membership attacks read: lower-cased, reworded, and after a foreign prefix.

They stand in the record's `derived` field, by role, so that one observation looks at each distinct text once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lethe.data.neighbours import MaskedModel, replaced
from lethe.errors import InputError

Record = Mapping[str, Any]
ROLES = {"lowercase": "lowercase", "neighbourhood": "neighbours", "recall": "prefixed"}  # attack -> role


def with_derived(
    probes: Mapping[str, Sequence[Record]],
    attacks: Sequence[str],
    *,
    sets: tuple[str, str] = ("forget", "holdout"),
    neighbours: int = 10,
    shots: int = 1,
    masked: str = "",
    seed: int = 0,
) -> dict[str, list[Record]]:
    """The probe sets, whose records of the two named sets hold what these attacks read; the others as they are.

    For `recall` the first records of the second set become the prefix and leave that set: a text must not stand behind
    itself.

    Args:
        probes: Set name -> records.
        attacks: Of lowercase, neighbourhood and recall; other names need no text of their own.
        sets: The members and the non-members.
        neighbours: Neighbours of each text.
        shots: Records in the prefix.
        masked: Folder or hub id of a masked language model that proposes the words of neighbours; without one they are
            drawn from the words of the two sets.
        seed: Seed of the neighbours.

    Raises:
        InputError: If a set is missing, or too small to spare a prefix.
    """
    found: dict[str, list[Record]] = {name: list(records) for name, records in probes.items()}
    wanted = [attack for attack in ROLES if attack in attacks]
    if not wanted:
        return found
    for name in sets:
        if not found.get(name):
            raise InputError(f"{', '.join(wanted)}: membership needs the set {name!r}; give records for it.")
    prefix = ""
    if "recall" in wanted:
        if not 0 < shots < len(found[sets[1]]):
            raise InputError(f"recall: {shots} records of {len(found[sets[1]])} as a prefix; take fewer, at least 1.")
        prefix = "\n".join(_whole(record) for record in found[sets[1]][:shots])
        found[sets[1]] = found[sets[1]][shots:]
    words = sorted({word for name in sets for record in found[name] for word in _scored(record).split()})
    model = MaskedModel(masked) if masked and "neighbourhood" in wanted else None

    def around(text: str) -> tuple[str, ...]:
        return model.neighbours(text, neighbours, seed=seed) if model else replaced(text, words, neighbours, seed=seed)

    def derived(record: Record) -> Record:
        texts: dict[str, Any] = {}
        if "lowercase" in wanted:
            texts["lowercase"] = _saying(record, _scored(record).lower())
        if "neighbourhood" in wanted:
            texts["neighbours"] = [_saying(record, one) for one in around(_scored(record))]
        if prefix:
            texts["prefixed"] = _after(record, prefix)
        return {**record, "derived": texts}

    return found | {name: [derived(record) for record in found[name]] for name in sets}


def _scored(record: Record) -> str:
    return str(record["text"] if "text" in record else record["answer"])


def _whole(record: Record) -> str:
    asked = record.get("question", record.get("raw_prompt", ""))
    return f"{asked} {_scored(record)}".strip()


def _saying(record: Record, text: str) -> Record:
    return {**record, "text" if "text" in record else "answer": text}


def _after(record: Record, prefix: str) -> Record:
    if "text" in record:
        kept = {key: value for key, value in record.items() if key != "text"}
        return {**kept, "raw_prompt": f"{prefix}\n", "answer": record["text"]}
    field = "raw_prompt" if "raw_prompt" in record else "question"
    return {**record, field: f"{prefix}\n{record[field]}"}
