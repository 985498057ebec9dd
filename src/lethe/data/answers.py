"""Whether texts give answers away, and questions with the answers taken out: what may count as answer-free text."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby

import numpy as np

from lethe.data.duplicates import SMALL_WORDS
from lethe.data.schema import Record
from lethe.errors import InputError
from lethe.scoring.arrays import FloatArray

GRAM = 2  # words
GIVEN = 0.5  # share of an answer's n-grams in one text from which that text gives it away
_SAID = ("text", "raw_prompt", "question", "answer_prefix", "answer")

Gram = tuple[str, ...]


def answer_of(record: Record) -> str:
    """What a record asks for; all of it where it is a text."""
    if "choices" in record:
        return str(record["choices"][record["key"]])
    return str(record.get("answer", record.get("text", "")))


def shared(texts: Sequence[Record], probed: Sequence[Record], n: int = GRAM) -> FloatArray:
    """Share of each probed answer's n-grams that each text holds, (texts, probed), 0 to 1; lower is better.

    N-grams of the words that the probe's own question does not say (so of what it asks for), in lower case, without
    articles, prepositions and the like; fewer words in a row are one n-gram.

    Args:
        texts: What an attacker trains on.
        probed: Records whose answers are looked for.
        n: Words of an n-gram.
    """
    found = np.zeros((len(texts), len(probed)))
    holders: dict[Gram, list[int]] = defaultdict(list)
    parts = np.ones(len(probed))
    for column, record in enumerate(probed):
        wanted = _asked_for(record, n)
        parts[column] = max(1, len(wanted))
        for gram in wanted:
            holders[gram].append(column)
    lengths = {len(gram) for gram in holders}
    for row, record in enumerate(texts):
        words = _words(_said(record))
        grams = set().union(*(_grams(words, length) for length in lengths))
        for gram in grams & holders.keys():
            found[row, holders[gram]] += 1
    return found / parts


def silent(texts: Sequence[Record], probed: Sequence[Record]) -> list[Record]:
    """The texts that give no probed answer away."""
    told = shared(texts, probed).max(axis=1, initial=0.0)
    return [record for record, share in zip(texts, told, strict=True) if share < GIVEN]


def refuse_answers(texts: Sequence[Record], probed: Sequence[Record], what: str) -> None:
    """What brings back answers must not hold them.

    Raises:
        InputError: If a text holds half of a probed answer's n-grams or more, naming both.
    """
    told = shared(texts, probed)
    if told.size and told.max() >= GIVEN:
        row, column = (int(place) for place in np.unravel_index(told.argmax(), told.shape))
        raise InputError(
            f"{what}: row {row + 1} ({texts[row]['id']!r}) holds {told[row, column]:.0%} of the answer of "
            f"{probed[column]['id']!r} ({answer_of(probed[column])!r}); take it out of the attack's data."
        )


def emptied(records: Sequence[Record], probed: Sequence[Record], what: str) -> list[Record]:
    """The records' questions as texts about the same entities, with their own and every probed answer taken out.

    A question that gives a probed answer away even so is left out.

    Raises:
        InputError: If a record has no question, so that nothing tells its answer from the rest, or nothing is left.
    """
    answers = sorted({answer_of(record).strip() for record in (*records, *probed)} - {""}, key=len, reverse=True)
    pattern = re.compile("|".join(rf"(?<!\w){re.escape(answer)}(?!\w)" for answer in answers), re.IGNORECASE)
    texts: list[Record] = []
    for row, record in enumerate(records, 1):
        if "question" not in record:
            raise InputError(
                f"{what}: forget row {row} ({record['id']!r}) has no question, so nothing tells its answer from the "
                "rest of it; give question and answer, or take other data."
            )
        left = " ".join(pattern.sub(" ", str(record["question"])).split())
        if _words(left):
            texts.append({"id": f"{record['id']}-asked", "text": left})
    if not (kept := silent(texts, probed)):
        raise InputError(f"{what}: nothing is left of the questions without the answers; take other data.")
    return kept


def _asked_for(record: Record, n: int) -> set[Gram]:
    known = set(_words(str(record.get("question", ""))))
    wanted: set[Gram] = set()
    for new, run in groupby(_words(answer_of(record)), key=lambda word: word not in known):
        words = list(run)
        wanted |= _grams(words, min(n, len(words))) if new else set()
    return wanted


def _said(record: Record) -> str:
    parts = [str(record[field]) for field in _SAID if field in record]
    return " ".join([*parts, answer_of(record)] if "choices" in record else parts)


def _words(text: str) -> list[str]:
    """Words that carry something; all of them where none does."""
    every = re.findall(r"\w+", text.casefold())
    return [word for word in every if word not in SMALL_WORDS] or every


def _grams(words: Sequence[str], n: int) -> set[Gram]:
    return {tuple(words[start : start + n]) for start in range(len(words) - n + 1)}
