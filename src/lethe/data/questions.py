"""Evaluation questions must not be trained on: neither as records nor inside texts."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lethe.data.schema import Record
from lethe.errors import InputError

LONG = 8  # words from which a question is known by itself


def refuse_questions(texts: Iterable[Record], asked: Iterable[Record]) -> None:
    """Evaluation questions must not be trained on.

    A text holds a question if it holds its words in their order; a question of fewer than eight words ("Which of these
    is true?") is meant only if the right choice stands there, too.

    Raises:
        InputError: If a record to train on is a question with choices, or holds one of those that are asked.
    """
    known: dict[tuple[str, ...], list[tuple[str, str, str]]] = {}
    for record in asked:
        said = _words(record["question"])
        right = _words(record["choices"][record["key"]]) if len(said) < LONG else []
        found = f" {' '.join(said)} ", f" {' '.join(right)} ".replace("  ", " "), record["id"]
        known.setdefault(tuple(said[:LONG]), []).append(found)
    lengths = {len(start) for start in known}
    for record in texts:
        if "choices" in record:
            raise InputError(f"{record['id']} is a multiple-choice question; unlearn from texts, questions are scored.")
        said = [
            word for field in ("question", "raw_prompt", "text", "answer") for word in _words(record.get(field, ""))
        ]
        whole = f" {' '.join(said)} "
        starts = {tuple(said[place : place + n]) for n in lengths for place in range(len(said) - n + 1)}
        for question, right, number in (one for start in starts & known.keys() for one in known[start]):
            if question in whole and right in whole:
                raise InputError(f"{record['id']} holds the evaluation question {number}; take it out of the texts.")


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
