"""Scores of arXiv 2502.05209 over many models and attacks, on numbers worked by hand."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from lethe.errors import InputError
from lethe.scoring.tampering import cluster_order, predicts, subspace, unlearning_score

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("unlearned", "utility", "score"),
    [(0.30, 0.6, 0.875), (0.30, 0.3, 0.375), (0.65, 0.6, 0.0), (0.25, 0.6, 1.0)],
)
def test_the_unlearning_score_takes_the_lost_utility_off(unlearned: float, utility: float, score: float):
    found = unlearning_score(original=0.65, unlearned=unlearned, chance=0.25, utility=utility, utility_before=0.6)
    assert found == pytest.approx(score, abs=1e-12)


def test_the_tamper_resistant_score_is_lower():
    options = {"original": 0.65, "chance": 0.25, "utility": 0.6, "utility_before": 0.6}
    assert unlearning_score(unlearned=max(0.30, 0.62), **options) == pytest.approx(0.075)


def test_a_model_that_knew_nothing_has_no_unlearning_score():
    with pytest.raises(InputError, match=r"chance 0\.25"):
        unlearning_score(original=0.25, unlearned=0.2, chance=0.25, utility=0.5, utility_before=0.5)


def test_one_direction_explains_a_matrix_of_rank_one():
    found = subspace(np.outer(RNG.normal(size=9), [1.0, 2.0, -0.5]))
    assert found.shares[0] == pytest.approx(1.0)
    np.testing.assert_allclose(found.loadings[0], np.array([1, 2, -0.5]) / np.linalg.norm([1, 2, -0.5]), atol=1e-9)


def test_the_order_of_models_and_a_constant_attack_change_no_share():
    success, weights = RNG.random((12, 5)), RNG.random(12)
    shares = subspace(success, weights).shares
    order = RNG.permutation(12)
    np.testing.assert_allclose(subspace(success[order], weights[order]).shares, shares, atol=1e-12)
    beside = subspace(np.column_stack([success, np.full(12, 0.7)]), weights)
    np.testing.assert_allclose(beside.shares[:5], shares, atol=1e-12)
    assert beside.shares[5] == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(beside.loadings[:5, 5], 0, atol=1e-9)


def scaled_before_centring(success: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """A known wrong weighting: rows are scaled first, so a constant column becomes a direction of its own."""
    rows = np.sqrt(weights)[:, None] * success
    singular = np.linalg.svd(rows - rows.mean(0), compute_uv=False)
    return singular**2 / (singular**2).sum()


def test_scaling_rows_before_centring_is_told_apart():
    success, weights = RNG.random((12, 3)), RNG.random(12)
    beside = np.column_stack([success, np.full(12, 0.7)])
    wrong = scaled_before_centring(success, weights), scaled_before_centring(beside, weights)
    assert abs(wrong[0][0] - wrong[1][0]) > 1e-3


def test_a_model_without_weight_says_nothing():
    success = RNG.random((8, 4))
    weights = np.array([1, 1, 1, 1, 1, 1, 1, 0.0])
    changed = success.copy()
    changed[-1] = 100
    np.testing.assert_allclose(subspace(success, weights).shares, subspace(changed, weights).shares, atol=1e-12)
    np.testing.assert_allclose(subspace(success, weights).shares, subspace(success[:-1]).shares[:4], atol=1e-12)


@pytest.mark.parametrize("weights", [[1.0, 0, 0], [1, 1, -1], [1, 1]])
def test_weights_that_do_not_fit_are_refused(weights: list[float]):
    with pytest.raises(InputError, match="give each model a weight"):
        subspace(RNG.random((3, 2)), weights)


def test_equal_success_everywhere_has_no_direction():
    with pytest.raises(InputError, match="nothing to decompose"):
        subspace(np.ones((4, 3)))


def test_attacks_that_go_together_stand_together():
    one, other = RNG.normal(size=30), RNG.normal(size=30)
    columns = [one, other, one + 0.01 * RNG.normal(size=30), other + 0.01 * RNG.normal(size=30), np.zeros(30)]
    order = cluster_order(np.column_stack(columns))
    assert sorted(order) == [0, 1, 2, 3, 4]
    assert abs(order.index(0) - order.index(2)) == 1
    assert abs(order.index(1) - order.index(3)) == 1


def test_rank_correlation_is_scipys_and_its_interval_holds_it():
    x = RNG.random(20)
    y = x + 0.3 * RNG.normal(size=20)
    found = predicts(x, y)
    assert found.spearman == pytest.approx(spearmanr(x, y)[0])
    assert found.low < found.spearman < found.high
    assert found.r2 == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2)
    assert found.exceedance == pytest.approx((x >= y).mean())


def test_checkpoints_of_one_method_are_drawn_together():
    x = np.repeat(RNG.random(4), 5)
    y = np.repeat(RNG.random(4), 5) + 0.001 * RNG.random(20)
    alone, grouped = predicts(x, y), predicts(x, y, groups=[f"m{i // 5}" for i in range(20)])
    assert grouped.high - grouped.low > alone.high - alone.low


def test_an_attack_that_is_the_same_on_every_model_predicts_nothing():
    found = predicts([0.2, 0.2, 0.2], [0.1, 0.2, 0.3])
    assert np.isnan([found.spearman, found.low, found.high, found.r2]).all()
    assert found.exceedance == pytest.approx(2 / 3)


def test_two_models_are_too_few_to_predict():
    with pytest.raises(InputError, match="three or more models"):
        predicts([0.1, 0.2], [0.1, 0.2])
