"""Every score refuses what it cannot score, in one sentence that says where and what to do."""

import math
from collections.abc import Callable

import numpy as np
import pytest

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
