"""What must hold of memorisation scores for every input."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx

from lethe.scoring import memorization

hits = st.lists(st.booleans(), min_size=1, max_size=12)
loss = st.floats(0, 60)
losses = st.lists(loss, min_size=1, max_size=6)


@given(hits)
def test_extraction_strength_is_its_definition(item: list[bool]):
    n = len(item)
    k = next((k for k in range(n) if all(item[k:])), n)
    assert memorization.extraction_strength([item])[0] == approx(1 - k / n)


@given(hits)
def test_extraction_strength_against_exact_memorization(item: list[bool]):
    es, em = memorization.extraction_strength([item])[0], memorization.exact_memorization([item])[0]
    assert es <= em
    assert (es == 1) == (em == 1)
    assert (es > 0) == item[-1]


@given(hits)
def test_the_published_bug_is_a_bias_of_one_token_where_nothing_is_recited(item: list[bool]):
    bias = memorization.extraction_strength([item], ou_compat=True) - memorization.extraction_strength([item])
    assert bias[0] == approx(0 if item[-1] else 1 / len(item))


@given(loss, losses, st.floats(-20, 20))
def test_truth_ratio_ignores_a_constant_and_orders_its_means(right: float, wrong: list[float], shift: float):
    for kind in ("geometric", "arithmetic"):
        plain = memorization.log_truth_ratio([right], [wrong], kind=kind)
        moved = memorization.log_truth_ratio([right + shift], [np.array(wrong) + shift], kind=kind)
        assert moved == approx(plain, abs=1e-9)
    geometric, arithmetic = (
        memorization.log_truth_ratio([right], [wrong], kind=kind)[0] for kind in ("geometric", "arithmetic")
    )
    assert geometric <= arithmetic + 1e-9


@given(st.floats(-900, 900))
def test_forget_score_treats_a_ratio_and_its_inverse_alike(log_ratio: float):
    with np.errstate(over="ignore"):
        ratio, inverse = np.exp([log_ratio]), np.exp([-log_ratio])
    score = memorization.truth_ratio_forget_score(ratio)
    assert 0 <= score[0] <= 1
    assert memorization.truth_ratio_forget_score(inverse) == approx(score, rel=1e-9, abs=1e-300)


def test_a_ratio_of_0_or_infinity_is_as_far_as_can_be():
    ratio = memorization.truth_ratio([0.0, 5000.0], [[5000.0], [0.0]])
    assert ratio.tolist() == [0, np.inf]
    assert memorization.truth_ratio_forget_score(ratio).tolist() == [0, 0]
    assert memorization.truth_ratio_utility_score(ratio).tolist() == [1, 0]
    assert memorization.knowledge(ratio).tolist() == [1, 0]


@given(loss, losses)
def test_option_probability_is_a_share(gold: float, wrong: list[float]):
    p = np.exp(-gold)
    share = memorization.option_probability([gold], [wrong])[0]
    assert share == approx(p / (p + np.exp(-np.array(wrong)).sum()))
