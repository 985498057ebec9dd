"""Holm's correction and the paired test, on published and hand-made numbers."""

import numpy as np
import pytest
from pytest import approx
from scipy import stats

from lethe.errors import InputError
from lethe.scoring.hypotheses import holm, paired_p, tail_p


def test_holm_on_known_numbers():
    """As R's p.adjust(c(.01, .02, .03, .04), "holm"), and the textbook's four (Holm 1979) in another order."""
    assert holm([0.01, 0.02, 0.03, 0.04]) == approx([0.04, 0.06, 0.06, 0.06])
    assert holm([0.01, 0.04, 0.03, 0.005]) == approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == approx([1, 1])
    assert holm([0.02]) == approx([0.02])
    assert len(holm([])) == 0


def test_holm_keeps_the_order_of_the_family_and_never_goes_below_bonferroni_of_the_first():
    p = np.random.default_rng(0).uniform(size=12) ** 3
    adjusted = holm(p)
    assert adjusted.min() == approx(min(1, 12 * p.min()))
    assert (adjusted >= p).all()
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()
    shuffled = np.random.default_rng(1).permutation(12)
    assert holm(p[shuffled]) == approx(adjusted[shuffled])


def test_holm_holds_the_rate_of_families_with_a_false_alarm():
    rng = np.random.default_rng(2)
    alarms = np.mean([holm(rng.uniform(size=15)).min() <= 0.05 for _ in range(2000)])
    assert 0.035 < alarms < 0.065
    uncorrected = np.mean([rng.uniform(size=15).min() <= 0.05 for _ in range(2000)])
    assert uncorrected > 0.5  # which is what the correction is for


@pytest.mark.parametrize("wrong", [[0.5, 1.2], [-0.1], [float("nan")]])
def test_what_is_no_p_value_is_refused(wrong: list[float]):
    with pytest.raises(InputError):
        holm(wrong)


def test_the_paired_test_is_that_of_students_t():
    """1, 2, 3, 4: t = 2.5 / (1.291 / 2) = 3.873 with three degrees of freedom."""
    assert paired_p([1, 2, 3, 4]) == approx(0.01523, abs=1e-5)
    values = np.random.default_rng(3).normal(0.3, 1, 25)
    assert paired_p(values) == approx(stats.ttest_1samp(values, 0, alternative="greater")[1])
    assert paired_p(-values) == approx(1 - paired_p(values))


def test_without_spread_the_sign_decides_and_one_item_decides_nothing():
    assert paired_p([0.25, 0.25, 0.25]) == 0
    assert paired_p([0.0, 0.0]) == paired_p([-1.0, -1.0]) == 1
    assert paired_p([5.0]) == 1
    assert tail_p(2.0, 1.0, 1e9) == approx(0.02275, abs=1e-5)
