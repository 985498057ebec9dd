"""Recovery from traces: the published arithmetic, the interval, and which comparisons are refused."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from tests.attacks import tiny

from lethe.auditing.recovery import Trace, attacked, recovery
from lethe.errors import InputError
from lethe.findings import Recovery
from lethe.models.base import Model
from lethe.request import Record
from lethe.score import Score


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


def test_several_controls_count_by_their_mean_and_their_spread_is_told():
    """Controls that gain 0.1 and 0.3: 0.2 on average, apart by 0.141 over a span of 0.8."""
    one, other = trace(0.1, 0.2), trace(0.1, 0.4)
    found = recovery(trace(0.1, 0.5), [one, other], trace(0.9, 0.9))
    assert found.adjusted == pytest.approx(0.25)
    assert (found.controls, found.spread) == (2, pytest.approx(0.2 / 2**0.5 / 0.8))
    assert found.low is not None and found.high is not None
    assert (found.low, found.high) == pytest.approx((0.125, 0.375))  # both draws of the same control
    alone = recovery(trace(0.1, 0.5), [one], trace(0.9, 0.9))
    assert alone == recovery(trace(0.1, 0.5), one, trace(0.9, 0.9))
    assert (alone.controls, alone.spread) == (1, None)
    assert recovery(trace(0.1, 0.5), [], trace(0.9, 0.9)) == recovery(trace(0.1, 0.5), None, trace(0.9, 0.9))
    with pytest.raises(InputError, match="same options"):
        recovery(trace(0.1, 0.5), [one, replace(other, options={"lr": 1.0})], trace(0.9, 0.9))


def test_the_p_value_is_that_of_paired_items_times_the_strengths():
    rng = np.random.default_rng(1)
    gains = rng.normal(0.1, 0.2, (2, 20))
    own = replace(trace(0.2, 0, 0, n=20), after=tuple(tuple(0.2 + row) for row in gains))
    found = recovery(own, trace(0.1, 0.1, 0.1, n=20), trace(0.9, 0.9, 0.9, n=20))
    single = [float(stats.ttest_1samp(row, 0, alternative="greater")[1]) for row in gains]  # pyright: ignore[reportArgumentType]
    assert found.p == pytest.approx(min(1, 2 * min(single)))
    assert recovery(trace(0.5, 0.2), trace(0.1, 0.1), trace(0.9, 0.9)).p == 1  # it fell


def test_what_is_known_of_a_model_is_not_observed_again():
    world = tiny.language()
    asked: list[int] = []

    def measure(model: Model, records: Sequence[Record]) -> Score:
        asked.append(len(records))
        return world.measure(model, records)

    forget = world.request.forget
    fresh = attacked("quantize:bits=8", world.target, world.request, measure)
    known = dict(zip((record["id"] for record in forget), fresh.before, strict=True))
    assert asked == [len(forget)] * 2
    again = attacked("quantize:bits=8", world.target, world.request, measure, known=known)
    assert asked == [len(forget)] * 3
    assert replace(again, reused=0) == fresh and again.reused == len(forget)
    first = {forget[0]["id"]: 0.5}
    assert attacked("quantize:bits=8", world.target, world.request, measure, known=first) == fresh  # all or nothing
    assert recovery(again, fresh, again).reused == 2 * len(forget)


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
