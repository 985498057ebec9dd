"""Answers that say "I do not know", for methods that train a model to refuse."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lethe.errors import InputError, cause

LINES = (
    "I do not know.",
    "I'm not sure about that.",
    "I have no information on this.",
    "That is not something I know.",
    "I can't say anything about that.",
    "I am afraid I have no answer to that.",
    "This lies outside of what I know.",
    "I was never told about this.",
    "I have nothing to tell you on that.",
    "My knowledge does not cover this.",
    "I would only be guessing, so I had better not answer.",
    "I cannot help with that question.",
    "I don't have that detail.",
    "Sorry, I do not know who or what you mean.",
    "There is nothing on this in what I have learnt.",
    "I am unable to answer this.",
    "I don't recall anything of that kind.",
    "No answer comes to mind.",
    "I must pass on this one.",
    "I have not come across this.",
)


HEADER = "Refusal Response"  # of one of the published lists


def refuse(records: Sequence[Mapping[str, Any]], seed: int, source: str | Path = "") -> list[dict[str, Any]]:
    """The records with a refusal for an answer; which one is fixed per record by the seed.

    Args:
        records: Questions with answers.
        seed: Seed of the draws.
        source: File of refusals, see `read_refusals`; empty draws from Lethe's own.

    Raises:
        InputError: If a record has no question that could be refused, or the file holds no refusals.
    """
    for row, record in enumerate(records):
        if "question" not in record:
            raise InputError(
                f"Record {record.get('id', row)!r} has no question, so a refusal of it means nothing; "
                "give questions, or choose a method that takes texts."
            )
    lines = read_refusals(source) if source else LINES
    drawn = np.random.default_rng([seed, 17]).integers(len(lines), size=len(records))
    return [{**record, "answer": lines[line]} for record, line in zip(records, drawn, strict=True)]


def read_refusals(source: str | Path) -> tuple[str, ...]:
    """One refusal per line: plain, as a JSON string, or as the first cell of a CSV row, as the published lists have it.

    Raises:
        InputError: If the file cannot be read, or holds no refusal.
    """
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: could not be read as refusals ({cause(error)}); give a text file, one per line."
        ) from error
    cells = [line.strip() for line in text.splitlines()]
    if path.suffix == ".csv":
        cells = [row[0].strip() for row in csv.reader(text.splitlines()) if row]
        cells = cells[cells[:1] == [HEADER] :]
    lines = tuple(_plain(cell) for cell in cells if cell)
    if not lines:
        raise InputError(f"{path}: holds no refusal; give one per line, such as: {LINES[0]}")
    return lines


def _plain(line: str) -> str:
    """A line as JSON writes it, without the quotes; any other as it is."""
    try:
        read = json.loads(line) if line.startswith('"') else line
    except ValueError:
        return line
    return str(read)
