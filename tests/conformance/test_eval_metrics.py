"""The worked numbers of the metrics' specifications.

Numbers are those of the papers' released code or were computed by two independent scripts; "printed" precision means
half a unit of the last digit given.
"""

import math
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
from pytest import approx
from scipy.special import log_softmax
from scipy.stats import t

from lethe.errors import InputError
from lethe.scoring import (
    aggregate,
    classification,
    divergence,
    intervals,
    membership,
    memorization,
    ranking,
    recovery,
    roc,
    rouge,
)
from lethe.scoring.memorization import Mean

SIX_DIGITS = 5e-7

# 1. Token-level memorisation

LOSS_PARA = -np.log([0.4])
LOSS_WRONG = -np.log([[0.1, 0.2, 0.4, 0.05, 0.02]])
RATIOS = [0.2, 0.5, 1, 2, 4]
HITS = [True, False, True, True, True]  # predictions 5,0,7,8,9 of 5,6,7,8,9
LAST_WRONG = [True, True, True, True, False]


def test_probability_is_the_geometric_mean_of_token_probabilities():
    nll = memorization.mean_nll([np.log([0.5, 0.25, 0.8])])
    assert memorization.probability(nll) == approx(0.464159, abs=SIX_DIGITS)


def test_normalised_probability():
    assert memorization.option_probability(-np.log([0.4]), -np.log([[0.1, 0.2, 0.3]])) == approx(0.4)


def test_truth_ratio_by_both_means():
    assert memorization.truth_ratio(LOSS_PARA, LOSS_WRONG, kind="arithmetic") == approx(0.385)
    assert memorization.truth_ratio(LOSS_PARA, LOSS_WRONG) == approx(0.239088, abs=SIX_DIGITS)
    means = {kind: 0.4 * memorization.truth_ratio(LOSS_PARA, LOSS_WRONG, kind=kind)[0] for kind in get_args(Mean)}
    assert means == approx({"arithmetic": 0.154, "geometric": 0.095635}, abs=SIX_DIGITS)


def test_truth_ratio_scores():
    assert memorization.truth_ratio_forget_score(RATIOS).mean() == approx(0.49)
    assert memorization.truth_ratio_utility_score(RATIOS).mean() == approx(0.26)


def test_knowledge_form():
    ratio = memorization.truth_ratio(LOSS_PARA, LOSS_WRONG)
    assert memorization.knowledge(ratio) == approx(0.807045, abs=SIX_DIGITS)


def test_exact_memorization_and_extraction_strength():
    assert memorization.exact_memorization([HITS]) == approx(0.8)
    assert memorization.extraction_strength([HITS, [True] * 5, LAST_WRONG]).tolist() == approx([0.6, 1, 0])
    assert memorization.extraction_strength([LAST_WRONG], ou_compat=True) == approx(0.2)


def test_an_item_of_one_token_has_none_without_its_last():
    items = [[True], [True, False]]
    assert memorization.exact_memorization(items, but_last=True).tolist() == [1]  # one item is left out
    assert memorization.extraction_strength(items, but_last=True).tolist() == [0, 1]
    with pytest.raises(InputError, match="every item has one token"):
        memorization.exact_memorization(items[:1], but_last=True)


# 2. Text overlap

NAME = "The author's full name is Hsiao Yun-Hwa."
SAID = "The author is named Hsiao Yun Hwa and lives in Taipei."


@pytest.mark.parametrize(
    ("variant", "truth", "output", "expected"),
    [
        ("rougeL_recall.stem", NAME, SAID, 6 / 9),
        ("rougeL_f1", NAME, SAID, 0.6),
        ("rougeL_f1.stem", NAME, SAID, 0.6),
        ("rougeL_recall.rwku", NAME, SAID, 3 / 7),
        ("rougeL_recall.stem", "running dogs", "run dog", 1.0),
        ("rougeL_recall", "running dogs", "run dog", 0.0),
        ("rougeL_recall.stem", "Stephen King", "stephen king", 1.0),
        ("rougeL_recall.rwku", "Stephen King", "stephen king", 0.0),
        ("rougeL_recall.stem", "the cat sat the cat", "the cat the cat sat", 0.8),
        ("rougeL_recall.rwku", "the cat sat the cat", "the cat the cat sat", 2 / 3),
        ("rougeL_recall.rwku", "NOANSWER", "", 1.0),
        ("exact_match.lower", "Stephen King", "stephen king", 1.0),
        ("exact_match.lower", NAME, SAID, 0.0),
    ],
)
def test_overlap(variant: str, truth: str, output: str, expected: float):
    assert rouge.overlap(variant, [output], [truth]) == approx(expected, abs=1e-12)


