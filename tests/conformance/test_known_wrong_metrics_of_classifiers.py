"""Known wrong scores of classifiers give the wrong number their defect predicts, and fail the check that ours pass."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pytest import approx

from lethe.scoring import classification, forgetting
from lethe.scoring.detection_learnt import rescaled_logit
from lethe.scoring.detection_references import model_lira

from . import known_wrong_metrics_of_classifiers as wrong
from .test_eval_metrics import P, Q

OUTER, INNER = np.array([-3.0, -2, 2, 3]), np.array([-1.0, -0.5, 0.5, 1])
LOW, HIGH = np.linspace(0, 1, 30), np.linspace(3, 4, 30)
SURE, UNSURE = np.array([0.99, 0.999, 0.9999]), np.array([0.5, 0.7, 0.9])

# (ours, the wrong one, arguments, the right number, the wrong number, printed precision)
REJECTED: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple, float, float, float]] = {
    "a rule that errs on one side only": (
        lambda fpr, fnr: np.nan_to_num(forgetting.epsilon(fpr, fnr), nan=-1.0), wrong.epsilon_without_dropping,
        (0.0, 0.5), -1, math.inf, 1e-9),
    "points of the nearest bin": (
        lambda eps: forgetting.points([eps]), wrong.points_by_rounding, (0.4,), 1, 0.5, 1e-9),
    "one threshold alone": (
        forgetting.example_epsilon, wrong.forgetting_of_single_thresholds, (OUTER, INNER), math.inf, 0.693127, 5e-7),
    "loss divided twice": (
        lambda losses, size: np.mean(losses), wrong.mean_loss_of_batch_means, ([1.0, 2.0, 3.0, 6.0], 2), 3, 1.5, 1e-9),
    "attack without its side": (
        lambda m: 2 * (1 - classification.nomus(0.0, m)) - 1, lambda m: 2 * wrong.attack_without_its_side(m) + 0.5,
        (0.75,), 0.5, 1.0, 1e-9),
    "efficacy as member rate": (
        classification.mia_efficacy, wrong.efficacy_as_member_rate, (LOW, HIGH, HIGH), 1, 0, 1e-9),
    "ZRF aimed at 1": (
        lambda p, blank, retrained: abs(classification.zrf(p, blank) - classification.zrf(retrained, blank)),
        wrong.zrf_against_1, (P, Q, P), 0, 0.3327511, 5e-8),
    "the released ZRF in the place of the definition": (
        classification.zrf, classification.zrf_reference, (P, Q), 0.6672, 0.9016, 5e-5),
}  # fmt: skip


@pytest.mark.parametrize("name", REJECTED)
def test_known_wrong_score_gives_its_wrong_number_and_is_rejected(name: str):
    ours, theirs, arguments, right, mistaken, precision = REJECTED[name]

    def gives(score: Callable[..., Any], number: float) -> bool:
        value = np.asarray(score(*arguments), dtype=np.float64).ravel()
        return value.size == 1 and np.allclose(value, number, rtol=0, atol=precision)

    assert gives(ours, right)
    assert gives(theirs, mistaken)
    assert not gives(theirs, right)


def test_lira_on_probabilities_calls_a_sure_model_a_stranger():
    """At p = 0.999999 every member is less sure; on the scale of logits that is what a member looks like."""
    p = 0.999999
    assert wrong.lira_of_probabilities(p, SURE, UNSURE) < wrong.lira_of_probabilities(0.999, SURE, UNSURE)
    phi = [rescaled_logit(-np.log(values)) for values in (np.array([p]), np.array([0.9]), SURE[None], UNSURE[None])]
    sure, unsure = (model_lira(phi=own, phi_in=phi[2], phi_out=phi[3], spread="record")[0] for own in phi[:2])
    assert sure > unsure


def test_zrf_of_the_released_code():
    """The specification's number: each KL averaged over batch and classes, 0.0984492 for this pair."""
    assert 1 - classification.zrf_reference(P, Q) == approx(0.0984492, abs=5e-8)
    assert classification.zrf_reference([*P, *Q], [*Q, *P]).mean() == approx(1 - 0.0984492, abs=5e-8)
