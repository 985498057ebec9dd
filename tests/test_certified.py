"""The classifier with certified removal: an estimator like any other, with a budget that holds."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import StandardScaler

from lethe.certified import CertifiedClassifier
from lethe.errors import InputError
from lethe.losses import certified as removal


def table(name: Any = load_breast_cancer) -> tuple[np.ndarray, np.ndarray]:
    data: Any = name()
    return StandardScaler().fit_transform(data.data), data.target_names[data.target]


def fresh(model: CertifiedClassifier) -> CertifiedClassifier:
    twin = clone(model)
    assert isinstance(twin, CertifiedClassifier)
    return twin


def residual(model: CertifiedClassifier) -> float:
    """Length of the gradient of what is left, by the noise that the seed gives."""
    noise = np.random.default_rng([model.seed or 0, 0]).normal(0, model.sigma, tuple(model.weights_.shape))
    problem = model.rows_, model._answers(model.codes_), model.damping, removal.torch.from_numpy(noise)
    return float(removal.gradient(model.weights_, *problem, model.loss).norm())


@pytest.mark.parametrize("name", [load_breast_cancer, load_wine])
def test_what_is_left_of_removed_rows_stays_below_what_is_spent(name: Any):
    rows, labels = table(name)
    model = CertifiedClassifier(sigma=5.0, damping=0.05, seed=1).fit(rows, labels)
    fitted = model.spent
    assert residual(model) == pytest.approx(fitted, abs=1e-12) and fitted < 1e-6
    spent = [fitted]
    for start in range(0, 30, 10):
        model.forget(range(start, start + 10))
        spent.append(model.spent)
        assert residual(model) <= model.spent <= model.budget
    assert spent == sorted(spent)
    assert model.score(rows[30:], labels[30:]) > 0.9
    assert set(model.index_) == set(range(30, len(rows)))
    retrained = fresh(model).fit(rows[30:], labels[30:])
    idle = CertifiedClassifier(sigma=5.0, damping=0.05, seed=1).fit(rows, labels)
    near, far = (float((one.weights_ - retrained.weights_).norm()) for one in (model, idle))
    assert near < 0.05 * far


def test_it_is_an_estimator_of_scikit_learn():
    rows, labels = table()
    model = CertifiedClassifier(sigma=0.1, seed=0)
    ours = cross_val_score(model, rows, labels, cv=3).mean()
    theirs = cross_val_score(LogisticRegression(), rows, labels, cv=3).mean()
    assert ours > theirs - 0.05
    p = model.fit(rows, labels).predict_proba(rows)
    assert p.shape == (len(rows), 2) and np.allclose(p.sum(1), 1)
    assert set(model.predict(rows)) == set(labels)


def test_a_request_past_the_budget_is_refused_and_changes_nothing_or_is_served_by_retraining():
    rows, labels = table()
    model = CertifiedClassifier(sigma=0.5, seed=1).fit(rows, labels)
    before, spent = model.weights_.clone(), model.spent
    with pytest.raises(InputError, match=r"Removing 100 rows would bring what is spent .* past the budget"):
        model.forget(range(100))
    assert bool((model.weights_ == before).all()) and model.spent == spent and len(model.index_) == len(rows)
    model.set_params(over_budget="retrain")
    model.forget(range(100))
    assert model.fits_ == 2 and model.spent < 1e-6 and len(model.index_) == len(rows) - 100
    model.forget([100])
    assert 0 < model.spent <= model.budget
    assert 100 not in model.index_


def test_one_by_one_spends_less_than_all_at_once():
    rows, labels = table(load_wine)
    spent = [
        CertifiedClassifier(sigma=20.0, damping=0.1, seed=0, at_once=count).fit(rows, labels).forget(range(10)).spent
        for count in (1, 10)
    ]
    assert 2 * spent[0] < spent[1]


def test_the_squared_loss_is_exact_and_costs_nothing():
    rows, labels = table(load_wine)
    model = CertifiedClassifier(loss="squared", sigma=1e-3, seed=0).fit(rows, labels)
    model.forget(range(50))
    again = fresh(model).fit(rows[50:], labels[50:])
    assert float((model.weights_ - again.weights_).abs().max()) < 1e-10
    assert model.spent < 1e-10


def test_it_comes_back_from_its_folder_and_goes_on_forgetting(tmp_path: Path):
    rows, labels = table(load_wine)
    model = CertifiedClassifier(sigma=5.0, damping=0.1, seed=7).fit(rows, labels).forget([3, 5])
    folder = model.save(tmp_path / "model")
    back = CertifiedClassifier.load(folder)
    assert bool((back.predict(rows) == model.predict(rows)).all())
    assert (back.spent, back.budget, back.seed) == (model.spent, model.budget, None)
    assert "seed" not in (folder / "config.json").read_text()
    for one in (model, back):
        one.forget([4])
    assert bool((back.weights_ == model.weights_).all()) and back.spent == model.spent
    with pytest.raises(InputError, match="Row 3 is not among"):
        back.forget([3])
    back.refit().forget([9])
    assert back.fits_ == 2


@pytest.mark.parametrize(
    ("options", "rows", "labels", "message"),
    [
        ({"damping": 0.0}, [[0.1], [0.2]], [0, 1], "damping=0 must be above 0"),
        ({"sigma": -1.0}, [[0.1], [0.2]], [0, 1], "sigma=-1"),
        ({"loss": "hinge"}, [[0.1], [0.2]], [0, 1], "loss is 'hinge'; one of logistic, squared"),
        ({"rows": "refuse"}, [[0.1], [3.0]], [0, 1], "Row 1 has the length 3"),
        ({}, [[0.1], [0.2]], [1, 1], "All 2 labels are the same"),
        ({}, [[0.1], [float("nan")]], [0, 1], "Row 1 holds NaN"),
        ({}, [[0.1], [0.2]], [0, 1, 1], "one label per row"),
        ({}, [0.1, 0.2], [0, 1], r"shape \(2,\)"),
    ],
)
def test_bad_input_is_one_sentence(options: dict[str, Any], rows: Any, labels: Any, message: str):
    with pytest.raises(InputError, match=message):
        CertifiedClassifier(**options).fit(rows, labels)


def test_bad_requests_and_folders(tmp_path: Path):
    model = CertifiedClassifier(seed=0).fit([[0.1], [0.2], [-0.3]], [0, 0, 1])
    for wanted, message in (([7], "Row 7"), ([0, 0], "twice"), ([], "names no row"), ([0, 1, 2], "all 3 rows")):
        with pytest.raises(InputError, match=message):
            model.forget(wanted)
    with pytest.raises(InputError, match="have 2 columns"):
        model.predict([[0.1, 0.2]])
    with pytest.raises(InputError, match="not a loadable certified classifier"):
        CertifiedClassifier.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"lethe_architecture": "MLP"}))
    with pytest.raises(InputError, match="describes no certified classifier"):
        CertifiedClassifier.load(tmp_path)
