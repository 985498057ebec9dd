"""The estimator: scikit-learn's conventions, and rows that leave no trace."""

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import check_estimator

from lethe.data.shards import place
from lethe.errors import InputError
from lethe.tabular import SisaClassifier


def data() -> tuple[np.ndarray, np.ndarray]:
    found: Any = load_breast_cancer()
    return StandardScaler().fit_transform(found.data)[::4], found.target_names[found.target][::4]


ESTIMATORS: dict[str, dict[str, Any]] = {
    "logistic": {"estimator": "logistic"},
    "ridge": {"estimator": "ridge", "combine": "vote"},
    "tree": {"estimator": DecisionTreeClassifier(max_features=3)},
    "in a pipeline": {"estimator": make_pipeline(StandardScaler(), DecisionTreeClassifier(max_features=3))},
    "slices": {"estimator": SGDClassifier(loss="log_loss"), "slices": 3},
    "bayes": {"estimator": GaussianNB(), "slices": 2},
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_forgetting_is_never_having_seen(name: str):
    rows, labels = data()
    gone = [3, 4, 17, 60]
    kept = np.setdiff1d(np.arange(len(rows)), gone)
    made = SisaClassifier(**ESTIMATORS[name], shards=4, seed=2).fit(rows, labels)
    before = [list(shard) for shard in made.kept_]
    unfitted: Any = clone(made)
    again: Any = clone(made)
    one_by_one = again.fit(rows, labels).forget(gone[:1]).forget(np.isin(np.arange(len(rows)), gone[1:]))
    without = unfitted.fit(rows[kept], labels[kept], ids=[str(row) for row in kept])
    touched = {place(str(row), 4, made.slices, 2)[:2] for row in gone}
    made.forget(gone)
    for other in (one_by_one, without):
        assert np.array_equal(made.predict_proba(rows), other.predict_proba(rows))
    first = {shard: min(part for own, part in touched if own == shard) for shard, _ in touched}
    assert made.retrained_ == sorted(first.items())
    for shard in range(4):  # what was learnt before is the very same object
        same = [old is new for old, new in zip(before[shard], made.kept_[shard], strict=True)]
        assert same == [part < first.get(shard, made.slices) for part in range(made.slices)]
    assert made.score(rows[kept], labels[kept]) > 0.85
    assert not np.isin(rows[gone][:, 0], made.X_).any()  # nor is the row kept


def test_scikit_learn_takes_it_for_one_of_its_own():
    failed = [
        (check["check_name"], check["exception"])
        for check in check_estimator(SisaClassifier(GaussianNB(), shards=2), on_fail=None, on_skip=None)
        if check["status"] == "failed"
    ]
    assert not failed
    scores = cross_val_score(make_pipeline(StandardScaler(), SisaClassifier(shards=3)), *data(), cv=3)
    assert scores.mean() > 0.9


def test_classes_come_and_go():
    found: Any = load_wine()
    rows, labels = StandardScaler().fit_transform(found.data), found.target
    made = SisaClassifier(shards=20).fit(rows, labels)
    assert min(len(np.unique(labels[made._rows(shard)])) for shard in range(20)) < 3  # shards that know fewer classes
    assert made.predict_proba(rows).sum(axis=1) == pytest.approx(np.ones(len(rows)))
    made.forget(labels == 1)
    assert made.classes_.tolist() == [0, 2]
    kept = np.flatnonzero(labels != 1)
    without = SisaClassifier(shards=20).fit(rows[kept], labels[kept], ids=[str(row) for row in kept])
    assert np.array_equal(made.predict_proba(rows), without.predict_proba(rows))
    made.forget(kept[2:])
    assert np.isfinite(made.predict_proba(rows)).all()  # most shards are empty now


def test_refusals():
    rows, labels = data()
    made = SisaClassifier().fit(rows, labels)
    refused = {
        "Row 9999 is not among": [9999],
        "names a row twice": [1, 1],
        "names no row": [],
        r"mask has the shape \(3,\)": [True, False, True],
        "would remove all 143 rows": range(len(rows)),
    }
    for text, wanted in refused.items():
        with pytest.raises(InputError, match=text):
            made.forget(wanted)
    with pytest.raises(InputError, match="Row 5 is not among the 142"):
        made.forget([5]).forget([5])
    options: dict[str, dict[str, Any]] = {
        "144 shards are more than the 143 records": {"shards": 144},
        "did you mean 'logistic'": {"estimator": "logistics"},
        "LogisticRegression cannot go on learning": {"slices": 2},
        "combine is 'votes', did you mean 'vote'": {"combine": "votes"},
    }
    for text, given in options.items():
        with pytest.raises(InputError, match=text):
            SisaClassifier(**given).fit(rows, labels)
    with pytest.raises(InputError, match="give one id per row"):
        SisaClassifier().fit(rows, labels, ids=["same"] * len(rows))
