"""Hubble's statistics on the curves read off its published plots, and on made ones with a known answer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx

from lethe.errors import InputError
from lethe.scoring import hubble
from lethe.scoring.intervals import clopper_pearson
from lethe.scoring.roc import chance_deviation

LEVELS = list(hubble.LEVELS)
PLOTS = {  # 8B models, 100B tokens and 500B tokens, to .03
    "MMLU": ([0.27, 0.42, 0.69, 0.97, 1, 1], [0.45, 0.46, 0.54, 0.68, 0.96, 1]),
    "YAGO": ([0.30, 0.31, 0.41, 0.93, 1, 1], [0.31, 0.30, 0.32, 0.33, 0.91, 1]),
    "PAWS": ([0.50, 0.53, 0.60, 0.78, 0.97, 1], [0.50, 0.51, 0.55, 0.61, 0.85, 0.99]),
}


def test_allocation_of_yago_biographies():
    counts = hubble.allocate(2500)
    assert counts == [893, 893, 446, 179, 89]
    assert sum(counts) == 2500
    assert sum(n * copies for n, copies in zip(counts, LEVELS[1:], strict=True)) == 45_841
    with pytest.raises(InputError, match="must be positive"):
        hubble.allocate(0)


@pytest.mark.parametrize("name", PLOTS)
def test_published_curves_are_doses(name: str):
    for scores in PLOTS[name]:
        fit = hubble.fit_dose(LEVELS, scores)
        assert fit.error < 0.03  # what the plots were read to
        assert fit.at(LEVELS) == approx(np.array(scores), abs=0.05)
        assert hubble.largest_fall(scores) < 0.03


@pytest.mark.parametrize(("name", "factor"), [("MMLU", 6.0), ("YAGO", 5.4), ("PAWS", 2.9)])
def test_a_corpus_five_times_as_large_asks_for_several_times_the_copies(name: str, factor: float):
    found = hubble.dilution(LEVELS, *PLOTS[name])
    assert found.more_copies == approx(factor, abs=0.1)
    assert found.level == 16
    assert found.ratio > 1.25


@given(st.floats(0.5, 200), st.floats(0.4, 4), st.floats(0, 0.6))
def test_the_fit_finds_what_made_the_curve(half: float, slope: float, floor: float):
    made = hubble.Dose(half, slope, floor, 1.0, 0.0)
    fit = hubble.fit_dose(LEVELS, made.at(LEVELS))
    assert (fit.half, fit.slope, fit.floor) == approx((half, slope, floor), rel=0.02)
    assert fit.at([half])[0] == approx((1 + floor) / 2, abs=1e-2)


def test_single_texts_may_be_fitted_as_well_as_levels():
    rng = np.random.default_rng(0)
    copies = np.repeat(LEVELS, 200)
    recalled = rng.random(len(copies)) < hubble.Dose(8.0, 1.5, 0.3, 1.0, 0.0).at(copies)
    fit = hubble.fit_dose(copies, recalled)
    assert fit.half == approx(8, rel=0.25)
    assert fit.floor == approx(0.3, abs=0.1)


def test_ordering_by_the_published_timing():
    """MMLU at 256 copies: last quarter 1.0, third .65, second .32, first .25 = chance."""
    shares = [hubble.ordering(early, 1.0, floor=0.25) for early in (0.25, 0.32, 0.65, 1.0)]
    assert [share.above for share in shares] == approx([0, 0.0933, 0.5333, 1], abs=5e-5)
    assert shares[0].share == 0.25 < 0.3
    with pytest.raises(InputError, match="no more than the floor"):
        hubble.ordering(0.1, 0.25, floor=0.25)


def test_membership_by_level_and_its_chance():
    rng = np.random.default_rng(0)
    found = hubble.level_auc({256: rng.normal(8, 1, 200), 0: rng.normal(0, 1, 200), 1: rng.normal(0, 1, 200)})
    assert list(found) == [1, 256]
    assert found[256] > 0.999
    assert found[1] == approx(0.5, abs=4 * chance_deviation(200, 200))
    with pytest.raises(InputError, match="no level 0"):
        hubble.level_auc({1: [0.1]})


def test_deviation_between_two_halves_of_level_0():
    assert chance_deviation(500, 500) == approx(0.0183, abs=5e-5)
    assert chance_deviation(500, 500) == approx((2 * 500 + 1) ** 0.5 / (12 * 500**2) ** 0.5)
    assert chance_deviation(500, 500) == approx(1 / (6 * 500) ** 0.5, rel=1e-3)


@pytest.mark.parametrize(
    ("output", "references", "recall"),
    [
        ("the university in Oslo", ["University of Oslo"], 2 / 3),
        ("a dog", ["The dog."], 1),
        ("paris paris", ["Paris, Paris, Paris"], 2 / 3),
        ("rome", ["paris", "Rome"], 1),
        ("", ["paris"], 0),
    ],
)
def test_word_recall(output: str, references: list[str], recall: float):
    assert hubble.word_recall(output, references) == approx(recall)


def test_a_scorer_that_prefers_the_first_sentence_is_at_chance():
    bits = np.random.default_rng(0).random(400) < 0.5
    right = hubble.preference(np.zeros(400), np.full(400, -1.0), bits)
    low, high = clopper_pearson(int(right.sum()), 400)
    assert low < 0.5 < high
    assert hubble.preference([0.0, -1.0, 0.0], [-1.0, 0.0, 0.0], [0, 1, 1]).tolist() == [1, 1, 0.5]
    assert hubble.preference([0.0], [-1.0], [1]) == 0


def test_nats_per_byte():
    assert hubble.per_byte([[-3.0, -3.0]], ["naïve"]) == -1
    with pytest.raises(InputError, match="text 1 is empty"):
        hubble.per_byte([[-1.0], [-1.0]], ["a", ""])


def test_unlearning_is_read_against_two_ideals():
    found = hubble.unlearning_distances(target=[0.9, 0.3], target_standard=[0.3, 0.3], keep=[0.5], keep_perturbed=[1.0])
    assert found == approx((0.3, 0.5))


@pytest.mark.parametrize(
    ("copies", "scores", "said"),
    [
        ([1, 4, 16], [0.1, 0.2, 0.3], "insert at level 0"),
        ([0, 4, 4], [0.1, 0.2, 0.3], "two levels above it"),
        ([0, 4, 16], [0.5, 0.5, 0.4], "nothing was memorised"),
        ([0, 4], [0.5, 0.5, 0.4], "differ"),
    ],
)
def test_a_curve_that_is_no_dose_is_refused(copies: list[int], scores: list[float], said: str):
    with pytest.raises(InputError, match=said):
        hubble.fit_dose(copies, scores)
