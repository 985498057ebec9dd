"""The order of the data: every row when it is due, functions of the seed, the same on every process."""

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lethe.data.order import bucketed, mix, plan, shares, stream
from lethe.errors import InputError

some_lengths = st.lists(st.integers(1, 50), min_size=1, max_size=60)
size, seed = st.integers(1, 9), st.integers(0, 2**40)


@given(some_lengths, size, seed)
def test_bucketed_batches_hold_every_row_once(lengths: list[int], size: int, seed: int):
    batches = bucketed(lengths, size, seed)
    assert sorted(row for rows in batches for row in rows) == list(range(len(lengths)))
    assert sorted(map(len, batches))[1:] == [size] * (len(batches) - 1)  # at most one is short
    assert batches == bucketed(lengths, size, seed)


def test_bucketed_batches_are_of_similar_length():
    lengths = [mix(i) % 97 for i in range(800)]
    as_they_come = [list(range(i, i + 10)) for i in range(0, 800, 10)]
    padding, unsorted = (
        sum(max(lengths[row] for row in rows) * len(rows) for rows in batches) - sum(lengths)
        for batches in (bucketed(lengths, 10, 0), as_they_come)
    )
    assert padding < 0.2 * unsorted
    assert bucketed(lengths, 10, 0) != bucketed(lengths, 10, 1)


@given(some_lengths, size, seed)
def test_the_stream_draws_all_rows_equally_often_in_full_batches(lengths: list[int], size: int, seed: int):
    full = min(size, len(lengths))
    batches = list(itertools.islice(stream(lengths, size, seed), 3 * len(lengths)))
    assert {len(rows) for rows in batches} == {full}
    drawn = Counter(row for rows in batches for row in rows)
    assert max(drawn.values()) - min(drawn[row] for row in range(len(lengths))) <= 2
    assert sum(drawn.values()) / len(lengths) == 3 * full


@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 5))
def test_shares_cover_a_batch_once_in_equally_many_micro_batches(rows: int, accumulate: int, processes: int):
    cut = [shares(rows, accumulate, rank, processes) for rank in range(processes)]
    assert len({len(pieces) for pieces in cut}) == 1
    assert len(cut[0]) <= accumulate
    real = [position for pieces in cut for positions, real in pieces if real for position in positions]
    assert sorted(real) == list(range(rows))
    assert all(positions == [0] for pieces in cut for positions, real in pieces if not real)


def two_sets(steps: int | None = None, epochs: int = 2, seed: int = 0):
    lengths = {"forget": [5] * 10, "retain": [3] * 7}
    return plan(lengths, lambda epoch: ["forget", "retain"], 4, seed, epochs, steps)


def test_an_epoch_is_one_pass_over_the_leading_set():
    planned = two_sets()
    assert [epoch for epoch, _ in planned] == [0, 0, 0, 1, 1, 1]
    for epoch in (0, 1):
        rows = [row for e, step in planned if e == epoch for row in step["forget"]]
        assert sorted(rows) == list(range(10))
    assert all(len(step["retain"]) == 4 for _, step in planned)
    assert planned == two_sets()
    assert planned != two_sets(seed=1)


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_steps_take_the_place_of_epochs(steps: int):
    planned = two_sets(steps)
    assert len(planned) == steps
    assert planned[:6] == two_sets()[:steps]


def test_sets_take_part_when_they_are_active():
    lengths = {"forget": [1] * 4, "retain": [1] * 6}
    planned = plan(lengths, lambda epoch: ["retain"] if epoch % 2 else ["forget"], 2, 0, 4)
    assert [(epoch, *step) for epoch, step in planned] == [
        *[(0, "forget")] * 2, *[(1, "retain")] * 3, *[(2, "forget")] * 2, *[(3, "retain")] * 3
    ]  # fmt: skip


def test_steps_that_no_set_takes_part_in_are_refused():
    with pytest.raises(InputError, match="After 2 of 9 steps"):
        plan({"forget": [1] * 4}, lambda epoch: [] if epoch else ["forget"], 2, 0, 1, 9)


def test_mixed_seeds_do_not_collide():
    seeds = {mix(a, b, c) for a in range(20) for b in range(20) for c in range(20)}
    assert len(seeds) == 8000
    assert mix(1, 2) != mix(2, 1)
    assert all(0 <= value < 2**63 for value in seeds)
