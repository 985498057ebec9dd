"""What must hold of top-K metrics for every list."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx

from lethe.scoring import ranking

catalogue = st.permutations(range(8))
liked = st.sets(st.integers(0, 9), min_size=1, max_size=9).map(sorted)


@given(catalogue, liked, st.integers(1, 8))
def test_metrics_agree_with_each_other(items: list[int], own: list[int], k: int):
    recall, precision, hit, ndcg, theirs = (
        metric([items], [own], k)[0]
        for metric in (
            ranking.recall_at_k,
            ranking.precision_at_k,
            ranking.hit_rate_at_k,
            ranking.ndcg_at_k,
            ranking.ndcg_at_k_cure4rec,
        )
    )
    assert recall * len(own) == approx(precision * k)
    assert hit == (recall > 0) == (ndcg > 0)
    assert theirs <= ndcg <= 1 + 1e-12
    assert (theirs == ndcg) or len(own) > k
    assert (ndcg == approx(1)) == (set(items[: min(k, len(own))]) <= set(own))


@given(st.lists(st.integers(-3, 3).map(float), min_size=6, max_size=6), st.sets(st.integers(0, 5), max_size=4))
def test_ranks_and_lists_tell_the_same_order(scores: list[float], hidden: set[int]):
    seen = np.isin(np.arange(6), list(hidden))[None]
    best = ranking.top_k([scores], 6, seen=seen)[0]
    shown = best[best >= 0]
    assert sorted(shown) == sorted(set(range(6)) - hidden)
    ranks = ranking.item_ranks([scores], np.zeros(len(shown)), shown, seen=seen)
    assert ranks.sum() == approx(len(shown) * (len(shown) + 1) / 2)
    assert (np.diff(ranks) >= 0).all()


def test_a_user_without_a_relevant_item_has_no_value():
    values = ranking.ndcg_at_k([[0, 1], [1, 0]], [[], [1]], 2)
    assert np.isnan(values[0])
    assert values[1] == 1


def test_missing_items_are_no_hits():
    assert ranking.recall_at_k([[2, -1, -1]], [[2, 7]], 3) == 0.5
