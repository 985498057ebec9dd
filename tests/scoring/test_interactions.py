"""Ratios of scores, groups of users, what a preparation pays, and top-K values from places."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx

from lethe.errors import InputError
from lethe.scoring import interactions, ranking

liked = st.sets(st.integers(0, 11), min_size=1, max_size=9).map(sorted)


def test_the_example_of_the_specification():
    lists, own = [[3, 1, 4, 0, 5]], [[1, 5, 9]]
    assert ranking.recall_at_k(lists, own, 3) == approx(1 / 3)
    assert ranking.ndcg_at_k(lists, own, 3) == approx(0.2960819, abs=1e-7)
    assert ranking.precision_at_k(lists, own, 5) == approx(2 / 5)
    assert ranking.ndcg_at_k(lists, own, 5) == approx(0.4776238, abs=1e-7)
    found = ranking.of_places([1, 4, 11], 5)  # item 9 stands somewhere behind
    assert found["ndcg"] == approx(0.4776238, abs=1e-7)
    assert found["recall"] == approx(2 / 3)
    assert found["mrr"] == approx(1 / 2)
    assert found["map"] == approx((1 / 2 + 2 / 5) / 3)
    perfect = ranking.of_places([0, 1, 2], 2)
    assert perfect["ndcg.cure4rec"] == approx(0.7653606, abs=1e-7)  # where a list of two cannot be better
    assert perfect["ndcg"] == perfect["map"] == perfect["mrr"] == 1


@given(st.permutations(range(12)), liked, st.integers(1, 12))
def test_places_and_lists_give_the_same(items: list[int], own: list[int], k: int):
    found = ranking.of_places([items.index(item) for item in own], k)
    for name, by_list in (
        ("recall", ranking.recall_at_k),
        ("precision", ranking.precision_at_k),
        ("hit", ranking.hit_rate_at_k),
        ("ndcg", ranking.ndcg_at_k),
        ("ndcg.cure4rec", ranking.ndcg_at_k_cure4rec),
    ):
        assert found[name] == approx(by_list([items], [own], k)[0])
    assert 0 <= found["map"] <= 1
    assert found["mrr"] == approx(next((1 / (n + 1) for n, item in enumerate(items[:k]) if item in own), 0))


def test_no_place_is_refused():
    with pytest.raises(InputError, match="0 relevant items and k = 3"):
        ranking.of_places([], 3)


def test_ratios_are_those_of_mean_sigmoids_and_do_not_overflow():
    assert interactions.mi_ratio([0.0, 0.0], [0.0]) == 1
    assert interactions.mi_ratio([math.log(3)], [0.0]) == approx(0.75 / 0.5)
    assert interactions.mi_ratio([1e4], [-1e4]) == 1e8  # the published floor of the denominator
    low, high = interactions.mi_ratio_interval([0.1, 1.0, 2.0], [0.0, -1.0, 0.5], paired=True)
    assert low <= interactions.mi_ratio([0.1, 1.0, 2.0], [0.0, -1.0, 0.5]) <= high


def test_gini_and_the_most_active():
    assert interactions.gini([2, 2, 2]) == approx(0)
    assert interactions.gini([0, 0, 0, 1]) == approx(3 / 4)
    assert interactions.gini([0, 0]) == 0
    assert interactions.gini([1, 3]) == approx(1 / 4)
    with pytest.raises(InputError, match="a value is -1"):
        interactions.gini([-1, 1])
    assert interactions.active(np.arange(40)).nonzero()[0].tolist() == [38, 39]
    assert interactions.active([1, 5, 5]).nonzero()[0].tolist() == [1]


def test_break_even_is_a_count_of_requests():
    found = interactions.efficiency(request=2, retraining=12, preparation=100)
    assert found == (6, 10)
    assert interactions.efficiency(request=12, retraining=10, preparation=1).break_even == math.inf
    assert interactions.efficiency(request=1, retraining=2) == (2, 0)
    with pytest.raises(InputError, match=r"the times are \(0, 1, 0\.0\) s"):
        interactions.efficiency(0, 1)


def test_item_vectors_know_what_is_bought_together():
    pairs = [(user, item) for user in range(20) for item in range(10) if (user + item) % 2 == 0]
    vectors = interactions.item_vectors(pairs, 12, dim=4)
    assert vectors.shape == (12, 4)
    unit = vectors[:10] / np.linalg.norm(vectors[:10], axis=1, keepdims=True)
    alike = unit @ unit.T
    assert alike[0, 2] > 0.99
    assert abs(alike[0, 1]) < 0.01
    np.testing.assert_allclose(vectors[10:], 0, atol=1e-12)  # nobody has them
    np.testing.assert_array_equal(vectors, interactions.item_vectors(pairs, 12, dim=4))
