"""The expected calibration error on hand-made guesses."""

import numpy as np
import pytest
from pytest import approx

from lethe.errors import InputError
from lethe.scoring.calibration import calibration_error


def test_by_hand():
    """Two bins: three guesses at .9 of which two are right (gap .7 in all), two at .3 of which one is (gap .4)."""
    value, (low, high) = calibration_error([[0.9, 0.9], [0.9, 0.3, 0.3]], [[1, 1], [0, 1, 0]], bins=2)
    assert value == approx((abs(2 - 2.7) + abs(1 - 0.6)) / 5)
    assert low <= value <= high


def test_what_knows_itself_has_none_and_certainty_lies_in_the_last_bin():
    assert calibration_error([[0.75] * 4], [[1, 1, 1, 0]])[0] == approx(0)
    assert calibration_error([[1.0, 0.0]], [[1, 0]])[0] == 0
    assert calibration_error([[1.0] * 4], [[0, 0, 0, 0]])[0] == 1
    rng = np.random.default_rng(0)
    sure = [rng.uniform(size=50) for _ in range(200)]
    right = [(rng.uniform(size=50) < one).astype(float) for one in sure]
    assert calibration_error(sure, right)[0] < 0.02
    assert calibration_error([one**3 for one in sure], right)[0] > 0.2


@pytest.mark.parametrize(("bins", "right"), [(0, [[1.0]]), (5, [[1.0, 0.0]])])
def test_what_does_not_fit_is_refused(bins: int, right: list[list[float]]):
    with pytest.raises(InputError):
        calibration_error([[0.5]], right, bins=bins)