def test_recall_rewards_rambling_and_f1_does_not():
    rambling = [f"{NAME} {SAID} {SAID}"]
    assert rouge.overlap("rougeL_recall.stem", rambling, [NAME]) == 1
    assert rouge.overlap("rougeL_f1.stem", rambling, [NAME]) < 0.5


def test_ngram_entropy():
    entropy = rouge.ngram_entropy(["the cat sat on the mat and the cat sat", "a a a a a a", "one", ""])
    assert entropy.tolist() == approx([2.741827, 0, 0, 0], abs=SIX_DIGITS)
    of_pairs, of_triples = 2.725481, 2.75  # bits
    assert entropy[0] == approx((2 / 3 * of_pairs + 4 / 3 * of_triples) / 2, abs=SIX_DIGITS)


# 3. Aggregates

UTILITIES = [0.99, 0.98, 0.47, 0.46, 0.93, 0.60, 0.42, 0.88, 0.54]
EIGHT = np.arange(1, 9) / 10


def test_model_utility():
    assert aggregate.harmonic_mean(UTILITIES) == approx(0.623131, abs=SIX_DIGITS)
    assert aggregate.harmonic_mean([*UTILITIES[:-1], 0]) == 0
    with pytest.raises(InputError, match=r"-0\.1"):
        aggregate.harmonic_mean([*UTILITIES, -0.1])


@pytest.mark.parametrize("change", [lambda r: r, lambda r: 1 / r, lambda r: r / (1 + r), np.log])
def test_forget_quality_and_its_invariance(change: Callable[[np.ndarray], np.ndarray]):
    d, p, *_ = aggregate.ks(change(EIGHT), change(EIGHT + 0.25))
    assert (d, p) == (0.375, approx(0.660140, abs=SIX_DIGITS))


@pytest.mark.parametrize(("n", "p"), [(40, 1.86e-23), (200, 1.94e-119), (300, 1.48e-179), (400, 1.06e-239)])
def test_floor_of_the_p_value(n: int, p: float):
    disjoint = aggregate.ks(np.arange(n), np.arange(n) + n)
    assert disjoint.d == 1
    assert disjoint.p == approx(p, rel=5e-3)
    assert aggregate.ks_floor(n, n) == approx(disjoint.p, rel=1e-9)


@pytest.mark.parametrize(("n", "p"), [(40, 0.766), (200, 0.0221), (400, 2.41e-4)])
def test_one_distance_has_a_p_value_for_every_n(n: int, p: float):
    found = aggregate.ks(np.arange(n), np.arange(n) + 0.15 * n - 0.5)
    assert (found.d, found.p) == (approx(0.15), approx(p, rel=2.5e-3))


def test_relative_difference():
    assert aggregate.relative_difference(0.6, 0.5) == approx(20)


# 4. Privacy

FORGET_LOSS, HOLDOUT_LOSS = np.array([1.0, 1.5, 2.0, 2.2]), np.array([1.8, 2.5, 3.0, 3.1])
TOKENS = np.log([0.9, 0.5, 0.1, 0.05, 0.8])


def test_auc_in_the_one_orientation():
    assert roc.auc(-FORGET_LOSS, -HOLDOUT_LOSS) == 0.875
    assert roc.auc(FORGET_LOSS, HOLDOUT_LOSS) == 0.125  # negated scores
    assert roc.auc([1, 1], [1, 1, 1]) == 0.5
    assert roc.auc(np.exp(-FORGET_LOSS), np.exp(-HOLDOUT_LOSS)) == 0.875
    assert roc.auc(np.exp(FORGET_LOSS), np.exp(HOLDOUT_LOSS)) == 0.125
    assert roc.auc(-np.floor(FORGET_LOSS), -np.floor(HOLDOUT_LOSS)) == 0.75  # values that a map merges are ties


@pytest.mark.parametrize(
    ("muse_auc", "muse_retrained", "expected"),
    [(0.0009, 0.4772, -99.81), (0.4772, 0.4772, 0), (1, 0.4772, 109.56), (0, 0.4772, -100), (0.5, 0.5393, -7.29)],
)
def test_privleak(muse_auc: float, muse_retrained: float, expected: float):
    assert roc.privleak(1 - muse_auc, 1 - muse_retrained) == approx(expected, abs=0.005)


