"""What must hold of attack scores and of the curves drawn from them."""

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx
from scipy.special import log_softmax

from lethe.errors import InputError
from lethe.scoring import membership, roc
from lethe.scoring.intervals import clopper_pearson, percentile, resample

tokens = st.lists(st.floats(-30, 0), min_size=1, max_size=20)
scores = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=12)


@given(tokens, st.floats(0.01, 1), st.floats(0.01, 1))
def test_min_k_rises_with_k_to_the_mean(item: list[float], k: float, other: float):
    few, many = membership.min_k([item], k=min(k, other))[0], membership.min_k([item], k=max(k, other))[0]
    assert min(item) - 1e-9 <= few <= many + 1e-9
    assert membership.min_k([item], k=1) == approx(membership.loss([item]))


def test_min_k_of_a_text_too_short_for_its_share_reads_one_token():
    assert membership.min_k([[-1.0, -3.0], [-1.0, -3.0, -2.0]], k=0.4).tolist() == [-3, -3]


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


def test_reference_ratio_is_another_attack_than_the_difference():
    own, base = [[-1.0, -3.0], [-1.0]], [[-2.0, -4.0], [-4.0]]
    assert membership.reference(own, base).tolist() == [1.0, 3.0]
    assert membership.reference_ratio(own, base).tolist() == approx([-2 / 3, -0.25])
    with pytest.raises(InputError, match="certain of item 0"):
        membership.reference_ratio([[-1.0]], [[0.0]])


def test_other_tokenizers_compare_per_byte():
    text = "naïve"  # six bytes
    score = membership.reference_per_byte([[-1.0, -1.0]], [[-4.0]], [text])
    assert score == approx(2 / 6 / np.log(2))
    assert membership.reference_per_byte([[-2.0]], [[-1.0, -1.0]], [text]) == approx(0)  # one text, two tokenisations
    with pytest.raises(InputError, match="text 0 is empty"):
        membership.reference_per_byte([[-1.0]], [[-1.0]], [""])


def test_the_two_lower_case_attacks_rank_alike():
    rng = np.random.default_rng(0)
    own, lower = ([-rng.uniform(0.1, 4, 5) for _ in range(30)] for _ in range(2))
    muse, other = membership.lowercase(own, lower), membership.lowercase(own, lower, variant="detect_pretrain")
    assert other == approx(-1 / muse)
    assert (np.argsort(muse) == np.argsort(other)).all()


def test_neighbourhood():
    found = membership.neighbourhood([[-1.0, -2.0], [-3.0]], [[[-2.0], [-4.0, -4.0, -4.0]], [[-3.0]]])
    assert found.tolist() == [1.5, 0.0]
    with pytest.raises(InputError, match="give some for each"):
        membership.neighbourhood([[-1.0], [-1.0]], [[[-1.0]]])
    with pytest.raises(InputError, match="no items"):
        membership.neighbourhood([[-1.0]], [[]])


def test_two_ways_to_sum_up_gradient_norms():
    assert membership.grad_norm([[3.0, 4.0]]) == -3.5
    assert membership.grad_norm([[3.0, 4.0]], over="global") == -5
    with pytest.raises(InputError, match="negative"):
        membership.grad_norm([[-3.0]])


@given(st.lists(st.floats(-3, 3), min_size=3, max_size=3), st.lists(st.floats(-3, 3), min_size=3, max_size=3))
def test_gradient_norm_of_logistic_regression(weights: list[float], x: list[float]):
    """|sigma(w x) - y| |x| in closed form, against the gradient by differences."""
    w, features, step = np.array(weights), np.array(x), 1e-5

    def nll(at: np.ndarray) -> float:
        return float(np.logaddexp(0, -at @ features))  # y = 1

    gradient = [(nll(w + step * unit) - nll(w - step * unit)) / (2 * step) for unit in np.eye(3)]
    closed = abs(1 / (1 + np.exp(-w @ features)) - 1) * np.linalg.norm(features)
    assert membership.grad_norm([[np.linalg.norm(gradient)]])[0] == approx(-closed, abs=1e-6)


def test_recall_is_high_for_those_whom_a_foreign_prefix_hurts():
    member, other = [-0.5, -0.5], [-2.0, -2.0]
    found = membership.recall([member, other], [[-1.0, -1.0], [-2.2, -2.2]])
    assert found.tolist() == approx([2.0, 1.1])
    with pytest.raises(InputError, match="own in both passes"):
        membership.recall([[-1.0]], [[-1.0, -2.0]])


def test_window_min_k():
    item = [-1.0, -5.0, -1.0, -3.0]
    assert membership.window_min_k([item], k=0.34, window=2) == -3  # windows -3, -3, -2: the lowest one
    assert membership.window_min_k([item], k=1, window=2) == approx(-8 / 3)
    assert membership.window_min_k([item], k=1, window=2, stride=2) == approx(-2.5)
    assert membership.window_min_k([item], k=0.5, window=9) == -2.5  # shorter than a window
    with pytest.raises(InputError, match="at least 1 token"):
        membership.window_min_k([item], window=0)


@given(tokens, st.floats(0.01, 1))
def test_windows_of_one_token_are_min_k(item: list[float], k: float):
    assert membership.window_min_k([item], k=k, window=1) == approx(membership.min_k([item], k=k))


def test_a_token_set_without_the_last_refuses_what_it_empties():
    kept = membership.but_last([[-1.0, -9.0], [-1.0, -2.0, -3.0]])
    assert [item.tolist() for item in kept] == [[-1.0], [-1.0, -2.0]]
    with pytest.raises(InputError, match="item 1 has one token"):
        membership.but_last([[-1.0, -2.0], [-1.0]])


@pytest.mark.parametrize(
    ("n", "fpr", "enough"), [(100, 0.01, True), (99, 0.01, False), (20, 0.05, True), (19, 0.05, False)]
)
def test_a_rate_that_cannot_be_seen_is_refused(n: int, fpr: float, enough: bool):
    if enough:
        roc.require_resolution(n, fpr)
    else:
        with pytest.raises(InputError, match=f"score at least {round(1 / fpr)}"):
            roc.require_resolution(n, fpr)


def test_bounds_widen_as_non_members_get_few():
    """The same two distributions throughout; only the number of non-members falls."""
    members, others = np.arange(1000) / 1000 + 0.5, np.arange(10_000) / 10_000
    widths = [np.diff(roc.tpr_bounds(members, others[:: 10_000 // n], 0.01))[0] for n in (10_000, 1000, 100, 20)]
    assert (np.diff(widths) > 0).all()
    assert roc.tpr_bounds(members, others[::500], 0.01).low == 0  # 20 non-members: nothing is sure
    found = roc.tpr_bounds(members, others[::100], 0.01)
    ends = {count: clopper_pearson(count, 100) for count in range(101)}
    loosest = max(count for count, end in ends.items() if end.low <= 0.01)  # by the definition, threshold by threshold
    assert found.high == clopper_pearson(int((members > others[::100][-loosest - 1]).sum()), 1000).high
    narrow = roc.tpr_bounds(members, others, 0.01)
    assert narrow.low < roc.tpr_at_fpr(members, others, 0.01).tpr < narrow.high


def test_bounds_hold_the_true_rate():
    """Members N(1, 1) against N(0, 1): at 5 % FPR the true rate is .2595."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(200):
        low, high = roc.tpr_bounds(rng.normal(1, 1, 200), rng.normal(0, 1, 60), 0.05)
        held += low <= 0.2595 <= high
    assert held >= 190
