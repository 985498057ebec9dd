"""TDDBench's algorithms: the specification's worked numbers, their orientation, and what they refuse."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx
from scipy.special import softmax

from lethe.errors import InputError
from lethe.scoring import classification, detection, roc
from lethe.scoring.detection import ALGORITHMS, detect, needs
from lethe.scoring.detection_learnt import merged_features, rescaled_logit
from lethe.scoring.detection_references import (
    likelihood_ratio,
    model_calibration,
    model_fpr,
    model_lira,
    model_loss,
    ratio_share,
    split_references,
)

RECORDS, MODELS = 300, 6


@pytest.fixture(scope="module")
def world() -> dict[str, np.ndarray]:
    """Every quantity of a world whose models are surer by one logit of the records that they were trained on.

    Records differ in difficulty far more than that, which is what reference models can take off.
    """
    rng = np.random.default_rng(0)
    member = np.arange(RECORDS) < RECORDS // 2
    difficulty = rng.normal(0, 1.5, RECORDS)
    labels = rng.integers(0, 3, RECORDS)

    def logits(known: np.ndarray, hard: np.ndarray, classes: np.ndarray) -> np.ndarray:
        rows = rng.normal(0, 0.3, (len(hard), 3))
        rows[np.arange(len(hard)), classes] += 1.5 + hard + 2.0 * known
        return rows

    def loss(rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
        return classification_loss(softmax(rows, axis=1), classes)

    target = logits(member, difficulty, labels)
    inside, outside = (
        np.stack([loss(logits(np.full(RECORDS, known), difficulty, labels), labels) for _ in range(MODELS)], axis=1)
        for known in (1.0, 0.0)
    )
    reference = logits(member, difficulty, labels)
    population = loss(logits(np.zeros(RECORDS), difficulty, labels), labels)
    copies = loss(target, labels)[:, None] + rng.normal(0.3 * member[:, None], 0.3, (RECORDS, 10))
    hits, hits_reference = rng.random((2, RECORDS, 10)) < np.where(member, 0.9, 0.5)[:, None]
    own = loss(target, labels)
    phi, phi_in, phi_out = (rescaled_logit(values) for values in (own, inside, outside))
    return {
        "member": member,
        "p": softmax(target, axis=1), "logits": target, "labels": labels,
        "loss": own, "loss_in": inside, "loss_out": outside,
        "phi": phi, "phi_in": phi_in, "phi_out": phi_out,
        "p_true": np.exp(-own), "p_true_in": np.exp(-inside), "p_true_out": np.exp(-outside),
        "population_true": np.exp(-population), "population_true_in": np.exp(-inside),
        "population_true_out": np.exp(-outside),
        "p_reference": softmax(reference, axis=1), "logits_reference": reference, "labels_reference": labels,
        "member_reference": member,
        "loss_copies": copies, "hits": hits, "hits_reference": hits_reference,
        "loss_proxy": own + rng.normal(0, 0.5, RECORDS),
        "distance": np.exp(phi), "correct": target.argmax(axis=1) == labels,
        "phi_mean": phi_out.mean(axis=1), "phi_std": np.ones(RECORDS),
        "phi_query": phi[:, None], "phi_query_in": phi_in[:, None], "phi_query_out": phi_out[:, None],
    }  # fmt: skip


def classification_loss(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return -np.log(p[np.arange(len(p)), labels])


def area(world: dict[str, np.ndarray], name: str) -> float:
    scores, member = detect(name, world), world["member"]
    assert scores.shape == (RECORDS,)
    assert np.isfinite(scores).all()
    return roc.auc(scores[member], scores[~member])


def test_all_21_are_there_in_four_paradigms():
    paradigms = [name.partition("-")[0] for name in ALGORITHMS]
    assert {name: paradigms.count(name) for name in paradigms} == {"Metric": 5, "Learn": 5, "Model": 5, "Query": 6}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_high_means_member(world: dict[str, np.ndarray], name: str):
    assert area(world, name) > 0.5 + 2 * roc.chance_deviation(150, 150)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_shuffled_membership_is_not_found(world: dict[str, np.ndarray], name: str):
    """Labels permuted after scoring; ties only narrow the margin."""
    scores = detect(name, world)
    member = np.random.default_rng(7).permutation(world["member"])
    assert roc.auc(scores[member], scores[~member]) == approx(0.5, abs=4 * roc.chance_deviation(150, 150))


def test_margin_of_shuffled_membership():
    assert 4 * roc.chance_deviation(1090, 1122) == approx(0.049, abs=5e-4)
    drawn = np.random.default_rng(0).random((2000, 25))
    areas = [roc.auc(row[:10], row[10:]) for row in drawn]
    assert np.std(areas) == approx(roc.chance_deviation(10, 15), rel=0.08)


def test_reference_models_take_off_the_difficulty_of_a_record(world: dict[str, np.ndarray]):
    """The benchmark's ordering of paradigms, where records differ more in difficulty than by membership."""
    assert (area(world, "Model-lira") - 0.5) / (area(world, "Metric-loss") - 0.5) > 1.3
    assert area(world, "Model-loss") > area(world, "Metric-loss")