def test_tpr_at_fpr_steps_and_says_when_it_cannot_be_resolved():
    members, others = np.arange(80, 120), np.arange(100)
    at_five = roc.tpr_at_fpr(members, others, 0.05)
    assert (at_five.tpr, at_five.fpr, at_five.threshold, at_five.resolved) == (25 / 40, 0.05, 95, True)
    below_five = roc.tpr_at_fpr(members, others, 0.05, inclusive=False)
    assert (below_five.tpr, below_five.fpr) == (24 / 40, 0.04)
    at_a_thousandth = roc.tpr_at_fpr(members, others, 0.001)
    assert (at_a_thousandth.tpr, at_a_thousandth.fpr, at_a_thousandth.resolved) == (0.5, 0, False)
    assert at_a_thousandth.fpr_interval.high == approx(1 - 0.025 ** (1 / 100))  # 3.6 %: what "0" may really be


def test_best_balanced_accuracy_and_advantage():
    best = roc.best_balanced_accuracy(-FORGET_LOSS, -HOLDOUT_LOSS)
    assert (best.balanced_accuracy, best.advantage) == (0.875, 0.75)
    assert roc.balanced_accuracy(-FORGET_LOSS, -HOLDOUT_LOSS, best.value) == 0.875


def test_loss_attack():
    assert membership.loss([TOKENS]) == approx(-1.263994, abs=SIX_DIGITS)


@pytest.mark.parametrize(
    ("k", "nll"),
    [
        (0.1, 2.995732),
        (0.2, 2.995732),
        (0.4, 2.649159),
        (0.59, 2.649159),
        (0.6, 1.997155),
        (0.8, 1.553652),
        (1, 1.263994),
    ],
)
def test_min_k(k: float, nll: float):
    assert membership.min_k([TOKENS], k=k) == approx(-nll, abs=SIX_DIGITS)


@pytest.mark.parametrize(
    ("p", "token", "mu", "sigma", "z"),
    [
        ((0.7, 0.2, 0.1), 0, -0.801819, 0.703126, 0.633092),
        ((0.25, 0.5, 0.25), 2, -1.039721, 0.346574, -1),
        ((1 / 3, 1 / 3, 1 / 3), 1, -1.098612, 0, 0),
    ],
)
def test_min_k_pp(p: tuple[float, ...], token: int, mu: float, sigma: float, z: float):
    logs = np.log([p])
    mean, std = membership.moments(logs)
    assert (mean[0], std[0]) == (approx(mu, abs=SIX_DIGITS), approx(sigma, abs=SIX_DIGITS))
    assert membership.min_k_pp([logs[:, token]], [mean], [std], k=0.2) == approx(z, abs=SIX_DIGITS)


