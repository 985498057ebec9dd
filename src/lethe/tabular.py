"""Exact removal of rows from any scikit-learn classifier: SISA (arXiv 1912.03817) as an estimator of its own."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.utils.validation import check_is_fitted, validate_data

from lethe.data.order import mix
from lethe.data.shards import check_numbers, place
from lethe.errors import InputError
from lethe.registry import did_you_mean

LINEAR = {"logistic": LogisticRegression, "ridge": RidgeClassifier}
COMBINE = ("mean", "vote")


class SisaClassifier(ClassifierMixin, BaseEstimator):
    """Ensemble of classifiers of single shards; `forget` fits again only those that saw a row.

    After it every constituent is, bit for bit, what `fit` without the rows would have made of it: the assignment to
    shards and the constituents' seeds depend on a row's id, not on the other rows. Rows are kept, since removal fits on
    those that are left. A shard of one class answers that class; one without rows takes no part.

    Args:
        estimator: A classifier of scikit-learn's kind, or logistic or ridge; it is cloned for every shard.
        shards: Number of constituents.
        slices: Parts of a shard that are learnt one after the other with a copy kept before each; more than 1 needs an
            estimator with `partial_fit`.
        combine: mean of the probabilities (of the decisions where the estimator has none), or vote of the majority,
            ties broken by the mean.
        seed: Seed of the assignment and of every constituent.
    """

    def __init__(
        self,
        estimator: Any = "logistic",
        *,
        shards: int = 5,
        slices: int = 1,
        combine: Literal["mean", "vote"] = "mean",
        seed: int = 0,
    ) -> None:
        self.estimator, self.shards, self.slices, self.combine, self.seed = estimator, shards, slices, combine, seed

    def fit(self, X: Any, y: Any, ids: Sequence[Any] | None = None) -> Self:
        """Train on rows (N, D) and labels (N,).

        Args:
            X: Features.
            y: Labels.
            ids: A name of every row, which decides its shard; its number by default.

        Raises:
            InputError: If there are more shards than rows, an option is out of range, or an id is given twice.
        """
        if self.combine not in COMBINE:
            raise InputError(f"combine is {self.combine!r}{did_you_mean(str(self.combine), COMBINE)}; mean or vote.")
        rows, labels = map(np.asarray, validate_data(self, X, y))
        if len(rows) < 2:
            raise InputError("There is 1 sample; a classifier needs more.")
        check_numbers(self.shards, self.slices, len(rows))
        if self.slices > 1 and not hasattr(self._blank(), "partial_fit"):
            raise InputError(
                f"{type(self._blank()).__name__} cannot go on learning (it has no partial_fit), so slices must be 1."
            )
        names = [str(row) for row in range(len(rows))] if ids is None else [str(name) for name in ids]
        if len(names) != len(rows) or len(set(names)) < len(names):
            raise InputError(f"There are {len(rows)} rows and {len(set(names))} different ids; give one id per row.")
        places = [place(name, self.shards, self.slices, self.seed) for name in names]
        self.X_, self.y_, self.left_ = rows, labels, np.ones(len(rows), dtype=bool)
        self.place_ = np.array([(shard, part) for shard, part, _ in places])
        self.order_ = np.argsort(np.array([drawn for *_, drawn in places]), kind="stable")
        self.kept_: list[list[Any]] = [[] for _ in range(self.shards)]  # of every shard, what it was after each slice
        self._settle()
        for shard in range(self.shards):
            self._learn(shard, 0)
        return self

    def forget(self, rows: Iterable[Any]) -> Self:
        """Remove rows, by their number in the data of `fit` or by a mask of its length; exact.

        `retrained_` then tells (shard, first slice) of all that was fitted again.

        Raises:
            InputError: If a row is unknown or gone already, is named twice, or none would be left.
        """
        check_is_fitted(self)
        gone = self._named(rows)
        left = self.left_.copy()
        left[gone] = False
        if not left.any():
            raise InputError(f"The request would remove all {self.left_.sum()} rows; delete the model instead.")
        before = [self._classes(shard) for shard in range(self.shards)]
        self.left_ = left
        self.X_ = np.where(left.reshape(-1, *[1] * (self.X_.ndim - 1)), self.X_, 0)  # what is gone is kept nowhere
        self.y_ = np.where(left, self.y_, self.y_[left][0])
        self._settle()
        self.retrained_: list[tuple[int, int]] = []
        for shard in np.unique(self.place_[gone, 0]).tolist():
            first = int(self.place_[gone][self.place_[gone, 0] == shard, 1].min())
            # What a shard is told of its classes, it is told before its first slice.
            first = first if np.array_equal(before[shard], self._classes(shard)) else 0
            self._learn(shard, first)
            self.retrained_.append((shard, first))
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (N, classes): the constituents' mean, or (votes + mean) / (constituents + 1)."""
        check_is_fitted(self)
        rows = np.asarray(validate_data(self, X, reset=False))
        each = np.stack([self._answers(kept[-1], rows) for kept in self.kept_ if kept])
        mean = each.mean(axis=0)
        if self.combine == "mean":
            return mean
        votes = np.eye(each.shape[-1])[each.argmax(axis=-1)].sum(axis=0)
        return (votes + mean) / (len(each) + 1)

    def predict(self, X: Any) -> np.ndarray:
        """Labels (N,)."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def _blank(self) -> Any:
        if not isinstance(self.estimator, str):
            return clone(self.estimator)
        if self.estimator not in LINEAR:
            near = did_you_mean(self.estimator, LINEAR)
            raise InputError(f"There is no estimator {self.estimator!r}{near}; {', '.join(LINEAR)}, or an object.")
        return LINEAR[self.estimator]()

    def _settle(self) -> None:
        self.classes_ = np.unique(self.y_[self.left_])

    def _rows(self, shard: int, part: int | None = None) -> np.ndarray:
        """Numbers of the rows that are left of a shard, or of one of its slices, in their own order."""
        own = self.left_ & (self.place_[:, 0] == shard)
        if part is not None:
            own &= self.place_[:, 1] == part
        return self.order_[own[self.order_]]

    def _classes(self, shard: int) -> np.ndarray:
        return np.unique(self.y_[self._rows(shard)])

    def _learn(self, shard: int, first: int) -> None:
        """Fit a shard again from its slice `first` on."""
        classes, own = self._classes(shard), self._rows(shard)
        if len(classes) < 2:
            learnt = [DummyClassifier().fit(self.X_[own], self.y_[own])] if len(own) else []
            self.kept_[shard] = learnt * self.slices
            return
        del self.kept_[shard][first:]
        for part in range(first, self.slices):
            before = self.kept_[shard][-1] if self.kept_[shard] else self._seeded(shard)
            learner, rows = copy.deepcopy(before), self._rows(shard, part)
            if self.slices == 1:
                learner.fit(self.X_[own], self.y_[own])
            elif len(rows):
                learner.partial_fit(self.X_[rows], self.y_[rows], classes=classes)
            self.kept_[shard].append(learner)

    def _seeded(self, shard: int) -> Any:
        blank = self._blank()
        random = [name for name in blank.get_params() if name.split("__")[-1] == "random_state"]
        return blank.set_params(**{name: mix(self.seed, 107, shard) % 2**32 for name in random})

    def _answers(self, learner: Any, rows: np.ndarray) -> np.ndarray:
        """Probabilities (N, classes) of one constituent, which may know fewer classes."""
        found = np.zeros((len(rows), len(self.classes_)))
        if hasattr(learner, "predict_proba"):
            found[:, np.searchsorted(self.classes_, learner.classes_)] = learner.predict_proba(rows)
        else:
            found[np.arange(len(rows)), np.searchsorted(self.classes_, learner.predict(rows))] = 1
        return found

    def _named(self, rows: Iterable[Any]) -> np.ndarray:
        wanted = np.asarray([*rows])
        if wanted.dtype == bool:
            if wanted.shape != self.left_.shape:
                raise InputError(f"The mask has the shape {wanted.shape}; the data of fit have {len(self.left_)} rows.")
            wanted = np.flatnonzero(wanted)
        if not wanted.size or wanted.ndim != 1 or not np.issubdtype(wanted.dtype, np.integer):
            raise InputError("The request names no row; give numbers of rows of fit, or a mask over them.")
        if len(np.unique(wanted)) < len(wanted):
            raise InputError("The request names a row twice; give each row once.")
        for row in wanted.tolist():
            if not 0 <= row < len(self.left_) or not self.left_[row]:
                raise InputError(f"Row {row} is not among the {self.left_.sum()} rows that are left; give rows of fit.")
        return wanted
