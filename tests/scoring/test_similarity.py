"""CKA: closed forms, what it does not see, and that two unrelated models are not alike."""

import numpy as np
import pytest
from pytest import approx

from lethe.errors import InputError
from lethe.scoring.similarity import alike, cka, cka_biased, cka_interval, cka_paper, hsic

X = np.array([[1.0, 0], [0, 1], [1, 1], [2, 0]])
Y = np.array([[1.0, 2], [0, 1], [3, 1], [0, 0]])


def rotation(size: int, seed: int = 0) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


def normal(*shape: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def test_worked_numbers():
    """Four records in two dimensions: the published form, and the one from the unbiased HSIC_1."""
    assert cka_biased(X, Y) == approx(0.1166424, abs=1e-7)
    assert cka_biased(X, X[:, :1]) == approx(0.9449112, abs=1e-7)
    assert cka(X, Y) == approx(-0.9607689, abs=1e-7)
    assert cka(X, X) == approx(1)
    assert cka_biased(X, 3 * X @ rotation(2) + 5) == approx(1)
    assert (hsic(X, X), hsic(Y, Y)) == (approx(0.5), approx(2.1666667, abs=1e-7))


def test_the_published_bias_is_what_the_widths_say():
    """512 records of width 2,048, the layer of a ResNet-50: unrelated features come out at .80, d / (d + n)."""
    a, b = normal(512, 2048, seed=0), normal(512, 2048, seed=1)
    assert cka_biased(a, b) == approx(2048 / 2560, abs=0.002)
    assert abs(cka(a, b)) < 0.01
    assert cka_biased(a[:, :64], b[:, :64]) == approx(64 / 576, abs=0.015)


def related(count: int, width: int = 48, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    a = normal(count, width, seed=seed)
    return a, a @ normal(width, width, seed=1) * 0.1 + normal(count, width, seed=seed + 7)


def test_batches_are_summed_before_the_ratio():
    """Of 1,100 records in batches of 100 what all at once gives; the mean of the batches' published forms does not."""
    a, b = related(1100)
    whole = cka(a, b, batch=1100)
    assert cka(a, b, batch=100) == approx(whole, abs=0.02)
    assert cka(a, b) == approx(whole, abs=0.02)  # beyond 1,024 records in batches by itself
    assert cka_paper(a, b, batch=100) > whole + 0.1
    assert cka(a, a, batch=100) == approx(1)
    assert cka(a, b, batch=100) == cka(a, b, batch=100, seed=0) != cka(a, b, batch=100, seed=1)
    low, high = cka_interval([(a, b)], value=whole)
    assert low < whole < high < low + 0.2


def test_the_last_batch_of_the_paper_weighs_as_much_as_the_others():
    a, b = related(70)
    parts = [slice(0, 32), slice(32, 64), slice(64, 70)]
    assert cka_paper(a, b, batch=32) == approx(np.mean([cka_biased(a[part], b[part]) for part in parts]))
    assert cka_paper(a[:66], b[:66], batch=32) == approx(cka_paper(a[:64], b[:64], batch=32))  # two are no batch


def test_rotation_scale_and_shift_change_nothing():
    for seed in range(5):
        a, b = normal(12, 6, seed=seed), normal(12, 9, seed=seed + 50)
        moved = 3 * a @ rotation(6) + 5
        for measure in (cka, cka_biased):
            assert measure(a, moved) == approx(1, abs=1e-9)
            assert measure(moved, b) == approx(measure(a, b), abs=1e-9)
            assert measure(a, b) == approx(measure(b, a), abs=1e-12)
        order = np.random.default_rng(seed).permutation(12)
        assert cka(a[order], b[order]) == approx(cka(a, b), abs=1e-9)


def test_the_features_give_what_the_gram_matrices_give():
    a, b = (rows - rows.mean(0) for rows in (normal(20, 5, seed=1), normal(20, 7, seed=2)))

    def size(rows: np.ndarray) -> float:
        return float(np.linalg.norm(rows))

    assert cka_biased(a, b) == approx(size(b.T @ a) ** 2 / (size(a.T @ a) * size(b.T @ b)), abs=1e-8)


def test_unrelated_models_are_not_alike():
    """32 records of width 64: the published form says .67 of nothing, the debiased one 0 in the mean."""
    pairs = [(normal(32, 64, seed=2 * seed), normal(32, 64, seed=2 * seed + 1)) for seed in range(40)]
    debiased = np.array([cka(a, b) for a, b in pairs])
    biased = np.array([cka_biased(a, b) for a, b in pairs])
    assert (np.abs(debiased) < 0.15).all()
    assert abs(debiased.mean()) < 3 * debiased.std() / len(pairs) ** 0.5
    assert ((biased > 0.6) & (biased < 0.73)).all()


def test_random_pairs_of_records_tell_chance_from_likeness():
    found = [alike(normal(16, 8, seed=2 * seed), normal(16, 8, seed=2 * seed + 1), seed=seed) for seed in range(60)]
    assert np.mean([one.p <= 0.05 for one in found]) <= 0.05 + 3 * (0.05 * 0.95 / 60) ** 0.5
    a = normal(16, 8, seed=0)
    related = alike(a, a + 0.5 * normal(16, 8, seed=9))
    assert related.p == approx(1 / 201)
    assert related.value > related.null


def test_the_interval_holds_the_spread_over_records():
    """Against many draws of records from one pair of models; the half-width is 1.96 standard errors."""
    mixing = normal(6, 6, seed=1)

    def drawn(seed: int) -> tuple[np.ndarray, np.ndarray]:
        a = normal(40, 6, seed=seed)
        return a, a @ mixing + 2 * normal(40, 6, seed=seed + 1000)

    values = np.array([cka(*drawn(seed)) for seed in range(100)])
    reaches = []
    for seed in range(20):
        low, high = cka_interval([drawn(seed)], value=float(values[seed]))
        reaches.append((high - low) / 2 / 1.96)
    assert 0.7 < np.mean(reaches) / values.std() < 1.5
    a = normal(12, 3, seed=3)
    assert cka_interval([(a, a)], value=1.0) == approx((1, 1))


def test_states_that_do_not_differ_say_nothing():
    flat = np.full((8, 3), 7.0) + 1e-7 * normal(8, 3, seed=0)
    assert np.isnan(cka(flat, normal(8, 3, seed=1)))
    assert np.isnan(alike(flat, normal(8, 3, seed=1)).p)


def test_mistakes():
    with pytest.raises(InputError, match="compare at least four"):
        cka(X[:3], Y[:3])
    with pytest.raises(InputError, match="look at both models with the same ones"):
        cka(np.vstack([X, X]), Y)
