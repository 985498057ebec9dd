"""What features still tell, and how far they have gone: against sklearn, closed forms, and what each must not see."""

import numpy as np
import pytest
from pytest import approx
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from lethe.errors import InputError
from lethe.scoring import representation
from lethe.scoring.representation import (
    accuracy_gap,
    aligned_distance,
    divided,
    gap_closed,
    is_superficial,
    knn_hits,
    likeness_gap,
    probe_hits,
)


def normal(*shape: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def clouds(count: int = 120, classes: int = 4, width: int = 8, seed: int = 0) -> tuple[np.ndarray, list[int]]:
    """Features around one centre per class, near enough for some mistakes."""
    labels = [row % classes for row in range(count)]
    return normal(classes, width, seed=99)[labels] + normal(count, width, seed=seed), labels


def rotation(size: int) -> np.ndarray:
    return np.linalg.qr(normal(size, size, seed=5))[0]


def test_neighbours_are_those_of_sklearn_over_the_published_split():
    features, labels = clouds()
    fitted, tested = divided(120)
    assert len(tested) == 24
    assert not set(fitted) & set(tested)
    assert set(fitted) | set(tested) == set(range(120))
    known = np.array(labels)
    own = KNeighborsClassifier(5, metric="cosine").fit(features[fitted], known[fitted])
    hits = knn_hits(features, labels)
    assert 0.3 < hits.mean() < 1
    assert hits.tolist() == (own.predict(features[tested]) == known[tested]).tolist()
    assert (knn_hits(3 * features @ rotation(8), labels) == hits).all()  # angles alone count
    assert (knn_hits(features, labels, seed=3) != hits).any()


def test_of_equally_many_neighbours_the_smallest_label_counts():
    """Two of each of two labels at one angle, and everybody in the fitting half is as near."""
    features = np.ones((50, 2))
    labels = ["b" if row % 2 else "a" for row in range(50)]
    fitted, tested = divided(50)
    counts = [sum(labels[row] == name for row in fitted) for name in "ab"]
    hits = knn_hits(features, labels, k=len(fitted))
    winner = "a" if counts[0] >= counts[1] else "b"
    assert hits.tolist() == [labels[row] == winner for row in tested]


def test_a_linear_probe_reads_what_neighbours_do_not():
    """One direction of fifty tells the labels: a linear map finds it, distances drown in the others."""
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=400)
    features = 5 * normal(400, 50, seed=1)
    features[:, 0] = 3.0 * (2 * labels - 1) + 0.1 * features[:, 0]
    hits = probe_hits(features, labels.tolist())
    tested = divided(400)[1]
    assert np.isnan(np.delete(hits, tested)).all()
    assert hits[tested].mean() > 0.95 > 0.9 > knn_hits(features, labels.tolist()).mean()
    scaled = probe_hits(features * np.linspace(1e-3, 1e3, 50) + 7, labels.tolist())
    assert (scaled[tested] == hits[tested]).all()  # standardised on the fitting half
    constant = np.hstack([features, np.full((400, 1), 1e6)])
    assert (probe_hits(constant, labels.tolist())[tested] == hits[tested]).all()
    fitted = divided(400)[0]
    scaled = (features - features[fitted].mean(0)) / features[fitted].std(0)
    own = LogisticRegression(max_iter=500).fit(scaled[fitted], labels[fitted])
    assert hits[tested].tolist() == (own.predict(scaled[tested]) == labels[tested]).tolist()


def test_basis_scale_and_offset_are_no_distance():
    features = normal(60, 8, seed=0)
    assert aligned_distance(features, 3 * features @ rotation(8) + 5) == approx(0, abs=1e-8)
    assert aligned_distance(features, np.hstack([np.zeros((60, 3)), features])) == approx(0, abs=1e-8)
    wide = normal(20, 64, seed=0)  # fewer records than features: no rotation can be found for all of them
    assert aligned_distance(wide, wide) == approx(0, abs=1e-8)


def test_unrelated_features_are_one_apart_however_wide():
    """Fitted to the records that it is scored on, a rotation brings together whatever is wide enough."""
    for width in (4, 64, 256):
        drawn = [aligned_distance(normal(60, width, seed=2 * s), normal(60, width, seed=2 * s + 1)) for s in range(4)]
        assert np.mean(drawn) == approx(1, abs=0.12)
    a, b = normal(60, 256, seed=0), normal(60, 256, seed=1)
    a, b = ((x - x.mean(0)) / np.sqrt(np.square(x - x.mean(0)).sum(1).mean()) for x in (a, b))
    left, _, right = np.linalg.svd(a.T @ b)
    assert np.square(a @ (left @ right) - b).sum(1).mean() / 2 < 0.35


