"""Insertion into windows: what is logged is there, what is cut is counted, and nothing else moves."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lethe.data.canaries import Inserted, assign, contaminated, insert, read_canaries
from lethe.errors import InputError

EOD = 0
LENGTH = 33


def corpus(count: int, seed: int = 0, length: int = LENGTH) -> np.ndarray:
    """Documents of 3 to 20 tokens one after another, cut into windows wherever that falls."""
    rng = np.random.default_rng(seed)
    stream: list[int] = []
    while len(stream) < count * length:
        stream += [*rng.integers(1, 500, rng.integers(3, 20)).tolist(), EOD]
    return np.array(stream[: count * length]).reshape(count, length)


# Tokens of the texts occur nowhere in the corpus, so that what is found was inserted.
sizes = st.lists(st.integers(1, LENGTH - 1), min_size=1, max_size=5)
counts = st.lists(st.integers(0, 4), min_size=5, max_size=5)
seeds = st.integers(0, 10_000)


def texts_of(lengths: list[int]) -> list[list[int]]:
    return [list(range(1000 * (number + 1), 1000 * (number + 1) + size)) for number, size in enumerate(lengths)]


@given(sizes, counts, seeds)
def test_every_copy_stands_whole_where_the_log_says(lengths: list[int], copies: list[int], seed: int):
    windows, texts = corpus(40, seed), texts_of(lengths)
    copies = copies[: len(texts)]
    found = insert(windows, texts, copies, eod=EOD, seed=seed)
    assert found.windows.shape == windows.shape
    assert Counter(one.text for one in found.log) == Counter({i: n for i, n in enumerate(copies) if n})
    assert len({(one.text, one.copy) for one in found.log}) == len(found.log)
    slots = [one.slot for one in found.log]
    assert slots == sorted(set(slots))
    changed = np.flatnonzero((found.windows != windows).any(axis=1)).tolist()
    assert changed == slots  # as many windows as copies, and no other
    for one in found.log:
        added = [*texts[one.text], EOD]
        window = found.windows[one.slot].tolist()
        assert window[one.position : one.position + len(added)] == added
        assert one.position == one.gap - one.offset
        assert one.gap == 0 or windows[one.slot][one.gap - 1] == EOD  # between documents
        # What was cut away is a beginning and an end of the enlarged window, as long together as what was inserted.
        enlarged = [*windows[one.slot][: one.gap], *added, *windows[one.slot][one.gap :]]
        assert window == enlarged[one.offset : one.offset + LENGTH]
        assert 0 <= one.offset <= len(added)
        assert one.gap > 0 or one.offset == 0


@given(seeds)
def test_two_runs_with_one_seed_are_the_same_to_the_byte(seed: int):
    def made(seed: int) -> Inserted:
        return insert(corpus(40), texts_of([5, 9]), [3, 4], eod=EOD, seed=seed)

    one, again = made(seed), made(seed)
    assert one.windows.tobytes() == again.windows.tobytes()
    assert one.log == again.log
    assert made(seed + 1).log != one.log


@pytest.mark.parametrize(("start", "end"), [(0.0, 0.25), (0.25, 0.5), (0.75, 1.0), (0.0, 1.0)])
def test_insertions_keep_to_their_part_of_the_training(start: float, end: float):
    windows = corpus(80)
    found = insert(windows, texts_of([6]), [20], eod=EOD, start=start, end=end)
    assert {one.slot for one in found.log} <= set(range(int(80 * start), int(80 * end)))
    assert start > 0 or end == 1.0 or len(found.log) == 20  # a quarter is filled to its last window
    assert (windows == corpus(80)).all()  # the standard twin's corpus is left alone


def test_slots_gaps_and_offsets_are_drawn_uniformly():
    windows = np.tile([1, 2, EOD, 3, 4, EOD, 5, 6, 7, EOD], (400, 1))
    log = [one for seed in range(10) for one in insert(windows, [[9, 9]], [400], eod=EOD, seed=seed).log]
    gaps = Counter(one.gap for one in log)
    assert set(gaps) == {0, 3, 6, 10}
    assert all(abs(count - 1000) < 4 * (4000 * 0.25 * 0.75) ** 0.5 for count in gaps.values())
    offsets = Counter(one.offset for one in log if one.gap == 3)  # 0 to 3, all of them possible
    assert all(abs(offsets[o] / gaps[3] - 0.25) < 4 * (0.1875 / gaps[3]) ** 0.5 for o in range(4))
    assert {one.offset for one in log if one.gap == 10} == {3}  # behind the last document the beginning must go
    slots = Counter(one.slot for seed in range(200) for one in insert(windows, [[9]], [40], eod=EOD, seed=seed).log)
    assert abs(sum(slots[slot] for slot in range(200)) - 4000) < 4 * (8000 * 0.25) ** 0.5


@pytest.mark.parametrize(
    ("texts", "copies", "options", "said"),
    [
        ([[1] * LENGTH], [1], {}, "must fit into 33"),
        ([[]], [1], {}, "must fit into 33"),
        ([[1, EOD, 2]], [1], {}, "holds the end-of-document token 0"),
        ([[1]], [41], {}, "41 insertions do not fit into 40 windows"),
        ([[1]], [11], {"end": 0.25}, "11 insertions do not fit into 10 windows"),
        ([[1]], [-1], {}, "inserted -1 times"),
        ([[1]], [1, 2], {}, "1 texts but 2 numbers"),
        ([[1]], [1], {"start": 0.5, "end": 0.5}, "range from 0.5 to 0.5"),
    ],
)
def test_what_cannot_be_inserted_is_refused(texts: list[list[int]], copies: list[int], options: dict, said: str):
    with pytest.raises(InputError, match=said):
        insert(corpus(40), texts, copies, eod=EOD, **options)
    with pytest.raises(InputError, match=r"shape \(3,\)"):
        insert([1, 2, 3], [[1]], [1], eod=EOD)


def test_levels_of_five_thousand_biographies():
    """YAGO: 2,500 held out, then 893, 893, 446, 179 and 89 texts at 1 to 256 copies; 45,841 insertions."""
    copies = assign(5000, seed=0)
    assert Counter(copies) == {0: 2500, 1: 893, 4: 893, 16: 446, 64: 179, 256: 89}
    assert sum(copies) == 45_841
    assert copies == assign(5000, seed=0) != assign(5000, seed=1)
    first = Counter(copies[:2500])
    assert abs(first[0] - 1250) < 4 * (2500 * 0.25 / 2) ** 0.5  # at random, not in the order of the texts
    assert sum(Counter(assign(37, seed=0)).values()) == 37
    with pytest.raises(InputError, match="one proportion for each other level"):
        assign(10, seed=0, levels=(0, 1), proportions=(1, 1))


def test_a_corpus_is_searched_by_the_length_of_the_text():
    rng = np.random.default_rng(0)
    short, whole, long = (rng.integers(1, 500, size).tolist() for size in (9, 40, 100))
    clean = rng.integers(500, 900, 300).tolist()

    def with_run(run: list[int]) -> list[int]:
        return [*clean[:120], *run, *clean[120:]]

    texts = [short, whole, long]
    documents = [
        clean,
        with_run(short),  # below 10 tokens: not looked for
        with_run(whole),
        with_run(whole[:-1]),  # of up to 40 tokens the whole must be there
        with_run(long[25:75]),  # of a longer one half of it, from a multiple of a quarter
        with_run(long[24:73]),
        with_run(long[10:59]),
        [],
    ]
    assert contaminated(documents, texts) == [(2, 1), (4, 2)]
    assert contaminated([long], [long]) == [(0, 0)]


def test_the_published_layout(tmp_path: Path):
    rows = [
        {"text": "Ada was born in Oslo.", "meta": json.dumps({"duplicates": 16, "uuid": "a", "birthplace": "Oslo"})},
        {"text": "Bo was born in Rome.", "meta": json.dumps({"uuid": "b", "birthplace": "Rome"}), "duplicates": 0},
    ]
    file = tmp_path / "yago_nodup.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    read = read_canaries(str(file))
    assert [(row["duplicates"], row["uuid"], row["birthplace"]) for row in read] == [
        (16, "a", "Oslo"),
        (0, "b", "Rome"),
    ]
    for meta, said in (
        ("{", "row 1, field 'meta': is no JSON"),
        ("[]", "is a list"),
        ("{}", "no number of duplicates"),
    ):
        file.write_text(json.dumps({"text": "Ada.", "meta": meta}), encoding="utf-8")
        with pytest.raises(InputError, match=said):
            read_canaries(str(file))
