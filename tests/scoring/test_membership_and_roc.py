"""What must hold of attack scores and of the curves drawn from them."""

import zlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx
from scipy.special import log_softmax

from lethe.scoring import membership, roc
from lethe.scoring.intervals import percentile, resample

tokens = st.lists(st.floats(-30, 0), min_size=1, max_size=20)
scores = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=12)


@given(tokens, st.floats(0.01, 1), st.floats(0.01, 1))
def test_min_k_rises_with_k_to_the_mean(item: list[float], k: float, other: float):
    few, many = membership.min_k([item], k=min(k, other))[0], membership.min_k([item], k=max(k, other))[0]
    assert min(item) - 1e-9 <= few <= many + 1e-9
    assert membership.min_k([item], k=1) == approx(membership.loss([item]))


@given(st.lists(st.lists(st.floats(-8, 8), min_size=4, max_size=4), min_size=1, max_size=6), st.floats(-50, 50))
def test_min_k_pp_ignores_a_shift_of_the_logits(logits: list[list[float]], shift: float):
    def score(rows: np.ndarray) -> np.ndarray:
        logs = log_softmax(rows, axis=1)
        mean, std = membership.moments(logs)
        return membership.min_k_pp([logs[:, 0]], [mean], [std], k=0.5)

    rows = np.array(logits)
    if (membership.moments(log_softmax(rows, axis=1))[1] > 1e-3).all():
        assert score(rows + shift) == approx(score(rows), rel=1e-6, abs=1e-6)


def test_zlib_counts_the_bytes_of_the_text_as_it_is():
    text = "AaAaBbBbAAaaBBbb, naïve"
    score = membership.zlib([[-1.0, -3.0]], [text])
    assert score == approx(-2 / len(zlib.compress(text.encode("utf-8"), 6)))
    assert len(zlib.compress(text.lower().encode())) < len(zlib.compress(text.encode()))  # or the case shows nothing


def test_tokens_of_probability_0_do_not_count_in_the_moments():
    mean, std = membership.moments(np.array([[np.log(0.5), np.log(0.5), -np.inf]]))
    assert mean == approx(np.log(0.5))
    assert std == approx(0)


@given(scores, scores)
def test_auc_is_its_definition_and_its_symmetries(own: list[float], other: list[float]):
    a, b = np.array(own)[:, None], np.array(other)[None]
    area = roc.auc(own, other)
    assert area == approx(((a > b) + (a == b) / 2).mean())
    assert roc.auc(other, own) == approx(1 - area)
    assert roc.auc(-np.array(own), -np.array(other)) == approx(1 - area)
    assert roc.auc(np.exp(own), np.exp(other)) == approx(area)


@given(scores, scores, st.integers(0, 99))
def test_bootstrap_of_the_auc_is_the_auc_of_the_resampled_items(own: list[float], other: list[float], seed: int):
    def one_by_one(a: np.ndarray, b: np.ndarray) -> list[float]:
        return [roc.auc(np.repeat(own, u), np.repeat(other, v)) for u, v in zip(a, b, strict=True)]

    expected = percentile(resample([len(own), len(other)], one_by_one, seed=seed, draws=20))
    assert roc.auc_interval(own, other, seed=seed, draws=20) == approx(expected)


@given(scores, scores, st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_tpr_at_fpr_is_a_point_of_the_curve_and_rises(own: list[float], other: list[float], f: float, g: float):
    low, high = roc.tpr_at_fpr(own, other, min(f, g)), roc.tpr_at_fpr(own, other, max(f, g))
    assert low.tpr <= high.tpr
    assert low.fpr <= min(f, g) + 1e-9
    assert low.tpr == (np.array(own) >= low.threshold).mean()
    assert low.fpr == (np.array(other) >= low.threshold).mean()
    best = max(
        ((np.array(own) >= t).mean() for t in {*own, *other} if (np.array(other) >= t).mean() <= min(f, g)), default=0
    )
    assert low.tpr == best


@given(scores, scores)
def test_fpr_at_tpr_undoes_tpr_at_fpr(own: list[float], other: list[float]):
    rate = roc.fpr_at_tpr(own, other, 0.95)
    reached = [(np.array(other) >= t).mean() for t in own if (np.array(own) >= t).mean() >= 0.95]
    assert rate == min(reached)


@given(scores, scores)
def test_best_balanced_accuracy_is_reached_and_never_below_one_half(own: list[float], other: list[float]):
    best = roc.best_balanced_accuracy(own, other)
    assert best.balanced_accuracy >= 0.5
    assert roc.balanced_accuracy(own, other, best.value) == approx(best.balanced_accuracy)
    assert all(roc.balanced_accuracy(own, other, t) <= best.balanced_accuracy + 1e-12 for t in {*own, *other})


@given(st.floats(0, 1), st.floats(0.2, 0.8))
def test_privleak_has_the_sign_of_the_exposure(model: float, control: float):
    leak = roc.privleak(model, control)
    assert -100 - 1e-9 <= leak <= (1 / (1 - control) - 1) * 100 + 1e-9
    if abs(model - control) > 1e-9:
        assert (leak < 0) == (model > control)
