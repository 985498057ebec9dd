"""Known wrong metrics give the wrong number their defect predicts, and fail the check that ours pass."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from pytest import approx
from scipy.special import log_softmax

from lethe.errors import InputError
from lethe.scoring import (
    aggregate,
    classification,
    divergence,
    forms,
    hubble,
    intervals,
    membership,
    memorization,
    ranking,
    recovery,
    roc,
    rouge,
    rwku,
)
from lethe.scoring.detection_learnt import rescaled_logit
from lethe.scoring.detection_references import ratio_share

from . import known_wrong_metrics as wrong
from .test_eval_metrics import (
    FORGET_LOSS,
    HITS,
    HOLDOUT_LOSS,
    KNOWN,
    LAST_WRONG,
    LIKED,
    LOSS_PARA,
    LOSS_WRONG,
    RANKED,
    TOKENS,
    UTILITIES,
    P,
    Q,
)

UNIFORM = np.log([1 / 3] * 5)
RUN_DOG = (["run dog"], ["running dogs"])
STEPHEN = (["stephen king"], ["Stephen King"])
THE_CAT = (["the cat the cat sat"], ["the cat sat the cat"])

# (ours, the wrong one, arguments, the right number, the wrong number, printed precision)
REJECTED: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple, float, float, float]] = {
    "extraction strength of 1/n": (
        memorization.extraction_strength, wrong.extraction_strength_of_open_unlearning, ([LAST_WRONG],), 0, 0.2, 1e-9),
    "exact memorisation without its last token": (
        memorization.exact_memorization, wrong.exact_memorization_but_last, ([HITS],), 0.8, 0.75, 1e-9),
    "a wrong last token not seen": (
        memorization.exact_memorization, wrong.exact_memorization_but_last, ([LAST_WRONG],), 0.8, 1, 1e-9),
    "arithmetic mean for geometric": (
        memorization.truth_ratio, wrong.truth_ratio_by_the_other_mean, (LOSS_PARA, LOSS_WRONG), 0.239088, 0.385, 1e-6),
    "stemmer off": (rouge.rouge_l, wrong.rouge_recall_without_stemming, RUN_DOG, 1, 0, 1e-9),
    "RWKU with folded case": (rouge.rouge_l_rwku, wrong.rwku_recall_with_folded_case, STEPHEN, 0, 1, 1e-9),
    "RWKU with repeats": (rouge.rouge_l_rwku, wrong.rwku_recall_with_repeats, THE_CAT, 0.666667, 0.8, 1e-6),
    "utility by the arithmetic mean": (
        aggregate.harmonic_mean, wrong.utility_by_the_arithmetic_mean, (UTILITIES,), 0.623131, 0.6967, 5e-5),
    "asymptotic p of disjoint samples": (
        lambda a, b: math.log10(max(aggregate.ks(a, b).p, 1e-300)),
        lambda a, b: math.log10(max(wrong.ks_p_asymptotic(a, b), 1e-300)),
        (np.arange(300), np.arange(300) + 300), math.log10(1.48e-179), -300, 0.005),
    "AUC with the holdout as members": (
        roc.auc, wrong.auc_with_the_holdout_as_members, (-FORGET_LOSS, -HOLDOUT_LOSS), 0.875, 0.125, 1e-9),
    "AUC that counts ties as lost": (roc.auc, wrong.auc_without_ties, ([1, 1], [1, 1, 1]), 0.5, 0, 1e-9),
    "PrivLeak not turned round": (roc.privleak, wrong.privleak_not_turned, (0.9991, 0.5228), -99.81, 91.1, 0.05),
    "Min-K of no token": (
        partial(membership.min_k, k=0.1), partial(wrong.min_k_of_nothing, k=0.1), ([TOKENS],), -2.995732, math.nan,
        1e-6),
    "Min-K++ of a uniform distribution": (
        partial(membership.min_k_pp, k=1), partial(wrong.min_k_pp_unclamped, k=1),
        ([UNIFORM], [UNIFORM], [np.zeros(5)]), 0, math.nan, 1e-9),
    "TPR between two steps": (
        lambda own, other, fpr: roc.tpr_at_fpr(own, other, fpr).tpr, wrong.tpr_interpolated,
        ([5.0] * 4, [5.0] + [0.0] * 9, 0.05), 0, 0.5, 1e-9),
    "recovery without a control": (
        lambda: recovery.recovery_ratio(**KNOWN), lambda: wrong.recovery_without_control(**KNOWN), (), 0.25, 0.5,
        1e-9),
    "leak@k with replacement": (
        recovery.leak_at_k, wrong.leak_at_k_plugged_in, ([16], [2], 8), 0.766667, 1 - 0.875**8, 1e-6),
    "a flat z of 2": (intervals.control_threshold, wrong.flat_threshold, (5, 1), 3.04, 2, 0.005),
    "NDCG against an unreachable ideal": (
        ranking.ndcg_at_k, wrong.ndcg_untruncated, ([[1, 5]], LIKED, 2), 1, 0.7653606, 1e-7),
    "recall as any hit": (ranking.recall_at_k, wrong.recall_as_any_hit, (RANKED, LIKED, 3), 1 / 3, 1, 1e-9),
    "modified entropy with log p": (
        classification.modified_entropy, wrong.modified_entropy_twice_wrong, (P, [0]), 0.1621672,
        -0.3 * math.log(0.7) - 0.2 * math.log(0.2) - 0.1 * math.log(0.1), 1e-7),
    "modified entropy with every label's column": (
        lambda p, y: classification.modified_entropy(p, y)[0], lambda p, y: wrong.modified_entropy_twice_wrong(p, y)[0],
        ([*P, *Q], [0, 1]), 0.1621672, -0.3 * math.log(0.7) - 0.8 * math.log(0.2) - 0.1 * math.log(0.1), 1e-7),
    "ZRF by a mean over classes": (classification.zrf, wrong.zrf_of_ssd, (P, Q), 0.6672, 0.9016, 5e-5),
    "RWKU's All by levels": (
        lambda target: rwku.by_level([target])["all"], wrong.all_as_mean_of_levels, ({"1": [1.0] * 3, "2": [0.0]},),
        0.75, 0.5, 1e-9),
    "form probability by the arithmetic mean": (
        forms.form_probability, wrong.form_probability_arithmetic, ([np.log([0.9, 0.1])],), 0.3, 0.5, 1e-9),
    "word recall of sets": (
        hubble.word_recall, wrong.word_recall_as_sets, ("paris", ["paris paris"]), 0.5, 1, 1e-9),
    "rescaled logit without digits": (
        rescaled_logit, wrong.rescaled_logit_of_rounded_p, ([1e-20],), 20 * math.log(10), -math.log(1e-45), 1e-6),
    "RMIA upside down": (
        ratio_share, wrong.ratio_share_of_stored_signals, ([3.0], [1, 1, 2, 0.5]), 0.75, -0.75, 1e-9),
    "ZRF in nats": (classification.zrf, wrong.zrf_in_nats, (P, Q), 0.6672, 1 - 0.2306455, 5e-5),
}  # fmt: skip


@pytest.mark.parametrize("name", REJECTED)
def test_known_wrong_metric_gives_its_wrong_number_and_is_rejected(name: str):
    ours, theirs, arguments, right, mistaken, precision = REJECTED[name]

    def gives(metric: Callable[..., Any], number: float) -> bool:
        value = np.asarray(metric(*arguments), dtype=np.float64).ravel()
        return value.size == 1 and np.allclose(value, number, rtol=0, atol=precision, equal_nan=True)

    assert gives(ours, right)
    assert gives(theirs, mistaken)
    assert not gives(theirs, right)


def test_privleak_refuses_the_target_as_its_own_reference():
    assert wrong.privleak_unguarded(0.00002, 0.9811875) == approx(5215.5, abs=0.05)
    assert wrong.privleak_unguarded(0.00002, 0.981) == approx(5163, abs=1)
    with pytest.raises(InputError, match="not the target"):
        roc.privleak(0.00002, 0.9811875)


def test_raw_logits_are_no_log_probabilities():
    control, model = [[2.0, 0.0, 0.0, -1.0]], [[3.0, 1.0, 1.0, 0.0]]
    assert wrong.kl_of_raw_logits(control, model)[0] < 0  # "less than equal", though the two predict the same
    with pytest.raises(InputError, match="log-softmax"):
        divergence.kl(control, model)
    assert divergence.kl(log_softmax(control, axis=1), log_softmax(model, axis=1)) == approx(0, abs=1e-12)


@pytest.mark.parametrize(
    "score",
    [
        lambda empty: membership.loss(empty),
        lambda empty: membership.min_k(empty, k=0.4),
        lambda empty: membership.min_k_pp(empty, empty, empty, k=0.4),
        lambda empty: memorization.exact_memorization(empty),
        lambda empty: memorization.extraction_strength(empty),
        lambda empty: memorization.mean_nll(empty),
    ],
)
def test_an_item_without_a_token_is_refused_and_never_a_perfect_member(score: Callable[[list], np.ndarray]):
    with pytest.raises(InputError, match="item 1"):
        score([[-0.5, -0.1], []])
