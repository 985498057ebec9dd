"""What must hold of scores over predicted distributions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pytest import approx
from scipy.special import log_softmax, softmax

from lethe.errors import InputError
from lethe.scoring import classification, divergence

logits = arrays(np.float64, (5, 4), elements=st.floats(-6, 6))
labels = st.lists(st.integers(0, 3), min_size=5, max_size=5)


@given(arrays(np.float64, (5, 4), elements=st.integers(-2, 2)), labels)
def test_accuracy_is_that_of_argmax(rows: np.ndarray, classes: list[int]):
    assert (classification.accuracy(rows, classes) == (rows.argmax(axis=1) == classes)).all()
    assert (classification.accuracy(rows, classes, top=2) >= classification.accuracy(rows, classes)).all()
    assert classification.accuracy(rows, classes, top=4).all()


@given(logits, logits)
def test_kl_is_a_divergence(a: np.ndarray, b: np.ndarray):
    own, other = log_softmax(a, axis=1), log_softmax(b, axis=1)
    assert (divergence.kl(own, other) >= -1e-12).all()
    assert divergence.kl(own, own) == approx(0, abs=1e-12)
    per_item = divergence.kl_per_item([own[:2], own[2:]], [other[:2], other[2:]])
    assert per_item @ [2, 3] == approx(divergence.kl(own, other).sum())


def test_kl_where_a_probability_is_0():
    certain, even = np.array([[0.0, -np.inf]]), np.log([[0.5, 0.5]])
    assert divergence.kl(certain, even) == approx(np.log(2))
    assert divergence.kl(even, certain) == np.inf
    assert divergence.kl(certain, certain) == 0


@given(logits, logits)
def test_js_is_symmetric_and_bounded(a: np.ndarray, b: np.ndarray):
    p, q = softmax(a, axis=1), softmax(b, axis=1)
    bits = divergence.js(p, q)
    assert (bits >= 0).all()
    assert (bits <= 1 + 1e-12).all()
    assert divergence.js(q, p) == approx(bits, abs=1e-12)
    assert divergence.js(p, q, unit="nats") == approx(bits * np.log(2), abs=1e-12)
    assert divergence.js([[1, 0]], [[0, 1]]) == approx(1)
    distance = divergence.activation_distance(p, q)
    assert (distance <= np.sqrt(2) + 1e-12).all()


@given(logits, labels)
def test_entropies(rows: np.ndarray, classes: list[int]):
    p = softmax(rows, axis=1)
    entropy = classification.entropy(p)
    assert (entropy >= 0).all()
    assert (entropy <= np.log(4) + 1e-12).all()
    modified = classification.modified_entropy(p, classes)
    assert np.isfinite(modified).all()
    certain = np.eye(4)[classes]
    assert classification.modified_entropy(certain, classes) == approx(0)
    assert (modified >= 0).all()
    assert classification.confidence(p, classes) == approx([row[c] for row, c in zip(p, classes, strict=True)])


def test_weight_distance_is_no_evidence():
    """Hidden units in another order: the same function, as far away as another draw."""
    rng = np.random.default_rng(0)
    order = rng.permutation(8)
    one = {"in": rng.normal(size=(8, 4)), "out": rng.normal(size=(3, 8))}
    twin = {"in": one["in"][order], "out": one["out"][:, order]}
    x = rng.normal(size=(4, 5))
    assert twin["out"] @ np.maximum(twin["in"] @ x, 0) == approx(one["out"] @ np.maximum(one["in"] @ x, 0))
    assert divergence.weight_distance(one, twin) > 5
    assert divergence.weight_distance(one, one) == 0
    assert divergence.weight_distance({"a": [3.0]}, {"a": [-1.0]}) == 4
    with pytest.raises(InputError, match="one architecture"):
        divergence.weight_distance(one, {"in": one["in"]})


def test_average_gap():
    assert classification.average_gap([0.05, 0.99, 0.94, 0.12], [0.05, 1.0, 0.94, 0.14]) == approx(0.0075)


@given(st.integers(0, 20))
def test_loss_attack_cuts_the_forget_set_to_the_unseen(seed: int):
    rng = np.random.default_rng(seed)
    unseen = rng.exponential(size=30)
    m = classification.mia_loss_logistic(rng.exponential(size=300), unseen)
    assert m <= 0.9  # without the cut, ten members to a non-member, "always member" alone would score .91


def test_mia_efficacy_is_fitted_on_as_many_retain_as_test_items():
    rng = np.random.default_rng(0)
    retain, test, forget = rng.normal(0, 1, 40), rng.normal(1.5, 1, 40), rng.normal(1, 1, 200)
    share = classification.mia_efficacy(retain, test, forget)
    assert 0.2 < share < 0.9
    assert classification.mia_efficacy([*retain, *rng.normal(1, 1, 500)], test, forget) == share


def test_mia_member_rate_does_not_follow_the_sizes_of_the_two_sets():
    rng = np.random.default_rng(0)
    retain, test = rng.normal(0, 1, 600), rng.normal(1, 1, 30)
    rate = classification.mia_member_rate(retain, test, rng.normal(1, 1, 400))
    assert rate < 0.5  # unbalanced, nearly everything would pass for a member
