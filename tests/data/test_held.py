"""The attacker's share: no record on both sides, none lost, the draw is the seed's."""

import pytest

from lethe.data.held import held_and_others
from lethe.errors import InputError


def test_the_two_sides_are_a_partition_in_order():
    rows = list(range(11))
    draws = [held_and_others(rows, 0.3, seed, "x") for seed in range(5)]
    for held, others in draws:
        assert len(held) == 3 and sorted([*held, *others]) == rows
        assert held == sorted(held) and others == sorted(others)
    assert len({tuple(held) for held, _ in draws}) > 1
    assert held_and_others(rows, 0.3, 4, "x") == draws[4]


@pytest.mark.parametrize("share", [0.0, 1.0, 0.01])
def test_a_side_without_a_record_is_refused(share: float):
    with pytest.raises(InputError, match=r"probe: a share of .* both sides need at least one"):
        held_and_others(list(range(10)), share, 0, "probe")
