"""What must hold of harmonic means and KS distances for every sample."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx
from scipy.stats import ks_2samp

from lethe.errors import InputError
from lethe.scoring import aggregate
from lethe.scoring.intervals import percentile, resample

samples = st.lists(st.integers(-20, 20).map(float), min_size=2, max_size=15)
shares = st.lists(st.just(0.0) | st.floats(1e-6, 1), min_size=1, max_size=9)


@given(shares)
def test_harmonic_mean_lies_between_the_least_and_the_arithmetic_mean(values: list[float]):
    mean = aggregate.harmonic_mean(values)
    assert min(values) * (1 - 1e-9) <= mean <= np.mean(values) * (1 + 1e-9)
    assert (mean == 0) == (min(values) == 0)


def test_a_component_too_small_to_invert_is_0():
    assert aggregate.harmonic_mean([0.9, 1e-320]) == 0  # a collapsed model gives its answers such probabilities


@given(samples, samples)
def test_ks_ignores_order_and_strictly_monotone_maps(a: list[float], b: list[float]):
    found = aggregate.ks(a, b)
    swapped = aggregate.ks(b, a)
    assert (found.d, found.p) == (approx(swapped.d), approx(swapped.p))
    for change in (lambda x: 3 * np.array(x) - 7, lambda x: -(np.array(x) ** 3), lambda x: np.exp(np.array(x) / 5)):
        d, p, *_ = aggregate.ks(change(a), change(b))
        assert (d, p) == (approx(found.d), approx(found.p))
    assert found.p >= aggregate.ks_floor(len(a), len(b)) * (1 - 1e-9)


@given(st.integers(1, 30), st.integers(1, 30))
def test_floor_is_the_p_of_disjoint_samples(n: int, m: int):
    assert aggregate.ks_floor(n, m) == approx(aggregate.ks(np.arange(n), np.arange(m) + n).p)


@given(samples, samples, st.integers(0, 99))
def test_bootstrap_of_d_is_the_d_of_the_resampled_items(a: list[float], b: list[float], seed: int):
    def one_by_one(counts_a: np.ndarray, counts_b: np.ndarray) -> list[float]:
        pairs = zip(counts_a, counts_b, strict=True)
        drawn = [ks_2samp(np.repeat(a, u), np.repeat(b, v), method="asymp") for u, v in pairs]
        return [found.statistic for found in drawn]  # pyright: ignore[reportAttributeAccessIssue]

    expected = percentile(resample([len(a), len(b)], one_by_one, seed=seed, draws=20))
    assert aggregate.ks_interval(a, b, seed=seed, paired=False, draws=20) == approx(expected)


@given(samples, st.integers(0, 99))
def test_paired_bootstrap_keeps_a_question_together(a: list[float], seed: int):
    assert aggregate.ks_interval(a, a, seed=seed, draws=20) == (0, 0)


def test_gap_in_units_of_the_null():
    rng = np.random.default_rng(0)
    controls = [rng.normal(size=200) for _ in range(4)]
    assert len(aggregate.ks_null(controls)) == 6
    same = aggregate.ks_against_null(rng.normal(size=200), controls)
    other = aggregate.ks_against_null(rng.normal(2, 1, size=200), controls)
    assert 0.5 < same.ratio < 2
    assert other.ratio > 5
    assert aggregate.ks_against_null(controls[0], [controls[0], controls[0]]).ratio == 1


def test_utility_interval_resamples_the_metrics_of_a_set_together():
    values = np.random.default_rng(0).uniform(0.2, 0.8, 50)
    mirrored = [[values, 1.0 - values]]  # their sum is 1 whatever is drawn, so the harmonic mean never exceeds .5
    assert aggregate.harmonic_interval(mirrored, seed=0).high <= 0.5
    assert aggregate.harmonic_interval(mirrored, seed=0) == aggregate.harmonic_interval(mirrored, seed=0)


@pytest.mark.parametrize("n", [5, 7, 15])
def test_the_smallest_distance_has_an_exact_p_of_1(n: int):
    """Here scipy's exact p exceeds 1 by rounding, and its substitute is .99996 for n = 7."""
    found = aggregate.ks(np.arange(n), np.arange(n) + 0.5)
    assert (found.d, found.p) == (approx(1 / n), 1)


def test_an_exact_p_is_never_replaced_by_another():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="no exact p"):
        aggregate.ks(rng.normal(size=100_003), rng.normal(size=50_001))
