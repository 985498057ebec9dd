"""MUSE's criteria: the specification's numbers, both orientations, and what is refused."""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx

from lethe.errors import InputError
from lethe.scoring import muse, roc
from lethe.scoring.muse import RETRAINED_AUC, Criteria

NEWS, BOOKS = RETRAINED_AUC["news"]["min_k.k0.4"], RETRAINED_AUC["books"]["min_k.k0.4"]


@pytest.mark.parametrize(
    ("auc", "retrained", "leak"),
    [
        (0.0009, NEWS, -99.8114),
        (0.9, NEWS, 88.6002),
        (0.5, BOOKS, -7.2872),
        (NEWS, NEWS, 0),
        (1, NEWS, 109.56),
        (0, BOOKS, -100),
    ],
)
def test_privacy_leakage_in_both_orientations(auc: float, retrained: float, leak: float):
    assert muse.privleak(auc, retrained, orientation="muse") == approx(leak, abs=0.005)
    assert muse.privleak(1 - auc, 1 - retrained) == approx(leak, abs=0.005)
    assert muse.privleak(1 - auc, 1 - retrained, variant="open_unlearning") == approx(leak, abs=0.005)


def test_range_of_privacy_leakage():
    assert muse.privleak_range(NEWS, orientation="muse") == approx((-100, 109.6), abs=0.05)
    assert muse.privleak_range(BOOKS, orientation="muse") == approx((-100, 85.4), abs=0.05)
    assert muse.privleak_range(1 - NEWS) == approx((-100, 109.6), abs=0.05)


@given(st.floats(0, 1))
def test_with_a_reference_of_one_half_a_swap_of_members_turns_the_sign(auc: float):
    assert muse.privleak(auc, 0.5) == approx(-muse.privleak(1 - auc, 0.5))


@pytest.mark.parametrize("retrained", [0.19, 0.81, 0.0188125, 0.981, float("nan")])
@pytest.mark.parametrize("orientation", ["exposed", "muse"])
def test_a_reference_that_is_no_retrained_model_is_refused(retrained: float, orientation: Literal["exposed", "muse"]):
    with pytest.raises(InputError, match="not the target"):
        muse.privleak(0.5, retrained, orientation=orientation)


def test_every_recorded_reference_is_accepted_and_the_attacks_pair_up():
    assert set(RETRAINED_AUC["news"]) == set(RETRAINED_AUC["books"])
    for corpus in RETRAINED_AUC.values():
        assert [muse.privleak(auc, auc, orientation="muse") for auc in corpus.values()] == [0] * 10


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Paris\n\nQuestion: x", "Paris"),
        ("Question: x", ""),
        ("Paris\nQuestion: x", "Paris"),
        ("Paris, Question: x", "Paris, "),
        ("Paris\nFrance", "Paris\nFrance"),
        ("", ""),
    ],
)
def test_answers_end_where_the_model_asks_itself_on(text: str, answer: str):
    assert muse.cut_answer(text) == answer


def test_a_copy_scores_1_only_against_an_equally_long_truth():
    words = [f"w{i}" for i in range(200)]
    truth, generated = muse.cut_truth(words), words[:128]
    assert len(truth) == 127
    assert muse.overlap([" ".join(generated[:127])], [" ".join(truth)]) == 1
    assert muse.overlap([" ".join(generated)], [" ".join(truth)]) == approx(2 * 127 / (127 + 128))
    assert approx(0.9961, abs=5e-5) == 2 * 127 / (127 + 128)
    assert len(muse.cut_truth(words, variant="open_unlearning")) == 200


def test_cut_to_one_length_a_copy_scores_1():
    words = [f"w{i}" for i in range(200)]
    for budget in (128, 40):
        cut = {variant: muse.cut_truth(words, budget=budget, variant=variant) for variant in ("muse", "corrected")}
        assert [len(cut[variant]) for variant in ("muse", "corrected")] == [budget - 1, budget]
        assert muse.overlap([" ".join(words[:budget])], [" ".join(cut["corrected"])]) == 1


