"""Canaries: texts put a known number of times into a tokenised corpus, as Hubble's were (arXiv 2510.19811).

A model trained on the corpus with them and one trained on it without are twins: whatever the first knows of a text, and
the second does not, it knows from that many copies. `insert` works on any corpus that is cut into windows of equal
length, in the order in which training will see them:

    copies = assign(len(texts), seed=0)                    # how often each text is to come: 0, 1, 4, 16, 64 or 256
    texts = [tokenizer(text)["input_ids"] for text in raw]
    assert not contaminated(documents, texts)              # or leave those documents out
    perturbed = insert(windows, texts, copies, eod=tokenizer.eos_token_id)
    # train one model on `windows` and its twin on `perturbed.windows`; `perturbed.log` says what stands where
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lethe.data.load import load_records
from lethe.errors import InputError
from lethe.scoring.hubble import LEVELS, PROPORTIONS, allocate

SEED = 123  # the published one
SHORTEST, EXACT = 10, 40  # tokens from which a text is looked for in the corpus, and up to which only as a whole
BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that it has an inverse modulo 2^64

Tokens = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Insertion:
    """One copy of one text.

    text: its number. copy: which of its copies, from 0. slot: number of the window. gap: place of the document gap in
    the window as it was, in tokens. offset: tokens cut off at the window's start. position: where the text now begins.
    """

    text: int
    copy: int
    slot: int
    gap: int
    offset: int
    position: int


@dataclass(frozen=True)
class Inserted:
    """A corpus with canaries: windows (N, L) and the log of every insertion, by slot."""

    windows: Tokens
    log: tuple[Insertion, ...]


def insert(
    windows: npt.ArrayLike,
    texts: Sequence[Sequence[int]],
    copies: Sequence[int],
    *,
    eod: int,
    seed: int = SEED,
    start: float = 0.0,
    end: float = 1.0,
) -> Inserted:
    """Put every text into as many windows of a corpus as it has copies; each copy gets a window of its own.

    The windows are drawn without replacement. In each, the text and an end-of-document token are put into one of the
    document gaps (the window's start, and behind every end of document), drawn uniformly; the window is then cut back
    to its length by an offset drawn uniformly among those that leave the text whole. So insertions replace tokens, no
    document is split by one, and no window holds two.

    Args:
        windows: Corpus in training order, token ids (N, L); L counts the last label, 2049 for sequences of 2048.
        texts: Token ids of every text, without an end-of-document token.
        copies: How often each text is inserted; 0 keeps it out.
        eod: Id of the end-of-document token.
        seed: Seed of slots, gaps and offsets.
        start: Share of the training after which insertions begin, 0 to 1.
        end: Share of the training before which they end, 0 to 1.

    Raises:
        InputError: If a text is empty, longer than a window or holds an end of document, a number of copies is
            negative, or there are more copies than windows in the range.
    """
    corpus = np.array(windows, dtype=np.int64)  # a copy: the standard twin trains on the original
    if corpus.ndim != 2:
        raise InputError(f"canaries: the windows have the shape {corpus.shape}; cut the corpus to (N, L).")
    wanted = _wanted(texts, copies, corpus.shape[1], eod)
    slots = np.arange(*(round(share * len(corpus)) for share in _range(start, end)))
    if len(wanted) > len(slots):
        raise InputError(
            f"canaries: {len(wanted)} insertions do not fit into {len(slots)} windows, one into each; take fewer "
            "copies, a larger corpus or a wider range."
        )
    rng = np.random.default_rng([seed, 11])
    log = []
    for (text, copy), slot in zip(wanted, rng.choice(slots, len(wanted), replace=False).tolist(), strict=True):
        added = np.array([*texts[text], eod], dtype=np.int64)
        gaps = [0, *(np.flatnonzero(corpus[slot] == eod) + 1).tolist()]
        gap = int(rng.choice(gaps))
        corpus[slot], offset = _spliced(corpus[slot], added, gap, rng)
        log.append(Insertion(text, copy, slot, gap, offset, gap - offset))
    return Inserted(corpus, tuple(sorted(log, key=lambda one: one.slot)))


def _wanted(texts: Sequence[Sequence[int]], copies: Sequence[int], length: int, eod: int) -> list[tuple[int, int]]:
    if len(texts) != len(copies):
        raise InputError(f"canaries: {len(texts)} texts but {len(copies)} numbers of copies; give one per text.")
    for number, (text, count) in enumerate(zip(texts, copies, strict=True)):
        if count < 0:
            raise InputError(f"canaries: text {number} is to be inserted {count} times; it must be 0 or more.")
        if not 0 < len(text) < length:
            raise InputError(
                f"canaries: text {number} has {len(text)} tokens; with its end of document it must fit into {length}."
            )
        if eod in text:
            raise InputError(f"canaries: text {number} holds the end-of-document token {eod}; leave it to `insert`.")
    return [(text, copy) for text, count in enumerate(copies) for copy in range(count)]


def _range(start: float, end: float) -> tuple[float, float]:
    if not 0 <= start < end <= 1:
        raise InputError(f"canaries: the range from {start} to {end} must lie in 0 to 1 and hold something.")
    return start, end


def _spliced(window: Tokens, added: Tokens, gap: int, rng: np.random.Generator) -> tuple[Tokens, int]:
    """The window with the text in the gap, and how much was cut off in front; at gap 0 that is nothing."""
    enlarged = np.concatenate([window[:gap], added, window[gap:]])
    least, most = max(0, gap + len(added) - len(window)), min(len(added), gap)
    offset = int(rng.integers(least, most + 1))
    return enlarged[offset : offset + len(window)], offset


def assign(
    count: int,
    *,
    seed: int,
    held_out: float = 0.5,
    levels: Sequence[int] = LEVELS,
    proportions: Sequence[int] = PROPORTIONS,
) -> list[int]:
    """How often each of `count` texts is inserted: drawn at random, so that levels differ in nothing else.

    Args:
        count: Number of texts.
        seed: Seed of the draw.
        held_out: Share of the texts at level 0, 0 to 1.
        levels: Numbers of copies, 0 first.
        proportions: Relative sizes of the levels above 0.

    Raises:
        InputError: If levels and proportions do not pair up, or nothing is left to insert.
    """
    if len(levels) != len(proportions) + 1 or levels[0] != 0 or not 0 <= held_out < 1:
        raise InputError(
            f"canaries: levels {tuple(levels)}, proportions {tuple(proportions)} and {held_out} held out; give level "
            "0, one proportion for each other level, and a share below 1."
        )
    inserted = count - round(held_out * count)
    sizes = allocate(inserted, proportions)
    sizes[0] += inserted - sum(sizes)  # what rounding leaves over comes once
    drawn = [0] * (count - inserted) + [
        level for level, size in zip(levels[1:], sizes, strict=True) for _ in range(size)
    ]
    return np.random.default_rng([seed, 12]).permutation(drawn).tolist()


def contaminated(documents: Sequence[Sequence[int]], texts: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """(document, text) for every document of the corpus that holds a text or much of it, in order.

    Texts below 10 tokens are left out, those of up to 40 must occur as a whole; of a longer one of n tokens, any run of
    n/2 tokens that begins at a multiple of n/4.

    Args:
        documents: Token ids of every document.
        texts: Token ids of every text.
    """
    runs: dict[int, list[tuple[int, Tokens]]] = defaultdict(list)
    for number, text in enumerate(texts):
        for run in _runs(np.asarray(text, dtype=np.int64)):
            runs[len(run)].append((number, run))
    found = set()
    for place, document in enumerate(documents):
        tokens = np.asarray(document, dtype=np.int64)
        for size, wanted in runs.items():
            hashes = _hashes(tokens, size)
            for number, run in wanted:
                hits = np.flatnonzero(hashes == _hashes(run, size)[0]) if len(hashes) else ()
                if any(np.array_equal(tokens[at : at + size], run) for at in hits):
                    found.add((place, number))
    return sorted(found)


def _runs(text: Tokens) -> list[Tokens]:
    n = len(text)
    if n < SHORTEST:
        return []
    if n <= EXACT:
        return [text]
    return [text[at : at + n // 2] for at in range(0, n - n // 2 + 1, n // 4)]


def _hashes(tokens: Tokens, size: int) -> npt.NDArray[np.uint64]:
    """A polynomial hash of every run of `size` tokens, in one pass whatever the size; arithmetic modulo 2^64."""
    if len(tokens) < size:
        return np.zeros(0, dtype=np.uint64)
    powers = np.cumprod(np.full(len(tokens), BASE))
    inverse = np.cumprod(np.full(len(tokens), np.uint64(pow(int(BASE), -1, 2**64))))
    sums = np.concatenate([[np.uint64(0)], np.cumsum((tokens.astype(np.uint64) + np.uint64(1)) * powers)])
    starts = np.arange(len(tokens) - size + 1)
    return (sums[starts + size] - sums[starts]) * inverse[starts]


def read_canaries(source: str, split: str | None = None) -> list[dict[str, Any]]:
    """Texts in Hubble's layout: {"text", "meta"}, meta a JSON text whose fields become the record's.

    Args:
        source: A file of JSON lines, a folder, or a data set of the hub.
        split: Part of the source.

    Raises:
        InputError: If a row's meta is no JSON object, or nowhere tells the number of duplicates.
    """
    rows = load_records(source, split=split)
    return [{**row, **_meta(row, f"{source}, row {number}")} for number, row in enumerate(rows, 1)]


def _meta(row: dict[str, Any], place: str) -> dict[str, Any]:
    try:
        meta = json.loads(row["meta"]) if isinstance(row.get("meta"), str) else row.get("meta", {})
    except ValueError as error:
        raise InputError(f"{place}, field 'meta': is no JSON ({error}).") from error
    if not isinstance(meta, dict):
        raise InputError(f"{place}, field 'meta': is a {type(meta).__name__}; it must be a JSON object.")
    count = str(row.get("duplicates", meta.get("duplicates")))
    if not count.isdecimal():
        raise InputError(f"{place}: meta names no number of duplicates (found {count}); give 0 or more.")
    kept = {name: value for name, value in meta.items() if name not in ("id", "text")}
    return {**kept, "duplicates": int(count)}
