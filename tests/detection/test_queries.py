"""Changed copies, boundary search and trained queries do what the algorithms that read them take for granted."""

import numpy as np
import pytest
import torch
from pytest import approx
from torch import nn

from lethe.detection.learnt import canaries, expected
from lethe.detection.queries import augmented, boundary_distances, noisy
from lethe.detection.subjects import Subject, subject
from lethe.errors import InputError
from lethe.models.classifier import Classifier


def binary(width: int) -> Subject:
    rows = np.random.default_rng(0).integers(0, 2, (30, width)).astype(np.float32)
    return Subject("tabular", rows, np.arange(30) % 2, 2, {}, lambda seed: Classifier(nn.Linear(width, 2)), {})


def test_the_published_rule_changes_nothing_below_a_hundred_columns():
    rows = np.arange(10)
    for width, flipped in ((40, 0), (100, 1), (250, 2)):
        one = binary(width)
        copies = noisy(one, rows, 3, 0, published=True).reshape(10, 3, width)
        assert (np.abs(copies - one.take(rows)[:, None]).sum(axis=2) == flipped).all()
        once = noisy(one, rows, 3, 0, published=False).reshape(10, 3, width)
        assert (np.abs(once - one.take(rows)[:, None]).sum(axis=2) == max(1, flipped)).all()
    same = augmented(binary(40), rows, 3, 0, published=True)
    assert (same == np.repeat(binary(40).take(rows), 3, axis=0)).all()


def test_noise_has_the_published_size():
    table, images = subject("records", size=400), subject("digits", size=200)
    rows = np.arange(150)
    copies = noisy(table, rows, 20, 0, published=True).reshape(150, 20, -1)
    sd = (copies - table.take(rows)[:, None]).std(axis=(0, 1))
    assert sd == approx(0.01 * np.ptp(table.inputs, axis=0) / 2, rel=0.1)
    near = noisy(images, rows, 20, 0, published=True) - np.repeat(images.take(rows), 20, axis=0)
    assert near.std() == approx(0.01 * np.ptp(images.take(rows)[0]) / 2, rel=0.05)


def test_exchanged_columns_come_from_another_record_and_images_are_turned():
    table, images, rows = subject("records", size=400), subject("digits", size=200), np.arange(20)
    copies = augmented(table, rows, 5, 0, published=False)
    changed = copies != np.repeat(table.take(rows), 5, axis=0)
    assert (changed.sum(axis=1) <= 1).all()
    assert changed.any(axis=1).mean() > 0.8
    for row, column in zip(*np.nonzero(changed), strict=True):
        assert copies[row, column] in table.take(rows)[:, column]
    turned = augmented(images, rows, 2, 0, published=True)
    assert turned.shape == (40, 1, 8, 8)
    assert (turned != np.repeat(images.take(rows), 2, axis=0)).any()
    assert turned.min() >= 0


def test_texts_have_one_word_exchanged():
    texts, rows = subject("facts", size=60), np.arange(5)
    for text, copy in zip(np.repeat(texts.take(rows), 4), noisy(texts, rows, 4, 0, published=True), strict=True):
        assert sum(a != b for a, b in zip(text.split(), copy.split(), strict=True)) == 1


def test_the_boundary_of_a_half_space_is_found():
    """The distance to the plane w.x = 1 is known; the search may only overestimate it."""
    rng = np.random.default_rng(0)
    w = np.array([1.0, 2.0, -2.0, 0.0])
    points = rng.normal(size=(40, 4))
    points = points[points @ w < 0.9]
    true = (1 - points @ w) / 3

    def decide(at: np.ndarray, owners: np.ndarray) -> np.ndarray:
        assert at.shape == (len(owners), 4)
        return at @ w > 1

    starts = points + rng.normal(size=points.shape) + 4 * w / 3
    found, asked = boundary_distances(points, starts, decide, iterations=30, budget=3000, seed=0)
    assert asked <= 3000
    assert (found >= true - 1e-6).all()
    assert np.median(found / true) < 1.1
    few, less = boundary_distances(points, starts, decide, iterations=30, budget=100, seed=0)
    assert less <= 100
    assert few.mean() > found.mean()
    nothing, _ = boundary_distances(points, points, decide, iterations=2, budget=500, seed=0)
    assert np.isinf(nothing).all()  # a start of the same class is no start


def test_the_regression_gives_mean_and_spread():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (1500, 2))
    phi = 10 + 4 * x[:, 0] + rng.normal(size=1500) * np.where(x[:, 1] > 0, 3.0, 0.5)
    mean, std = expected(x[:1200], phi[:1200], x[1200:], seed=0)
    assert np.corrcoef(mean, 10 + 4 * x[1200:, 0])[0, 1] > 0.95
    wide = x[1200:, 1] > 0
    assert std[wide].mean() == approx(3.0, rel=0.35)
    assert std[~wide].mean() < 1.2
    again, _ = expected(x[:1200], phi[:1200], x[1200:], seed=0)
    assert (again == mean).all()


def test_canaries_part_models_with_a_record_from_those_without():
    torch.manual_seed(0)

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x.flatten(1))

    models = [Classifier(Flat()) for _ in range(4)]
    rng = np.random.default_rng(0)
    images, labels = rng.random((6, 1, 2, 2)).astype(np.float32), np.arange(6) % 2
    inside = np.stack([rng.permutation([True, True, False, False]) for _ in range(6)])

    def apart(queries: np.ndarray) -> float:
        with torch.no_grad():
            logp = [model.module(torch.from_numpy(queries)).log_softmax(-1).numpy() for model in models]
        own = np.stack(logp, axis=1)[np.arange(6), :, labels]
        return float((np.where(inside, own, 0).sum(1) / 2 - np.where(~inside, own, 0).sum(1) / 2).mean())

    found = canaries(models, inside, images, labels, seed=0)
    assert found.shape == (6, 2, 1, 2, 2)
    assert 0 <= found.min() <= found.max() <= 1
    assert apart(found[:, 0]) > apart(images) + 0.1
    assert all(weight.grad is None for model in models for weight in model.module.parameters())


def test_worlds_are_refused_by_name_and_size():
    with pytest.raises(InputError, match=r"no world 'record'.*records"):
        subject("record")
    with pytest.raises(InputError, match="has 30 records"):
        subject("records", size=30)
    with pytest.raises(InputError, match="share of wrong labels"):
        subject("records", noise=1.0)
