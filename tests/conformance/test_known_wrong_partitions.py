"""What a partition into bounded shards must satisfy, and that released mistakes do not."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from tests.conformance.known_wrong_partitions import KNOWN_WRONG

from lethe.errors import InputError
from lethe.scoring.partition import Array, Labels, balanced, distances, greedy, limit, plan, scatter

Partition = Callable[..., Labels]


def blobs(large: int = 87, small: int = 63, seed: int = 0) -> tuple[Array, Labels]:
    """Two groups of unequal size far apart along one direction, with room for the larger in one shard; and who is who.

    Their means have the same mean over dimensions, so that one number does not tell them apart.
    """
    rng = np.random.default_rng(seed)
    group = np.repeat([0, 1], [large, small])
    centres = np.array([[6.0, -6.0, 0.0], [-6.0, 6.0, 0.0]])
    order = rng.permutation(len(group))
    return (centres[group] + rng.normal(size=(len(group), 3)))[order], group[order]


def nearest_first(view: Array, shards: int, rounds: int = 50) -> Labels:
    """The definition, pair by pair: all pairs sorted, each element to its first shard with room."""
    most = limit(len(view), shards, 1.2)
    centroids = view[np.random.default_rng([0, 41]).choice(len(view), shards, replace=False)]
    labels = np.zeros(len(view), dtype=np.int64)
    for _ in range(rounds):
        labels = one_by_one(distances([view], [centroids]), most)
        centroids = np.stack([view[labels == shard].mean(axis=0) for shard in range(shards)])
    return labels


def one_by_one(cost: Array, most: int) -> Labels:
    labels, room = np.full(len(cost), -1, dtype=np.int64), [most] * cost.shape[1]
    for pair in np.argsort(cost, axis=None, kind="stable").tolist():
        element, shard = divmod(pair, cost.shape[1])
        if labels[element] < 0 and room[shard]:
            labels[element] = shard
            room[shard] -= 1
    return labels


def check_partition(partition: Partition) -> None:
    for seed in range(3):
        view, group = blobs(seed=seed)
        labels = partition([view], 2)
        sizes = np.bincount(labels, minlength=2)
        assert labels.shape == group.shape
        assert set(np.unique(labels)) == {0, 1}
        assert sizes.max() <= 1.2 * len(view) / 2
        purity = sum(np.bincount(group[labels == shard]).max() for shard in (0, 1)) / len(view)
        assert purity > 0.95
        assert scatter(view, labels) <= scatter(view, nearest_first(view, 2)) * (1 + 1e-9)
    view, _ = blobs(large=130, small=20)  # more than a shard may hold: the bound decides
    assert np.bincount(partition([view], 2)).max() <= 1.2 * len(view) / 2


def test_the_partition_passes():
    check_partition(balanced)


@pytest.mark.parametrize("wrong", KNOWN_WRONG, ids=lambda wrong: wrong.__name__)
def test_a_known_wrong_one_does_not(wrong: Partition):
    with pytest.raises(AssertionError):
        check_partition(wrong)


@pytest.mark.parametrize("most", [8, 10, 40])
def test_serving_shard_by_shard_is_serving_pair_by_pair(most: int):
    cost = np.random.default_rng(most).random((40, 5))
    assert np.array_equal(greedy(cost, most), one_by_one(cost, most))


def test_interactions_are_near_where_their_user_and_their_item_are():
    view, group = blobs()
    other, _ = blobs(seed=5)
    together = balanced([view, other], 2)
    assert np.bincount(together, minlength=2).max() <= 1.2 * len(view) / 2
    cost = distances([view, other], [view[:2], other[:2]])
    by_hand = np.square(view[7] - view[1]).sum() * np.square(other[7] - other[1]).sum()
    assert cost[7, 1] == pytest.approx(by_hand)
    assert len(group) == len(together)


def test_transport_fills_shards_of_equal_size_and_keeps_neighbours():
    view, group = blobs(75, 75)
    labels = balanced([view], 2, transport=True)
    assert np.bincount(labels).tolist() == [75, 75]
    assert max(float((labels == group).mean()), float((labels != group).mean())) > 0.95
    carried = plan(np.random.default_rng(0).random((30, 4)))
    assert carried.sum(axis=1) == pytest.approx(np.full(30, 1 / 30))
    assert carried.sum(axis=0) == pytest.approx(np.full(4, 1 / 4), rel=1e-3)
    uneven = balanced([blobs(130, 20)[0]], 3, transport=True)
    assert np.bincount(uneven).tolist() == [50, 50, 50]


@pytest.mark.parametrize(
    ("options", "text"), [({"shards": 151}, "151 shards of 150"), ({"shards": 2, "cap": 0.5}, "cap=0.5")]
)
def test_what_cannot_be_divided_so_is_refused(options: dict[str, Any], text: str):
    views: Sequence[Array] = [blobs()[0]]
    with pytest.raises(InputError, match=text):
        balanced(views, **options)
