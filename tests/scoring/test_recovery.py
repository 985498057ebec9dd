"""What must hold of recovery scores for every attack."""

from itertools import combinations, pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx

from lethe.scoring import recovery

share = st.floats(0, 1)
counts = st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n)))


@given(counts)
def test_leak_at_k_is_the_share_of_draws_that_leak_and_rises_with_k(case: tuple[int, int]):
    n, c = case
    leaks = [recovery.leak_at_k([n], [c], k)[0] for k in range(1, n + 1)]
    assert leaks[0] == approx(c / n)
    assert all(a <= b + 1e-12 for a, b in pairwise(leaks))
    for k in range(1, min(n, 5) + 1):
        draws = list(combinations(range(n), k))
        assert leaks[k - 1] == approx(sum(min(draw) < c for draw in draws) / len(draws))


@given(share, share, share, share, share)
def test_recovery_ratio_is_0_for_whatever_the_control_gains_too(u: float, r: float, o: float, c: float, extra: float):
    ratio = recovery.recovery_ratio(unlearned=u, attacked=r, original=o, control_before=c, control_after=c + (r - u))
    assert (ratio is None) == (o - u < recovery.MIN_SPAN)
    if ratio is not None:
        assert ratio == approx(0, abs=1e-12)
        less = recovery.recovery_ratio(
            unlearned=u, attacked=r, original=o, control_before=c, control_after=c + (r - u) + extra
        )
        assert less is not None
        assert -1 <= less <= ratio + 1e-12


@given(st.lists(share, min_size=1, max_size=10), share, st.floats(0.1, 1))
def test_tamper_cost_is_never_above_the_cost_of_full_recovery(curve: list[float], u: float, drop: float):
    steps = list(range(1, len(curve) + 1))
    half, most = (
        recovery.steps_to_recover(steps, curve, unlearned=u, original=u + drop, share=part) for part in (0.5, 0.9)
    )
    assert half is not None
    assert most is not None
    assert half.steps <= most.steps
    assert half.censored <= most.censored


@given(st.integers(2, 5), st.integers(0, 99))
def test_resurrection_is_the_largest_of_the_last_row(m: int, seed: int):
    accuracy = np.random.default_rng(seed).uniform(size=(m, m))
    returned = recovery.resurrection_matrix(accuracy)
    assert recovery.resurrection(accuracy) == max(accuracy[-1, j] - accuracy[j, j] for j in range(m - 1))
    assert np.isnan(returned[np.triu_indices(m)]).all()
    steady = np.tile(accuracy[0], (m, 1))
    assert recovery.resurrection(steady) == 0
