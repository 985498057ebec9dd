"""Every score refuses what it cannot score, in one sentence that says where and what to do."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from lethe.errors import InputError
from lethe.scoring import (
    aggregate,
    blind,
    classification,
    curves,
    divergence,
    forms,
    hubble,
    intervals,
    membership,
    memorization,
    muse,
    ranking,
    recovery,
    roc,
    rouge,
    rwku,
    variants,
)

REFUSED: dict[str, Callable[[], object]] = {
    "no items": lambda: membership.loss([]),
    "NaN among the losses": lambda: memorization.probability([0.1, math.nan]),
    "a matrix for a vector": lambda: intervals.bootstrap([[0.1], [0.2]], seed=0),
    "an infinite score": lambda: intervals.bootstrap([0.1, math.inf], seed=0),
    "answers that do not pair up": lambda: memorization.truth_ratio([1.0, 2.0], [[1.0, 2.0]]),
    "an unknown mean": lambda: memorization.truth_ratio([1.0], [[1.0]], kind="harmonic"),  # pyright: ignore
    "log R for R": lambda: memorization.truth_ratio_forget_score([-0.3]),
    "texts that do not pair up": lambda: rouge.rouge_l(["a"], ["a", "b"]),
    "one text for a list": lambda: rouge.rouge_l("ab", "ab"),
    "an unknown variant": lambda: rouge.overlap("rougeL", ["a"], ["a"]),
    "a reference of 0": lambda: aggregate.relative_difference(1, 0),
    "one control": lambda: aggregate.ks_null([[0.1, 0.2]]),
    "paired samples of two sizes": lambda: aggregate.ks_interval([1, 2], [1, 2, 3], seed=0),
    "k of 0": lambda: membership.min_k([[-1.0]], k=0),
    "k above 1": lambda: membership.min_k([[-1.0]], k=20),
    "other tokens for the reference": lambda: membership.reference([[-1.0, -2.0]], [[-1.0]]),
    "moments of another length": lambda: membership.min_k_pp([[-1.0]], [[-1.0, -1.0]], [[0.5]]),
    "texts missing for zlib": lambda: membership.zlib([[-1.0]], []),
    "a certain lower-cased text": lambda: membership.lowercase([[-1.0]], [[0.0]]),
    "a rate of 0": lambda: roc.tpr_at_fpr([1], [0], 0),
    "a true positive rate of 0": lambda: roc.fpr_at_tpr([1], [0], 0),
    "no non-member": lambda: roc.auc([1], []),
    "an AUC above 1": lambda: roc.privleak(1.1, 0.5),
    "more hits than trials": lambda: intervals.clopper_pearson(3, 2),
    "one seed": lambda: intervals.seed_spread([0.5]),
    "metrics that do not line up": lambda: intervals.control_distance([1, 2], [[1], [2]]),
    "one control run": lambda: intervals.control_distance([1], [[1]]),
    "steps that do not increase": lambda: recovery.steps_to_recover([2, 2], [0, 0], unlearned=0, original=1),
    "a step 0": lambda: recovery.steps_to_recover([0, 2], [0, 0], unlearned=0, original=1),
    "no attack": lambda: recovery.worst_case({}),
    "more leaks than samples": lambda: recovery.leak_at_k([4], [5], 1),
    "k above the samples": lambda: recovery.leak_at_k([4, 16], [1, 1], 8),
    "one request": lambda: recovery.resurrection([[0.1]]),
    "requests not scored": lambda: recovery.resurrection([[0.1, 0], [math.nan, 0.1]]),
    "a matrix that is not square": lambda: recovery.resurrection_matrix([[0.1, 0.2]]),
    "one utility": lambda: recovery.utility_drift([0.5]),
    "a list longer than the catalogue": lambda: ranking.top_k([[0.1, 0.2]], 3),
    "a mask of another shape": lambda: ranking.top_k([[0.1, 0.2]], 1, seen=[[True]]),
    "ids from 1": lambda: ranking.item_ranks([[0.1, 0.2]], [0], [2]),
    "a user too few": lambda: ranking.recall_at_k([[1, 2]], [[1], [2]], 1),
    "k beyond the list": lambda: ranking.ndcg_at_k([[1, 2]], [[1]], 3),
    "logits for probabilities": lambda: classification.entropy([[2.0, -1.0]]),
    "a class too many": lambda: classification.accuracy([[0.5, 0.5]], [2]),
    "too few losses to attack": lambda: classification.mia_loss_logistic([0.1] * 5, [0.2] * 5),
    "a percentage for a share": lambda: classification.nomus(59.5, 0.7),
    "models of two vocabularies": lambda: divergence.kl(np.log([[0.5, 0.5]]), np.log([[0.5, 0.25, 0.25]])),
    "a rate that 19 cannot show": lambda: roc.require_resolution(19, 0.05),
    "bounds at a rate of 1": lambda: roc.tpr_bounds([1], [0], 1),
    "chance of no member": lambda: roc.chance_deviation(0, 3),
    "a certain reference": lambda: membership.reference_ratio([[-1.0]], [[0.0]]),
    "a text without neighbours": lambda: membership.neighbourhood([[-1.0]], []),
    "negative gradient norms": lambda: membership.grad_norm([[-1.0]]),
    "a prefix that was scored": lambda: membership.recall([[-1.0]], [[-1.0, -2.0]]),
    "a window of 0": lambda: membership.window_min_k([[-1.0]], window=0),
    "the last of one token": lambda: membership.but_last([[-1.0]]),
    "an empty text": lambda: membership.reference_per_byte([[-1.0]], [[-1.0]], [""]),
    "three texts to tell apart": lambda: blind.blind_baselines(["a"], ["b", "c"]),
    "rates of other records": lambda: curves.unroll([0, 0.3, 1], [0, 0.5, 1], 2, 2),
    "a curve of two lengths": lambda: curves.published([0, 1], [0, 0.5, 1], 2, 2),
    "an unknown MUSE variant": lambda: muse.overlap(["a"], ["a"], variant="paper"),  # pyright: ignore
    "the target for a control": lambda: muse.privleak(0.5, 0.99),
    "one size": lambda: muse.trends([1], [muse.Criteria(0, 0, 0, 0)]),
    "requests that start afresh": lambda: muse.check_sequence("a", ["a", "a"], ["b", "c"]),
    "a fold that does not": lambda: muse.check_fresh("a", ["a", "b"]),
    "targets without scores": lambda: rwku.by_level([]),
    "a target without a level": lambda: rwku.by_level([{"1": [1.0]}, {"2": [1.0]}]),
    "no alias": lambda: rwku.answer_f1("a", []),
    "an unknown kind of probe": lambda: rwku.probe_kind("riddle"),
    "no level 0": lambda: hubble.fit_dose([1, 4], [0.1, 0.2]),
    "nothing memorised": lambda: hubble.fit_dose([0, 1, 4], [0.3, 0.2, 0.3]),
    "no text to insert": lambda: hubble.allocate(0),
    "late texts not memorised": lambda: hubble.ordering(0.1, 0.2, floor=0.2),
    "levels without 0": lambda: hubble.level_auc({4: [0.1]}),
    "a reference without a word": lambda: hubble.word_recall("a", ["the"]),
    "pairs without bits": lambda: hubble.preference([0.0, 1.0], [1.0, 0.0], [1]),
    "forms of two sorts": lambda: forms.form_gap({"a": 1, "b": 1}, {"a": 1, "c": 1}),
    "a form never known": lambda: forms.form_gap({"a": 0, "b": 1}, {"a": 0, "b": 1}),
    "no target in a form": lambda: forms.form_score([]),
    "a loss for a probability": lambda: forms.stored_probability([2.3], "probability"),
    "two variants in a column": lambda: variants.one_variant(["a.x@s", "a.y@s"]),
    "an empty column": lambda: variants.one_variant([]),
    "a name without a set": lambda: variants.take_apart("rouge"),
    "an unknown code base": lambda: variants.reported("lm-eval", "rouge"),
    "items that do not pair up": lambda: divergence.kl_per_item([np.log([[0.5, 0.5]])], []),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_one_sentence(name: str):
    with pytest.raises(InputError) as refused:
        REFUSED[name]()
    sentence = str(refused.value)
    assert ": " in sentence  # where
    assert sentence.endswith(".")
    assert "; " in sentence  # what to do
    assert "\n" not in sentence
