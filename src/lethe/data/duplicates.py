"""Which records of one set stand, exactly or nearly, in another."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lethe.data.content import digest

ALIKE = 0.9  # Jaccard similarity of the texts' 5-grams from which two are near-duplicates
GRAM = 5  # characters
THUMBNAIL = 16  # pixels; images are compared at this size
NEAR = 0.02  # root mean square difference of two thumbnails in [0, 1] up to which they are near-duplicates
BLOCK = 256  # images compared at a time

# Words that may differ, though capitalised at the start of a sentence, without naming somebody else.
SMALL_WORDS = frozenset(
    re.findall(
        r"\w+",
        """a an the this that these those what which who whose whom where when why how is are was were be been can could
        do does did has have had will would should may he she it they his her its their of in on at to for from by with
        as and or but not no yes there here""",
    )
)


@dataclass(frozen=True)
class Overlap:
    """One record of the first set and one of the second that say the same; positions count from 0."""

    row: int
    other: int
    kind: Literal["exact", "near"]
    similarity: float  # texts: Jaccard of 5-grams; images: 1 - root mean square difference; in [0, 1]


def overlap(forget: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> list[Overlap]:
    """Find the records of `forget` that `other` holds as well, ordered by position.

    Exact: the same (user, item); the same prompt and answer or choices, or text, up to case, spacing and Unicode form;
    the same numbers in an array. Near: texts whose 5-grams have a Jaccard similarity of at least 0.9 and that do not
    name different people, numbers or dates (the same template filled with another name is no duplicate; where both
    records have an "entity", that decides); images that agree up to a root mean square difference of 0.02 at 16 x 16
    pixels.

    Texts without capital letters are only told apart by the entity; of feature vectors only exact copies are found.
    """
    found: dict[tuple[int, int], Overlap] = {}
    places = defaultdict(list)
    for row, record in enumerate(other):
        places[_key(record)].append(row)
    for row, record in enumerate(forget):
        for twin in places.get(_key(record), ()):
            found[row, twin] = Overlap(row, twin, "exact", 1.0)
    for near in (*_near_texts(forget, other), *_near_images(forget, other)):
        found.setdefault((near.row, near.other), near)
    return [found[pair] for pair in sorted(found)]


def _key(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """What two exact copies have in common."""
    if "user" in record and "item" in record:
        return "pair", record["user"], record["item"], record.get("modality")  # its content is not the interaction
    array = record["image"] if "image" in record else record.get("features")
    if array is not None and not isinstance(array, (str, Path)):
        array = np.asarray(array, dtype=np.float32)
    return "content", _normal(_text(record)), digest(array)


def _text(record: Mapping[str, Any]) -> str:
    if "text" in record:
        return str(record["text"])
    asked = (record.get("raw_prompt"), record.get("question"), record.get("answer_prefix"))
    return " ".join(str(part) for part in (*asked, record.get("answer"), *record.get("choices", ())) if part)


def _normal(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _near_texts(forget: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> list[Overlap]:
    """All pairs above the threshold, by prefix filtering (Bayardo et al. 2007): exact, unlike MinHash.

    Two sets of sizes m <= n that share at least ALIKE of their union share a member among the rarest
    n - ceil(ALIKE n) + 1 of each, so only texts with a rare 5-gram in common are compared at all.
    """
    texts = [
        {row: text for row, record in enumerate(records) if "image" not in record and (text := _text(record))}
        for records in (forget, other)
    ]
    if not all(texts):
        return []
    grams = [{row: _grams(text) for row, text in side.items()} for side in texts]
    members, counts = np.unique(np.concatenate([g for side in grams for g in side.values()]), return_counts=True)
    rarity = np.empty(len(members), dtype=np.int64)
    rarity[np.argsort(counts, kind="stable")] = np.arange(len(members))
    ranks = [{row: np.sort(rarity[np.searchsorted(members, g)]) for row, g in side.items()} for side in grams]

    index = defaultdict(list)
    for row, ranked in ranks[1].items():
        for rank in _prefix(ranked):
            index[rank].append(row)
    found = []
    for row, ranked in ranks[0].items():
        for twin in {twin for rank in _prefix(ranked) for twin in index.get(rank, ())}:
            shared = len(np.intersect1d(ranked, ranks[1][twin], assume_unique=True))
            similarity = shared / (len(ranked) + len(ranks[1][twin]) - shared)
            if similarity >= ALIKE and _same_subject(forget[row], other[twin]):
                found.append(Overlap(row, twin, "near", similarity))
    return found


def _grams(text: str) -> np.ndarray:
    """The distinct 5-grams of a text's words, each as 64 bits: (G,) uint64."""
    words = " ".join(re.findall(r"\w+", _normal(text))) or _normal(text)
    codes = np.frombuffer(words.ljust(GRAM).encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    hashes = np.zeros(len(codes) - GRAM + 1, dtype=np.uint64)
    for start in range(GRAM):
        hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + codes[start : len(codes) - GRAM + 1 + start]
    return np.unique(hashes)


def _prefix(ranked: np.ndarray) -> list[int]:
    shared_at_least = math.ceil(ALIKE * len(ranked) - 1e-9)  # 0.9 * 70 must not round up to 64
    return ranked[: len(ranked) - shared_at_least + 1].tolist()


def _same_subject(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """False if each of the two names somebody, or a number, that the other does not."""
    if "entity" in one and "entity" in other:
        return one["entity"] == other["entity"]
    first, second = (re.findall(r"\w+", unicodedata.normalize("NFKC", _text(record))) for record in (one, other))
    return not (_names(first, second) and _names(second, first))


def _names(words: Sequence[str], beside: Sequence[str]) -> set[str]:
    known = {word.casefold() for word in beside} | SMALL_WORDS
    return {word for word in words if (word[0].isupper() or word[0].isdigit()) and word.casefold() not in known}


def _near_images(forget: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> list[Overlap]:
    rows, twins = ([row for row, record in enumerate(side) if "image" in record] for side in (forget, other))
    if not rows or not twins:
        return []
    many = np.stack([_thumbnail(other[row]["image"]) for row in twins])  # (N, D)
    size = many.shape[1]
    found = []
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        few = np.stack([_thumbnail(forget[row]["image"]) for row in block])  # (BLOCK, D)
        squares = (few**2).sum(1)[:, None] + (many**2).sum(1) - 2 * few @ many.T
        for one, two in np.argwhere(squares <= size * NEAR**2):
            row, twin = block[one], twins[two]
            if _normal(_text(forget[row])) == _normal(_text(other[twin])):  # the same picture, asked the same
                difference = math.sqrt(max(squares[one, two], 0) / size)
                found.append(Overlap(row, twin, "near", 1 - difference))
    return found


def _thumbnail(image: Any) -> np.ndarray:
    """Block means of each channel, (3 * THUMBNAIL ** 2,) float64; a path is decoded."""
    from PIL import Image

    from lethe.data.images import read_image

    array = np.asarray(read_image(image) if isinstance(image, (str, Path)) else image, dtype=np.float32)
    if len(array) != 3:
        array = np.repeat(array.mean(0, keepdims=True), 3, axis=0)
    sides = (THUMBNAIL, THUMBNAIL)
    channels = [Image.fromarray(channel).resize(sides, Image.Resampling.BOX) for channel in array]
    return np.stack([np.asarray(channel, dtype=np.float64) for channel in channels]).ravel()
