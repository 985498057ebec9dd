"""Recovery from traces: the published arithmetic, the interval, and which comparisons are refused."""

from dataclasses import replace

import numpy as np
import pytest

from lethe.auditing.recovery import Trace, recovery
from lethe.errors import InputError
from lethe.findings import Recovery


def trace(before: float, *after: float, n: int = 10) -> Trace:
    strengths = tuple(float(5 * row) for row in range(1, len(after) + 1))
    items = tuple(tuple([value] * n) for value in after)
    ids = tuple(f"r{row}" for row in range(n))
    return Trace("relearn", {"lr": 0.001}, "probability.answer@forget", ids, (before,) * n, strengths, items)


def test_the_published_example():
    """Original .9, unlearned .1, after the attack .5, control .1 and .3: .5 raw, .25 adjusted (SoK, section 8)."""
    found = recovery(trace(0.1, 0.5), trace(0.1, 0.3), trace(0.9, 0.9))
    assert found.adjusted == pytest.approx(0.25)
    assert (found.low, found.high) == pytest.approx((0.25, 0.25))  # all items alike
    assert (found.before, found.original, found.control_before) == pytest.approx((0.1, 0.9, 0.1))
    (point,) = found.points
    assert (point.strength, point.value, point.control, point.original) == pytest.approx((5, 0.5, 0.3, 0.9))
    assert (found.check, found.evidence_class, found.unit, found.n) == ("R3", "E3", "steps", 10)


def test_the_strongest_strength_counts_and_extremes_are_clipped():
    found = recovery(trace(0.1, 0.3, 0.7, 0.2), trace(0.1, 0.1, 0.1, 0.1), trace(0.9, 0.9, 0.9, 0.9))
    assert found.adjusted == pytest.approx(0.75)
    assert [point.strength for point in found.points] == [5, 10, 15]
    assert recovery(trace(0.8, 1.0), trace(0.5, 0.0), trace(0.9, 0.9)).adjusted == 1.5
    assert recovery(trace(0.8, 0.0), trace(0.0, 0.9), trace(0.9, 0.9)).adjusted == -1


def test_no_share_where_nothing_was_removed_or_nothing_compared():
    kept = recovery(trace(0.86, 0.9), trace(0.1, 0.1), trace(0.9, 0.9))
    assert kept.adjusted is kept.low is kept.high is None
    alone = recovery(trace(0.1, 0.5), None, trace(0.9, 0.9))
    assert alone.adjusted is None and alone.control_before is None
    assert alone.points[0].control is None and alone.points[0].value == pytest.approx(0.5)


def mixed(n: int, seed: int) -> tuple[Trace, Trace, Trace]:
    """Items of very different difficulty, the same ones in all three models; 0.4 of the removed comes back."""
    rng = np.random.default_rng(seed)
    known = rng.uniform(0.2, 1, n)
    after = 0.4 * known + rng.normal(0, 0.02, n)
    empty = trace(0.0, 0.0, n=n)
    return replace(empty, after=(tuple(after),)), empty, replace(empty, before=tuple(known), after=(tuple(known),))


def test_the_interval_covers_and_pairs_the_items():
    covered = 0
    for seed in range(100):
        found = recovery(*mixed(40, seed), seed=seed)
        assert found.low is not None and found.high is not None and found.adjusted is not None
        assert found.low <= found.adjusted <= found.high
        assert found.high - found.low < 0.06  # items resampled apart in the three models would give about 0.25
        covered += found.low <= 0.4 <= found.high
    assert covered >= 85


def test_the_interval_narrows_with_items_and_follows_its_seed():
    few, many = recovery(*mixed(20, 0)), recovery(*mixed(320, 0))
    assert width(many) < 0.5 * width(few)
    assert recovery(*mixed(20, 0)) == few
    assert recovery(*mixed(20, 0), seed=1).low != few.low


def width(found: Recovery) -> float:
    assert found.low is not None and found.high is not None
    return found.high - found.low


def test_unlike_runs_are_not_compared():
    own, other = trace(0.1, 0.5), trace(0.1, 0.3)
    known = trace(0.9, 0.9)
    for wrong in (
        replace(other, options={"lr": 0.01}),
        replace(other, ids=tuple(reversed(other.ids))),
        replace(other, strengths=(7.0,)),
        replace(other, measure="rouge.rougeL_recall@forget"),
        replace(other, attack="quantize"),
    ):
        with pytest.raises(InputError, match="same options, on the same records"):
            recovery(own, wrong, known)
        with pytest.raises(InputError, match="same options, on the same records"):
            recovery(own, other, replace(wrong, before=known.before))
