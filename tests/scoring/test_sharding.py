"""What sharding costs, in closed form and by counting over drawn assignments."""

import numpy as np
import pytest

from lethe.data.schema import Record
from lethe.data.shards import assign, place
from lethe.errors import InputError
from lethe.scoring.sharding import cost, retrained, touched


@pytest.mark.parametrize(
    ("deletions", "independent", "of_1000_rows"), [(1, 1, 1), (5, 4.095, 4.102), (20, 8.784, 8.810)]
)
def test_shards_touched_of_ten(deletions: int, independent: float, of_1000_rows: float):
    assert touched(10, deletions) == pytest.approx(independent, abs=5e-4)
    assert touched(10, deletions, 1000) == pytest.approx(of_1000_rows, abs=5e-4)


def test_one_deletion_costs_less_the_more_slices_but_never_less_than_two_thirds_of_its_shard():
    for slices in (1, 2, 5, 50):
        assert retrained(7, slices, 1) == pytest.approx((2 * slices + 1) / (3 * slices) / 7)
    assert retrained(7, 10**4, 1) > 2 / 3 / 7
    assert retrained(4, 1, 3) == pytest.approx(touched(4, 3) / 4)
    assert retrained(4, 5, 10**4) == pytest.approx(1)
    assert retrained(4, 5, 0) == touched(4, 0) == 0


@pytest.mark.parametrize(("shards", "slices", "deletions"), [(5, 1, 3), (5, 4, 1), (3, 3, 6)])
def test_the_share_is_what_drawn_assignments_cost_on_average(shards: int, slices: int, deletions: int):
    keys = [f"row{n}" for n in range(300)]
    shares = []
    for seed in range(60):
        sizes = np.zeros((shards, slices), dtype=int)
        first = np.full(shards, slices)
        for number, key in enumerate(keys):
            shard, part, _ = place(key, shards, slices, seed)
            sizes[shard, part] += 1
            if number < deletions:
                first[shard] = min(first[shard], part)
        again = [cost(row.tolist(), start) for row, start in zip(sizes, first.tolist(), strict=True)]
        shares.append(sum(again) / sum(cost(row.tolist()) for row in sizes))
    error = np.std(shares) / len(shares) ** 0.5
    assert abs(np.mean(shares) - retrained(shards, slices, deletions)) < 4 * error


def test_numbers_that_do_not_belong_together_are_refused():
    with pytest.raises(InputError, match="1001 rows cannot be cut into 10 equal parts"):
        touched(10, 5, 1001)
    with pytest.raises(InputError, match="at least 1 shard"):
        touched(0, 5)


def test_no_record_moves_another_and_those_of_one_person_stay_together():
    records = [{"id": f"r{n}", "user": n % 11} for n in range(200)]
    whole, fewer = assign(records, 4, 3, 7), assign([*records[:50], *reversed(records[51:])], 4, 3, 7)
    without = [[[r for r in part if r["id"] != "r50"] for part in shard] for shard in whole]
    assert fewer == without
    assert sum(len(part) for shard in whole for part in shard) == len(records)
    assert whole != assign(records, 4, 3, 8)
    shards_of = {
        user: {number for number, shard in enumerate(assign(records, 4, 3, 7, "user")) if user in _users(shard)}
        for user in range(11)
    }
    assert all(len(shards) == 1 for shards in shards_of.values())
    with pytest.raises(InputError, match="has no field 'group'"):
        assign(records, 4, 3, 7, "group")


def _users(shard: list[list[Record]]) -> set[int]:
    return {record["user"] for part in shard for record in part}