def test_the_interval_of_a_leak_resamples_the_texts_of_all_models():
    rng = np.random.default_rng(0)
    forget, holdout = rng.normal(size=30), rng.normal(size=40)
    reference = [(rng.normal(size=30), rng.normal(size=40))]
    low, high = muse.privleak_interval((forget, holdout), reference, seed=0)
    leak = muse.privleak(roc.auc(forget, holdout), roc.auc(*reference[0]))
    assert low < leak < high
    assert muse.privleak_interval((forget, holdout), [(forget, holdout)], seed=0) == (0, 0)  # the same texts were drawn
    exposed = muse.privleak_interval((forget + 100, holdout), reference, seed=0)
    assert exposed == (-100, -100)
    again = muse.privleak_interval((forget, holdout), [*reference, *reference], seed=0)
    assert again == approx((low, high))  # the mean over equal references is one of them


def test_the_two_code_bases_differ_by_the_stemmer():
    assert muse.overlap(["run dog"], ["running dogs"]) == 0
    assert muse.overlap(["run dog"], ["running dogs"], variant="open_unlearning") == 1
    with pytest.raises(InputError, match="unknown variant"):
        muse.overlap(["a"], ["a"], variant="tofu")  # pyright: ignore[reportArgumentType]


TARGET, RETRAIN = Criteria(58.4, 63.9, -99.8, 55.2), Criteria(20.8, 33.1, 0.0, 55.0)


def test_the_gap_counts_leaks_of_both_signs():
    over, under = Criteria(0, 0, 24.4, 0), Criteria(0, 0, -24.4, 0)
    assert muse.gap_to_retrained(over, RETRAIN) == muse.gap_to_retrained(under, RETRAIN)
    assert muse.gap_to_retrained(TARGET, RETRAIN) == approx((37.6, 30.8, 99.8, 0.2))
    assert muse.gap_to_retrained(RETRAIN, RETRAIN) == (0, 0, 0, 0)


def test_trends_over_sizes_and_requests():
    models = [TARGET._replace(utility=value) for value in (50.0, 40.0, 30.0, 20.0)]
    by_request = muse.trends([1, 2, 3, 4], models)
    assert by_request["utility"] == approx((50, 20, -10))
    assert by_request["utility"].kept == approx(0.4)
    assert by_request["verbmem"].slope == approx(0)
    assert muse.trends([0.8, 1.6, 2.4, 3.2], models)["utility"].slope == approx(-12.5)  # per million tokens
    assert muse.trends([1, 2], [RETRAIN, TARGET])["privleak"].kept is None  # from 0


@pytest.mark.parametrize(("steps", "models"), [([1], 1), ([1, 2], 1), ([2, 1], 2), ([1, 1], 2)])
def test_trends_need_steps_that_grow(steps: list[int], models: int):
    with pytest.raises(InputError, match="two or more"):
        muse.trends(steps, [TARGET] * models)


def test_four_repetitions_of_one_request_are_no_sequence():
    muse.check_sequence("target", ["target", "a", "b", "c"], ["a", "b", "c", "d"])
    with pytest.raises(InputError, match="request 2: starts at target, not at a"):
        muse.check_sequence("target", ["target"] * 4, ["a", "b", "c", "d"])
    with pytest.raises(InputError, match="2 requests began and 1 ended"):
        muse.check_sequence("target", ["target", "a"], ["a"])
    muse.check_fresh("target", ["target"] * 4)
    with pytest.raises(InputError, match="fold 3"):
        muse.check_fresh("target", ["target", "target", "a", "target"])


def test_trend_is_the_least_squares_line():
    values = np.random.default_rng(0).normal(size=6)
    steps = np.array([1.0, 2, 4, 5, 7, 11])
    found = muse.trends(steps, [TARGET._replace(knowmem=value) for value in values])
    assert found["knowmem"].slope == approx(np.polyfit(steps, values, 1)[0])
