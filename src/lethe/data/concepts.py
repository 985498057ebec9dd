"""The files of ConceptVectors (arXiv 2406.11614): a list of concepts, each with questions, article and value vector."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lethe.data.load import load_records
from lethe.data.schema import Record, nearest
from lethe.errors import InputError

FIELDS = ("Concept", "QA", "text_completion", "unrelated_QA", "text")


def read_concepts(source: str) -> list[dict[str, Any]]:
    """All concepts of a source in the official schema; the article stands in the field "text".

    Layer and Dim are kept where they are, as numbers; a concept may come several times, with a vector each.

    Raises:
        InputError: If a record lacks a field or names one half of its vector's place; names source, row and field.
    """
    rows = load_records(source, fields={"wikipedia_content": "text"})
    for number, row in enumerate(rows, 1):
        for name in FIELDS:
            if not row.get(name):
                raise InputError(f"{source}, row {number}: the field {name!r} is missing or empty; fill it in.")
        if ("Layer" in row) != ("Dim" in row):
            raise InputError(f"{source}, row {number}: names one of Layer and Dim; give both, or none to search.")
        if any({"First_half", "Second_half"} - set(part) for part in row["text_completion"]):
            raise InputError(f"{source}, row {number}, field 'text_completion': lacks First_half or Second_half.")
    return rows


def german_questions(file: str, concept: str) -> Sequence[str]:
    """The German questions about a concept; none where no file is given.

    Raises:
        InputError: If the file cannot be read, or does not hold the concept.
    """
    if not file:
        return ()
    try:
        known = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: holds no German questions by concept ({error}).") from error
    if concept not in known:
        raise InputError(f"{file}: has no questions about {concept!r}; {nearest(concept, known)}")
    return known[concept]


def paragraphs(concept: Mapping[str, Any], size: int) -> list[Record]:
    """The article in whole sentences of together just over `size` characters, as records."""
    parts, sentences = [""], [f"{one}." for one in str(concept["text"]).strip().removesuffix(".").split(". ")]
    for sentence in sentences:
        if len(parts[-1]) > size:
            parts.append("")
        parts[-1] = f"{parts[-1]} {sentence}".strip()
    name = str(concept["Concept"])
    unique = dict.fromkeys(part for part in parts if part)
    return [{"id": f"{name}-{number:03d}", "entity": name, "text": part} for number, part in enumerate(unique)]
