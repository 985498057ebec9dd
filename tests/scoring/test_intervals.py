"""Intervals against their definitions and against the sampling they stand for."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx
from scipy.stats import binom, ttest_1samp

from lethe.scoring import intervals


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_clopper_pearson_leaves_a_fortieth_on_either_side(case: tuple[int, int]):
    hits, n = case
    low, high = intervals.clopper_pearson(hits, n)
    assert low <= hits / n <= high
    assert binom.sf(hits - 1, n, low) == approx(0.025 if hits else 1)
    assert binom.cdf(hits, n, high) == approx(0.025 if hits < n else 1)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30), st.integers(0, 9))
def test_bootstrap_stays_within_the_values_and_repeats(values: list[float], seed: int):
    low, high = intervals.bootstrap(values, seed=seed)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert intervals.bootstrap(values, seed=seed) == (low, high)


def test_bootstrap_has_the_width_of_the_standard_error():
    values = np.random.default_rng(1).normal(size=400)
    low, high = intervals.bootstrap(values, seed=0, draws=4000)
    assert high - low == approx(2 * 1.96 * values.std() / 20, rel=0.05)


def test_blocks_of_draws_cover_all_of_them():
    drawn = intervals.resample([7, 1_500_000], lambda a, b: a.sum(axis=1) + b.sum(axis=1), seed=0, draws=5)
    assert drawn.tolist() == [1_500_007] * 5  # two, two and one draw to a block


def test_seed_spread_is_students():
    values = [0.61, 0.64, 0.60, 0.66]
    spread = intervals.seed_spread(values)
    low, high = ttest_1samp(values, 0).confidence_interval()
    assert spread == (approx(np.mean(values)), approx(np.std(values, ddof=1)), approx(low), approx(high), 4)


@given(
    st.lists(st.lists(st.floats(-2, 2), min_size=2, max_size=2), min_size=4, max_size=6),
    st.floats(0.5, 4),
    st.floats(-3, 3),
)
def test_control_distance_has_no_unit(values: list[list[float]], scale: float, shift: float):
    model, controls = np.array(values[0]), np.array(values[1:])
    if (controls.std(axis=0) < 1e-6).any():
        return
    plain = intervals.control_distance(model, controls)
    moved = intervals.control_distance(scale * model + shift, scale * controls + shift)
    assert moved.z == approx(plain.z, abs=1e-6)


def test_controls_that_agree_leave_no_room_unless_a_floor_gives_some():
    exact = intervals.control_distance([0.0, 0.1], [[0.0, 0.0]] * 3)
    assert exact.z.tolist() == [0, np.inf]
    assert exact.within.tolist() == [True, False]
    assert not exact.passed
    assert intervals.control_distance([0.0, 0.1], [[0.0, 0.0]] * 3, sd_floor=0.05).z.tolist() == [0, 2]