def test_monotone_signals_have_one_area(world: dict[str, np.ndarray]):
    rescaled, member = rescaled_logit(world["loss"]), world["member"]
    by_logit = roc.auc(rescaled[member], rescaled[~member])
    assert area(world, "Metric-loss") == approx(area(world, "Metric-conf")) == approx(by_logit)


def test_three_classes_have_no_fourth_to_leave_out(world: dict[str, np.ndarray]):
    assert (detect("Learn-top3", world, seed=3) == detect("Learn-sorted", world, seed=3)).all()
    assert (detect("Learn-top3", world, seed=4) != detect("Learn-top3", world, seed=3)).any()


def test_area_of_correctness_has_a_closed_form(world: dict[str, np.ndarray]):
    right, member = world["correct"], world["member"]
    assert area(world, "Metric-corr") == approx((1 + right[member].mean() - right[~member].mean()) / 2)


# Worked numbers


def test_modified_entropy_is_not_monotone_in_the_true_class():
    of = classification.modified_entropy
    assert of([[0.7, 0.2, 0.1]] * 2, [0, 1]).tolist() == approx([0.162167, 2.140867], abs=5e-7)
    rows = of([[0.5, 0.5, 0.0], [0.45, 0.275, 0.275]], [0, 0])
    assert rows.tolist() == approx([0.693147, 0.616050], abs=5e-7)
    shares = np.linspace(0.05, 0.95, 10)
    proportional = np.stack([shares, (1 - shares) * 0.6, (1 - shares) * 0.4], axis=1)
    assert (np.diff(of(proportional, np.zeros(10, int))) < 0).all()


def test_entropy_is_blind_to_the_class():
    both = detection.metric_ent(p=[[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]])
    assert both[0] == approx(both[1])


def test_lira():
    """Medians -4 in and -1 out in TDDBench's sign of the signal, deviation 1 on both sides."""
    inside, outside = [[3.0, 5.0]], [[0.0, 2.0]]
    assert model_lira(phi=[2.5], phi_in=inside, phi_out=outside) == approx(0)
    assert model_lira(phi=[4.0], phi_in=inside, phi_out=outside) == approx(4.5)


def test_lira_with_one_deviation_for_all_or_one_for_each():
    inside, outside = [[3.0, 5.0], [10.0, 20.0]], [[0.0, 2.0], [0.0, 10.0]]
    each = model_lira(phi=[4.0, 15.0], phi_in=inside, phi_out=outside, spread="record")
    assert each.tolist() == approx([4.5, 2.0])
    together = model_lira(phi=[4.0, 15.0], phi_in=inside, phi_out=outside)
    sd_in, sd_out = np.std(inside), np.std(outside)
    assert together[0] == approx(0.5 * (3 / sd_out) ** 2 + math.log(sd_out / sd_in))


def test_malt_and_calibration():
    assert model_loss(loss=[0.1], loss_in=[[0.2, 0.2]], loss_out=[[1.0, 1.0]]) == approx(0.5)
    assert model_calibration(loss=[0.1], loss_out=[[0.5, 1.0, 9.0]]) == approx(0.9)


def test_attack_r_is_the_quantile_among_models_without_the_record():
    found = model_fpr(phi=[1.0, 3.0, 5.0], phi_out=[[0.0, 2.0]] * 3)
    assert found.tolist() == approx([0.5, 0.977250, 0.999968], abs=5e-7)
    assert model_fpr(phi=[1.0, 0.5], phi_out=[[1.0, 1.0], [1.0, 1.0]]).tolist() == [0.5, 0.0]  # no spread: a step


def test_rmia():
    assert ratio_share([3.0], [1, 1, 2, 0.5]) == approx(0.75)
    assert ratio_share([4.0], [2.0]) == 0  # exactly gamma-fold does not exceed it
    assert likelihood_ratio([0.6], [[0.1, 0.3]], inside=[[0.3, 0.5]]) == approx(0.6 / 0.3)


def test_rmia_offline_guesses_the_mean_of_models_with_the_record():
    assert likelihood_ratio([0.6], [[0.1, 0.3]], a=0.3) == approx(0.6 / ((1.3 * 0.2 + 0.7) / 2))
    with pytest.raises(InputError, match="positive probabilities"):
        likelihood_ratio([-0.6], [[-0.1, -0.3]], inside=[[-0.2, -0.2]])  # as TDDBench stores them


