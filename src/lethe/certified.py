"""Certified removal as a scikit-learn classifier: a linear model that forgets rows within a budget it accounts for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import Tensor

from lethe.data.atomic import folder as atomic_folder
from lethe.data.atomic import write_json
from lethe.errors import InputError, cause
from lethe.losses import certified as removal

LONGEST = 1 + 1e-9  # of a row, with room for rounding
CHOICES = {"loss": tuple(removal.LOSSES), "rows": ("shorten", "refuse"), "over_budget": ("refuse", "retrain")}


class CertifiedClassifier(ClassifierMixin, BaseEstimator):
    """Linear classifier whose weights, after `forget`, are hardly to be told from those retrained without the rows.

    (epsilon, delta)-certified removal: whatever is read off `weights_`, its probability differs from that under
    retraining by at most the factor e^epsilon, but for delta. The certificate is for the weights: the folder holds the
    rows that are left as well, without which nothing more could be removed. The noise must stay secret, so a seed that
    others know voids it; none is ever stored.

    More than two classes are told apart one against the rest. Their noise is one Gaussian, so one budget serves all of
    them together: what is spent is the root of the sum of the squares of what each class has spent (a split into
    epsilon / K for each class would certify the same with less). There is no intercept: append a constant column.

    Source: Guo et al. 2020, arXiv 1911.03030.

    Args:
        damping: Weight lambda of ||w||^2 / 2 per row; the budget lasts longer the larger it is.
        sigma: Standard deviation of the noise b in the objective; more noise, more budget, less accuracy.
        epsilon: Certified bound on the privacy loss, nats.
        delta: Probability with which it may be exceeded.
        loss: logistic; or squared (of -1 and 1), for which every removal is exact and costs nothing.
        rows: shorten divides rows longer than 1 by their own length; refuse takes none of them.
        over_budget: What becomes of a request that the budget does not cover: refuse, or retrain with new noise.
        at_once: Rows removed per Newton step; one by one costs the least budget and the most time.
        seed: Seed of the noise; none takes it from the operating system.
    """

    def __init__(
        self,
        *,
        damping: float = 1e-2,
        sigma: float = 1.0,
        epsilon: float = 1.0,
        delta: float = 1e-4,
        loss: str = "logistic",
        rows: Literal["shorten", "refuse"] = "shorten",
        over_budget: Literal["refuse", "retrain"] = "refuse",
        at_once: int = 1,
        seed: int | None = None,
    ) -> None:
        self.damping, self.sigma, self.epsilon, self.delta = damping, sigma, epsilon, delta
        self.loss, self.rows, self.over_budget, self.at_once, self.seed = loss, rows, over_budget, at_once, seed

    def fit(self, X: Any, y: Any) -> Self:
        """Train on rows (N, D) and labels (N,), and start the budget anew.

        Raises:
            InputError: On options out of range, rows that are too long under rows=refuse, or fewer than two classes.
        """
        self._check()
        labels = np.asarray(y)
        rows = self._read(X)
        if labels.ndim != 1 or len(labels) != len(rows):
            raise InputError(f"There are {len(rows)} rows and labels of shape {labels.shape}; give one label per row.")
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(f"All {len(rows)} labels are the same; a classifier needs at least two classes.")
        self.n_features_in_ = rows.shape[1]
        self.rows_, self.codes_, self.index_ = rows, torch.from_numpy(codes), np.arange(len(rows))
        self.fits_ = 0
        self._train()
        return self

    def forget(self, indices: Iterable[int]) -> Self:
        """Remove rows by their number in the data of `fit`; nothing changes where the request is refused.

        Raises:
            InputError: If a row is unknown or gone already, none would be left, or (unless over_budget=retrain) the
                budget does not cover the request.
        """
        wanted = self._positions(indices)
        if len(wanted) == len(self.index_):
            raise InputError(
                f"The request would remove all {len(wanted)} rows that are left; delete the model instead."
            )
        gone = torch.zeros(len(self.rows_), dtype=torch.bool)
        gone[wanted] = True
        answers = self._answers(self.codes_)
        made = removal.remove(self.weights_, self.rows_, answers, gone, self.damping, self.loss, self.at_once)
        spent = self.spent_by_class_ + made.bound
        covered = float(spent.norm()) <= self.budget
        if not covered and self.over_budget == "refuse":
            raise InputError(
                f"Removing {len(wanted)} rows would bring what is spent from {self.spent:.3g} to "
                f"{float(spent.norm()):.3g}, past the budget of {self.budget:.3g}: fit again without them, or give "
                "over_budget=retrain, or more sigma or damping from the start."
            )
        self.rows_, self.codes_, self.index_ = self.rows_[~gone], self.codes_[~gone], self.index_[~gone.numpy()]
        if covered:
            self.weights_, self.spent_by_class_ = made.weights, spent
        else:
            self._train()
        return self

    def refit(self) -> Self:
        """Train on the rows that are left, with new noise; the whole budget is there again."""
        self._train()
        return self

    @property
    def budget(self) -> float:
        """Longest gradient residual that the noise hides."""
        return removal.budget(self.sigma, self.epsilon, self.delta)

    @property
    def spent(self) -> float:
        """Bound on the residual that fitting and all removals since have left."""
        return float(self.spent_by_class_.norm())

    def decision_function(self, X: Any) -> np.ndarray:
        """Scores (N, K), or (N,) of the second class where there are two."""
        rows = self._read(X)
        if rows.shape[1] != self.n_features_in_:
            raise InputError(f"The rows have {rows.shape[1]} columns; the model was trained on {self.n_features_in_}.")
        scores = (rows @ self.weights_.T).numpy()
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (N, classes): the logistic function of the scores, over its sum where there are several."""
        p = torch.from_numpy(self.decision_function(X)).sigmoid().numpy()
        return np.stack([1 - p, p], 1) if p.ndim == 1 else p / p.sum(1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """Labels (N,)."""
        return self.classes_[self.predict_proba(X).argmax(1)]

    def save(self, folder: str | Path) -> Path:
        """Write config.json and model.safetensors (weights, rows that are left, what is spent), atomically.

        Neither noise nor seed is written; who wants to publish the model publishes the weights alone.
        """
        tensors = {"weights": self.weights_, "rows": self.rows_, "codes": self.codes_, "spent": self.spent_by_class_}
        tensors["index"] = torch.from_numpy(self.index_)
        options = {name: value for name, value in self.get_params().items() if name != "seed"}
        with atomic_folder(folder) as temporary:
            config = {"lethe_certified": 1, "options": options, "classes": self.classes_.tolist(), "fits": self.fits_}
            write_json(temporary / "config.json", config)
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary / "model.safetensors")
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            InputError: If the folder holds no certified classifier, or not a whole one.
        """
        path = Path(folder)
        try:
            config = json.loads((path / "config.json").read_text(encoding="utf-8"))
            if "lethe_certified" not in config:
                raise InputError(f"{path}/config.json describes no certified classifier; give the folder of one.")
            tensors = load_file(path / "model.safetensors")
            made = cls(**config["options"])
            made._check()
            made.weights_, made.rows_, made.codes_ = (tensors[name] for name in ("weights", "rows", "codes"))
            made.spent_by_class_, made.index_ = tensors["spent"], tensors["index"].numpy()
            made.classes_, made.fits_ = np.asarray(config["classes"]), int(config["fits"])
            made.n_features_in_ = made.rows_.shape[1]
        except (OSError, SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise InputError(f"{path} is not a loadable certified classifier ({cause(error)}).") from error
        if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
            raise InputError(f"{path}: model.safetensors holds NaN or infinity; use an intact copy.")
        return made

    def _train(self) -> None:
        rng = np.random.default_rng(None if self.seed is None else [self.seed, self.fits_])
        problems = 1 if len(self.classes_) == 2 else len(self.classes_)
        noise = torch.from_numpy(rng.normal(0, self.sigma, (problems, self.n_features_in_)))
        problem = self.rows_, self._answers(self.codes_), self.damping, noise, self.loss
        self.weights_ = removal.fit(*problem)
        # No solver ends at the minimum itself; what is missing counts.
        self.spent_by_class_ = removal.gradient(self.weights_, *problem).norm(dim=-1)
        self.fits_ += 1

    def _answers(self, codes: Tensor) -> Tensor:
        """-1 and 1, (K, N)."""
        known = range(1, 2) if len(self.classes_) == 2 else range(len(self.classes_))
        return torch.stack([torch.where(codes == code, 1.0, -1.0) for code in known]).double()

    def _positions(self, indices: Iterable[int]) -> np.ndarray:
        """Where the wanted rows stand now."""
        place = {int(number): position for position, number in enumerate(self.index_)}
        wanted = [int(number) for number in indices]
        if missing := [number for number in wanted if number not in place]:
            raise InputError(f"Row {missing[0]} is not among the {len(place)} rows that are left; give rows of `fit`.")
        if not wanted or len(set(wanted)) < len(wanted):
            raise InputError("The request names no row, or one of them twice; give each row once.")
        return np.array([place[number] for number in wanted])

    def _read(self, X: Any) -> Tensor:
        rows = torch.from_numpy(np.array(X, dtype=np.float64))
        if rows.dim() != 2 or not len(rows):
            raise InputError(f"The rows have the shape {tuple(rows.shape)}; give a table (N, D) with at least one row.")
        if not bool(torch.isfinite(rows).all()):
            bad = int((~torch.isfinite(rows).all(1)).nonzero()[0])
            raise InputError(f"Row {bad} holds NaN or infinity; fill or drop it.")
        lengths = rows.norm(dim=1)
        if self.rows == "refuse" and bool((lengths > LONGEST).any()):
            row = int(lengths.argmax())
            raise InputError(
                f"Row {row} has the length {float(lengths[row]):.3g}, and what is certified holds for rows no longer "
                "than 1; scale the data, or set rows=shorten."
            )
        return rows / lengths.clamp(min=1)[:, None]

    def _check(self) -> None:
        removal.budget(self.sigma, self.epsilon, self.delta)
        if not self.damping > 0 or self.at_once < 1:
            raise InputError(f"damping={self.damping:g} must be above 0, at_once={self.at_once} at least 1.")
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise InputError(f"{name} is {getattr(self, name)!r}; one of {', '.join(known)}.")