def test_z_has_mean_0_and_variance_1_under_the_model_and_ignores_a_shift_of_the_logits():
    logits = np.random.default_rng(0).normal(size=(6, 50)) * 3

    def every_z(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logs = log_softmax(logits, axis=1)
        mean, std = (np.repeat(values[:, None], 50, axis=1) for values in membership.moments(logs))
        return np.exp(logs), np.array(membership.z_scores(list(logs), list(mean), list(std)))

    p, z = every_z(logits)
    assert (p * z).sum(axis=1) == approx(np.zeros(6), abs=1e-12)
    assert (p * z**2).sum(axis=1) == approx(np.ones(6))
    assert every_z(logits + 17.5)[1] == approx(z)


def test_zlib_and_lowercase():
    assert membership.zlib([[-2.0]], [NAME]) == approx(-0.041667, abs=SIX_DIGITS)
    scores = membership.lowercase([[-1.0], [-3.0]], [[-2.0], [-2.0]])
    assert scores.tolist() == [-0.5, -1.5]  # the text that loses most by lower-casing looks most like a member


def test_reference_attack_with_the_target_as_reference_is_blind():
    scores = membership.reference([TOKENS, TOKENS[:2]], [TOKENS, TOKENS[:2]])
    assert scores.tolist() == [0, 0]
    assert roc.auc(scores, scores) == 0.5


# 5. Recovery

KNOWN = {"unlearned": 0.1, "attacked": 0.5, "original": 0.9, "control_before": 0.1, "control_after": 0.3}


def test_recovery_of_the_eval_metrics_example():
    assert recovery.relearning_gap(unlearned=0.25, attacked=0.60) == approx(0.35)
    assert recovery.recovered_fraction(unlearned=0.25, attacked=0.60, original=0.65) == approx(0.875)
    assert recovery.recovered_fraction(unlearned=0.62, attacked=0.65, original=0.65) is None


def test_what_the_control_learns_too_is_no_recovery():
    rise = {name: value for name, value in KNOWN.items() if name != "original"}
    assert recovery.control_adjusted_gap(**rise) == approx(0.2)
    assert recovery.control_adjusted_gap(**rise | {"control_after": 0.5}) == approx(0)


def test_recovery_ratio_subtracts_what_the_control_gains():
    untaught = KNOWN | {"control_after": KNOWN["control_before"]}
    assert recovery.recovery_ratio(**untaught) == approx(0.5)
    assert recovery.recovery_ratio(**KNOWN) == approx(0.25)
    assert recovery.recovery_ratio(**KNOWN | {"attacked": 9.0}) == 1.5
    assert recovery.recovery_ratio(**KNOWN | {"attacked": -9.0}) == -1
    assert recovery.recovery_ratio(**KNOWN | {"original": 0.14}) is None


def test_steps_to_recover_and_their_censoring():
    curve = [0.2, 0.5, 0.82, 0.9]
    assert recovery.steps_to_recover([1, 2, 4, 8], curve, unlearned=0.1, original=0.9) == (4, False)
    assert recovery.steps_to_recover([1, 2, 4, 8], curve, unlearned=0.1, original=0.9, share=0.5) == (2, False)
    assert recovery.steps_to_recover([1, 2], curve[:2], unlearned=0.1, original=0.9) == (2, True)
    assert recovery.steps_to_recover([1, 2], curve[:2], unlearned=0.9, original=0.9) is None
    assert recovery.speed_up(recovery.Steps(8, True), recovery.Steps(4, False)) == (2, "at least")
    assert recovery.speed_up(recovery.Steps(8, False), recovery.Steps(16, True)) == (0.5, "at most")


def test_undo_time_and_area_of_the_tampering_paper_s_trajectory():
    """arXiv 2502.05209: .30 at step 0, then .35, .50, .62, .64 towards .65; back is .615, which step 3 reaches."""
    curve = [0.35, 0.50, 0.62, 0.64]
    assert recovery.steps_to_recover([1, 2, 3, 4], curve, unlearned=0.30, original=0.65) == (3, False)
    area = (0.325 + 0.425 + 0.56 + 0.63) / 4
    assert recovery.budget_area([1, 2, 3, 4], curve, unlearned=0.30) == approx(area)
    assert recovery.budget_area([2, 4], [0.5, 0.5], unlearned=0.5) == approx(0.5)
    assert recovery.budget_area([10], [1.0], unlearned=0.0) == approx(0.5)


def test_worst_case_states_how_many_attacks_were_tried():
    assert recovery.worst_case({"relearn": 0.4, "int4": 0.7, "prefix": 0.1}) == ("int4", 0.7, 3)


def test_leak_at_k():
    leaks = [recovery.leak_at_k([16], [2], k)[0] for k in (1, 4, 8, 16)]
    assert leaks == approx([0.125, 0.45, 0.766667, 1], abs=SIX_DIGITS)


def test_resurrection():
    accuracy = [[0.1, math.nan], [0.4, 0.1]]
    assert recovery.resurrection(accuracy) == approx(0.3)
    returned = recovery.resurrection_matrix(accuracy)
    assert returned[1, 0] == approx(0.3)
    assert np.isnan(returned).sum() == 3
    assert recovery.resurrection([[0.4, 0], [0.1, 0]]) == approx(-0.3)
    assert recovery.utility_drift([0.9, 0.8, 0.7]) == approx(-0.1)


# Distance to the controls (SoK)


@pytest.mark.parametrize(
    ("n", "m", "z"), [(5, 1, 3.04), (5, 10, 6.13), (10, 1, 2.37), (10, 10, 3.87), (3, 1, 4.97), (3, 10, 16.3)]
)
def test_control_threshold(n: int, m: int, z: float):
    assert intervals.control_threshold(n, m) == approx(z, abs=0.05 if z > 10 else 0.005)


def test_a_flat_threshold_fails_true_controls():
    one_metric = 2 * t.sf(2 / math.sqrt(1 + 1 / 5), 4)
    assert one_metric == approx(0.14, abs=0.005)
    assert 1 - (1 - one_metric) ** 10 == approx(0.78, abs=0.005)


@pytest.mark.parametrize(("n", "m"), [(5, 1), (5, 10), (3, 10)])
def test_one_more_control_passes_95_times_in_100(n: int, m: int):
    runs = np.random.default_rng(0).normal(size=(2000, n + 1, m))
    passed = np.mean([intervals.control_distance(run[0], run[1:]).passed for run in runs])
    # Bonferroni over independent metrics: between .95 and .95 + a little; three binomial standard errors around that.
    exact = (1 - 0.05 / m) ** m
    assert passed == approx(exact, abs=3 * math.sqrt(0.05 * 0.95 / 2000))


# Recommenders

RANKED, LIKED = [[3, 1, 4, 0, 5]], [[1, 5, 9]]


def test_top_k_metrics():
    assert ranking.recall_at_k(RANKED, LIKED, 3) == ranking.precision_at_k(RANKED, LIKED, 3) == approx(1 / 3)
    assert ranking.ndcg_at_k(RANKED, LIKED, 3) == approx(0.2960819, abs=5e-8)
    assert ranking.recall_at_k(RANKED, LIKED, 5) == approx(2 / 3)
    assert ranking.precision_at_k(RANKED, LIKED, 5) == approx(2 / 5)
    assert ranking.ndcg_at_k(RANKED, LIKED, 5) == approx(0.4776237, abs=5e-8)
    assert ranking.hit_rate_at_k(RANKED, LIKED, 1) == 0
    assert ranking.hit_rate_at_k(RANKED, LIKED, 3) == 1


def test_cure4rec_divides_by_an_ideal_that_no_list_reaches():
    assert ranking.ndcg_at_k_cure4rec([[1, 5]], LIKED, 2) == approx(0.7653606, abs=5e-8)
    assert ranking.ndcg_at_k([[1, 5]], LIKED, 2) == 1


def test_ranking_hides_what_the_user_has_seen():
    scores, seen = [[0.9, 0.1, 0.5, 0.5]], [[True, False, False, False]]
    assert ranking.top_k(scores, 4, seen=seen).tolist() == [[2, 3, 1, -1]]
    assert ranking.item_ranks(scores, [0, 0, 0], [0, 2, 1]).tolist() == [1, 2.5, 4]
    assert ranking.item_ranks(scores, [0, 0], [0, 2], seen=seen).tolist() == [1, 1.5]
    assert ranking.mean_rank(scores, [0, 0], [0, 1]) == 2.5


# Classifiers

P, Q = [[0.7, 0.2, 0.1]], [[0.1, 0.3, 0.6]]


def test_modified_entropy():
    assert classification.modified_entropy(P, [0]) == approx(0.1621672, abs=5e-8)
    twice = classification.modified_entropy([*P, *Q], [0, 1])
    assert twice[0] == approx(0.1621672, abs=5e-8)  # the other item's label changes nothing


def test_divergence_to_an_untrained_model():
    assert divergence.js(P, Q, unit="nats") == approx(0.2306455, abs=5e-8)
    assert divergence.js(P, Q) == approx(0.3327511, abs=5e-8)
    assert classification.zrf(P, Q) == approx(0.6672, abs=5e-5)


@pytest.mark.parametrize(
    ("utility", "attack", "score"),
    [
        (0.5951917, 0.7136, 0.583996),
        (0.4048083, 0.5488372, 0.653567),
        (0.5633528, 0.5953488, 0.686328),
        (0.6055880, 0.7126246, 0.590169),
        (1 / 8, 0.5, 0.5625),  # a random classifier of 8 classes
    ],
)
def test_nomus(utility: float, attack: float, score: float):
    assert classification.nomus(utility, attack) == approx(score, abs=1e-6)
    assert classification.nomus(utility, 1 - attack) == approx(score, abs=1e-6)


def test_loss_attack_of_mufac():
    rng = np.random.default_rng(0)
    same = classification.mia_loss_logistic(rng.exponential(size=400), rng.exponential(size=400))
    assert same == approx(0.5, abs=5 * math.sqrt(0.25 / 800))
    tight = classification.mia_loss_logistic(rng.uniform(0, 0.01, 400), 0.2 + rng.uniform(0, 0.01, 400))
    assert tight == 1
    # A threshold separates the next two pairs as well, but the penalised, unscaled logistic does not find it.
    loose = classification.mia_loss_logistic(rng.uniform(0, 1, 500), 1.01 + rng.exponential(5, 500))
    assert loose == approx(0.985, abs=0.01)
    near = classification.mia_loss_logistic(np.full(100, 1.0), np.full(103, 1.001))
    assert near == approx(11 / 21)  # the majority of a fold: nothing learnt
    constant = classification.mia_loss_logistic(np.ones(1500), np.ones(1504))
    assert constant == approx(151 / 301)


def test_the_two_published_attacks_point_in_opposite_directions():
    rng = np.random.default_rng(0)
    member, other = rng.normal(0, 0.1, 100), rng.normal(3, 0.1, 100)
    assert classification.mia_efficacy(member, other, member) < 0.05
    assert classification.mia_member_rate(member, other, member) > 0.95
    assert classification.mia_efficacy(member, other, other) > 0.95
    assert classification.mia_member_rate(member, other, other) < 0.05