def test_neighbours_by_share_and_by_mean():
    loss, copies = [1.0], [[0.5, 1.5, 2.0, 1.0]]
    assert detection.query_neighbor(loss=loss, loss_copies=copies) == approx(0.5)
    assert detection.query_neighbor(loss=loss, loss_copies=copies, variant="mean") == approx(0.25)


def test_boundary_distance_of_the_wrong_and_of_the_not_found():
    found = detection.query_adv(distance=[0.3, 2.0, math.inf, 1.0], correct=[1, 1, 1, 0])
    assert found.tolist() == [0.3, 2.0, 2.0, 0.0]
    with pytest.raises(InputError, match="failed on every record"):
        detection.query_adv(distance=[math.inf], correct=[1])


def test_quantile_regression_reads_a_normal_distribution():
    assert detection.query_qrm(phi=[1.96], phi_mean=[0.0], phi_std=[1.0]) == approx(0.975, abs=5e-5)


def test_the_margin_that_the_released_code_gets_wrong():
    logits, labels = [[2.0, -3.0, -5.0], [2.0, 1.0, 0.0]], [0, 0]
    right, released = merged_features(logits, labels), merged_features(logits, labels, variant="reference")
    assert right[:, 5].tolist() == [-5.0, -1.0]
    assert released[:, 5].tolist() == [-3.0, -1.0]  # -1 stands in for a best other logit of -3
    assert right[0, [0, 1, 2]].tolist() == [1, 0, 0]
    assert right[0, 7] == 0  # predicted class


@given(st.floats(1e-6, 50))
def test_rescaled_logit_undoes_itself(loss: float):
    phi = rescaled_logit([loss])[0]
    assert math.log1p(math.exp(-phi)) == approx(loss, rel=1e-6)


def test_rescaled_logit_is_finite_at_both_ends():
    assert rescaled_logit([0.0, 1e9]).tolist() == approx([103.616, -103.616], abs=1e-3)
    assert (np.diff(rescaled_logit(np.linspace(0, 60, 500))) < 0).all()
    with pytest.raises(InputError, match="negative or NaN"):
        rescaled_logit([-0.1])


def test_reference_models_are_sorted_by_what_they_hold():
    values, inside = [[1, 2, 3, 4], [5, 6, 7, 8]], [[1, 0, 1, 0], [0, 1, 1, 1]]
    held, others = split_references(values, inside)
    assert held.tolist() == [[1, 3], [6, 7]]
    assert others.tolist() == [[2], [5]]


REFUSED: dict[str, Callable[[], object]] = {
    "an algorithm of another name": lambda: needs("Model-LiRA"),
    "a quantity that was not recorded": lambda: detect("Model-lira", {"phi": [0.0]}),
    "a record in every model": lambda: split_references([[1, 2]], [[1, 1]]),
    "a record in no model": lambda: split_references([[1, 2]], [[0, 0]]),
    "membership of other models": lambda: split_references([[1, 2]], [[1, 0, 1]]),
    "references of other records": lambda: model_calibration(loss=[1.0, 2.0], loss_out=[[1.0]]),
    "queries without models": lambda: detect(
        "Query-ref", {"phi_query": [[1.0]], "phi_query_in": [[1.0]], "phi_query_out": [[1.0]]}
    ),
    "too few records for a network": lambda: detection.learn_original(
        p=[[0.5, 0.5]], p_reference=[[0.5, 0.5]] * 4, member_reference=[1, 0, 1, 0]
    ),
    "features of another width": lambda: detection.learn_original(
        p=[[0.5, 0.5]], p_reference=[[0.2, 0.3, 0.5]] * 40, member_reference=[1, 0] * 20
    ),
    "a class too many": lambda: detection.learn_label(
        p=[[0.5, 0.5]], labels=[2], p_reference=[[0.5, 0.5]] * 40, labels_reference=[0] * 40,
        member_reference=[1, 0] * 20,
    ),
    "logits for probabilities": lambda: detection.metric_ent(p=[[3.0, -1.0]]),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_one_sentence(name: str):
    with pytest.raises(InputError) as refused:
        REFUSED[name]()
    sentence = str(refused.value)
    assert ": " in sentence
    assert "; " in sentence
    assert sentence.endswith(".")


def test_a_missing_quantity_is_named():
    with pytest.raises(InputError, match="Model-lira: lacks phi_in, phi_out; record what it needs: phi, phi_in"):
        detect("Model-lira", {"phi": [0.0]})