def test_the_distance_grows_with_what_is_changed():
    features = normal(200, 8, seed=0)
    means = [aligned_distance(features, features + s * normal(200, 8, seed=1)).mean() for s in (0, 0.1, 0.5, 2)]
    assert means == sorted(means)
    assert means[0] < 1e-8 < 0.005 < means[1] < 0.05


def seeds_of_one_recipe(shift: float, count: int = 80) -> tuple[np.ndarray, list[np.ndarray]]:
    """An original, and three retrained models that share a geometry, of which it shares the less the larger `shift`."""
    shared, own = normal(count, 6, seed=0), normal(count, 6, seed=1)
    original = shared * np.sqrt(1 - shift) + own * np.sqrt(shift)
    return original, [shared @ rotation(6) + 0.3 * normal(count, 6, seed=10 + s) for s in range(3)]


def test_what_retraining_moves_is_told_from_what_seeds_do():
    near, controls = seeds_of_one_recipe(0.0)
    far, _ = seeds_of_one_recipe(0.5)
    same = likeness_gap(near + 0.3 * normal(80, 6, seed=5), controls)
    gap = likeness_gap(far, controls)
    assert not same.told_apart
    assert abs(same.value) < 0.05
    assert gap.told_apart
    assert gap.value > 0.3
    two = likeness_gap(far, controls[:2])
    assert two.told_apart
    assert two.value == approx(gap.value, abs=0.15)


def test_a_gap_of_accuracies_is_read_beside_the_spread_of_seeds():
    rng = np.random.default_rng(0)

    def hits(share: float) -> np.ndarray:
        return (rng.random(200) < share).astype(float)

    assert accuracy_gap(hits(0.9), [hits(0.6), hits(0.6)]).told_apart
    assert not accuracy_gap(hits(0.62), [hits(0.6), hits(0.6)]).told_apart
    assert not accuracy_gap(hits(0.9), [hits(0.5), hits(0.9)]).told_apart  # two seeds as far apart
    assert accuracy_gap([1, 1, 0, 0], [[1, 0, 0, 0], [1, 0, 0, 0]]).value == approx(0.25)


def test_shares_of_a_gap():
    assert gap_closed(0.7, 0.7) == 0
    assert gap_closed(1.0, 0.7) == 1
    assert gap_closed(0.85, 0.7) == approx(0.5)
    assert gap_closed(0.4, 0.7) == approx(-1)
    assert gap_closed(0.0, 1.0, 0.0) == 1
    assert is_superficial(1.0, 0.0, 0.0)
    assert not is_superficial(0.9, 0.0, 0.0)  # more than 90 %
    assert not is_superficial(1.0, 0.1, 0.0)
    assert not is_superficial(1.0, -0.6, 1.4)  # not where it was, but somewhere else


def test_closeness_by_logits_and_by_features():
    """FA .0 for 0, RA .9 for 1, TFA .1 for 0, TRA .9 for .9; two downstream sets."""
    logits = representation.agl([0.0, 0.9, 0.1, 0.9], [0.0, 1.0, 0.0, 0.9])
    features = representation.agr([0.8, 0.5], [0.6, 0.5], [0.7, -0.1])
    assert logits == approx((1 + 0.9 + 0.9 + 1) / 4)
    assert features == approx((0.8 + 1.0 + 0.7 + 0.0) / 4)
    assert representation.h_lr(logits, features) == approx(2 / (1 / logits + 1 / features))
    assert representation.h_lr(0.0, 0.0) == 0.0
    assert representation.h_lr(1.0, 0.0) == 0.0


def test_mistakes():
    features, labels = clouds(60)
    with pytest.raises(InputError, match="50 records or more"):
        knn_hits(features[:49], labels[:49])
    with pytest.raises(InputError, match="between 1 and the 48 records"):
        knn_hits(features, labels, k=49)
    with pytest.raises(InputError, match="records of two labels"):
        probe_hits(features, [1] * 60)
    with pytest.raises(InputError, match="give each its label"):
        knn_hits(features, [None] * 60)
    with pytest.raises(InputError, match="do not differ between records"):
        aligned_distance(np.ones((8, 3)), features[:8])
    with pytest.raises(InputError, match="compare the same ones"):
        aligned_distance(features, features[:8])
    with pytest.raises(InputError, match="two controls or more"):
        likeness_gap(features, [features])
    with pytest.raises(InputError, match="no gap to close"):
        gap_closed(0.5, 1.0)
    broken = features.copy()
    broken[3, 3] = np.nan
    with pytest.raises(InputError, match="features"):
        knn_hits(broken, labels)
