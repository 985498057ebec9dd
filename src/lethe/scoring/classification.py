"""Scores of an unlearned classifier: accuracy, the published membership attacks, and similarity to an untrained model.

Rates are in 0..1 (papers print them x100). The attacks differ in direction, so each keeps its own name.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError
from lethe.scoring.arrays import FloatArray, IntArray, matrix, probabilities, same_shape, vector
from lethe.scoring.divergence import js


def accuracy(outputs: npt.ArrayLike, labels: npt.ArrayLike, *, top: int = 1) -> FloatArray:
    """1 where the true class is among the `top` highest outputs, else 0, `(N,)`; ties as in argmax.

    Args:
        outputs: logits or probabilities, `(N, C)`.
        labels: true classes, `(N,)`.
        top: number of guesses allowed (MUFAC also reports 2).

    Raises:
        InputError: shapes that do not fit, a class outside 0..C-1, or NaN.
    """
    rows = matrix(outputs, "class outputs")
    own = _of_true_class(rows, labels)[:, None]
    earlier = np.arange(rows.shape[1]) < np.asarray(labels)[:, None]
    ahead = (rows > own) | ((rows == own) & earlier)
    return (ahead.sum(axis=1) < top).astype(np.float64)


def average_gap(metrics: npt.ArrayLike, retrained: npt.ArrayLike) -> float:
    """Mean of `|metric - retrained model's|` over metrics such as UA, RA, TA and MIA; lower is better.

    Args:
        metrics: the unlearned model's values, `(M,)`.
        retrained: the retrained model's values, `(M,)`.

    Raises:
        InputError: shapes differ, or a value is not finite.
    """
    own, other = vector(metrics, "metrics"), vector(retrained, "metrics of the retrained model")
    same_shape(own, other, "metrics")
    return float(np.abs(own - other).mean())


def confidence(p: npt.ArrayLike, labels: npt.ArrayLike) -> FloatArray:
    """Probability of the true class, `(N,)` in 0..1.

    Args:
        p: predicted probabilities, `(N, C)`.
        labels: true classes, `(N,)`.

    Raises:
        InputError: rows that are not probabilities, or labels that do not fit.
    """
    return _of_true_class(probabilities(p, "class probabilities"), labels)


def entropy(p: npt.ArrayLike) -> FloatArray:
    """Entropy of every prediction, `(N,)` nats in 0..ln C.

    Args:
        p: predicted probabilities, `(N, C)`.

    Raises:
        InputError: rows that are not probabilities.
    """
    rows = probabilities(p, "class probabilities")
    return -(rows * _log(rows)).sum(axis=1) + 0.0


def modified_entropy(p: npt.ArrayLike, labels: npt.ArrayLike) -> FloatArray:
    """`-(1 - p_y) log p_y - sum_{i != y} p_i log(1 - p_i)`, `(N,)` nats; low = confident and right.

    Song & Mittal 2021 (arXiv 2003.10595).

    Args:
        p: predicted probabilities, `(N, C)`.
        labels: true classes y, `(N,)`.

    Raises:
        InputError: rows that are not probabilities, or labels that do not fit.
    """
    rows = probabilities(p, "class probabilities")
    own = _of_true_class(rows, labels)
    every = rows * _log(1 - rows)
    return -(1 - own) * _log(own) - (every.sum(axis=1) - _of_true_class(every, labels))


def mia_efficacy(retain: npt.ArrayLike, test: npt.ArrayLike, forget: npt.ArrayLike) -> float:
    """Share of the forget set that an SVC takes for *non*-members, in 0..1; ideal is the retrained model's share.

    SVC(C=3, rbf, gamma auto) fitted on one feature (or several), the first `len(test)` retain items against test
    (SalUn, arXiv 2310.12508). Opposite direction to `mia_member_rate`.

    Args:
        retain: feature of retain items (such as the confidence in the true class), `(R,)` or `(R, D)`.
        test: the same of test items, `(N,)`.
        forget: the same of forget items, `(F,)`.

    Raises:
        InputError: an empty set, or a value that is not finite.
    """
    from sklearn.svm import SVC

    return 1 - _member_rate(SVC(C=3, kernel="rbf", gamma="auto"), retain, test, forget)


def mia_member_rate(retain: npt.ArrayLike, test: npt.ArrayLike, forget: npt.ArrayLike) -> float:
    """Share of the forget set that a logistic model takes for *members*, in 0..1; ideal is the retrained model's share.

    Class-balanced logistic regression fitted on one feature, retain against test (bad teacher, arXiv 2205.08096; SSD).
    Opposite direction to `mia_efficacy`.

    Args:
        retain: feature of retain items (in the papers the entropy of the prediction), `(R,)`.
        test: the same of test items, `(N,)`.
        forget: the same of forget items, `(F,)`.

    Raises:
        InputError: an empty set, or a value that is not finite.
    """
    from sklearn.linear_model import LogisticRegression

    return _member_rate(LogisticRegression(class_weight="balanced"), retain, test, forget, matched=False)


def mia_loss_logistic(forget: npt.ArrayLike, unseen: npt.ArrayLike, *, seed: int = 42) -> float:
    """Cross-validated accuracy m of telling forget losses from unseen ones, in 0..1; ideal .5.

    Logistic regression on the loss, 10 stratified shuffles with a tenth held out (MUFAC, arXiv 2311.02240). The sign is
    lost: a model that raises its loss on the forget set beyond unseen also scores above .5.

    Args:
        forget: loss of forget items, `(F,)` nats; shuffled and cut to U when there are more.
        unseen: loss of items never trained on, `(U,)` nats.
        seed: seed of that shuffle.

    Raises:
        InputError: fewer than 11 items or 2 of a kind, or a value that is not finite.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedShuffleSplit, cross_val_score

    own, other = vector(forget, "forget losses"), vector(unseen, "unseen losses")
    # The legacy generator on purpose: published values depend on its order.
    own = np.random.RandomState(seed).permutation(own)[: len(other)]
    if len(own) + len(other) < 11 or min(len(own), len(other)) < 2:
        raise InputError(
            f"loss attack: {len(own)} forget and {len(other)} unseen losses; give at least 11, 2 of a kind."
        )
    features = np.concatenate([other, own])[:, None]
    members = np.repeat([0, 1], [len(other), len(own)])
    folds = StratifiedShuffleSplit(n_splits=10, random_state=0)
    return float(cross_val_score(LogisticRegression(), features, members, cv=folds, scoring="accuracy").mean())


def nomus(utility: float, attack: float, *, weight: float = 0.5) -> float:
    """MUFAC's score `w U + (1 - w)(1 - 2 |m - .5|)`, in 0..1; higher is better (arXiv 2311.02240).

    Not a distance to the retrained model, and a random classifier scores `U/2 + .5`: print U and m beside it.

    Args:
        utility: test accuracy U, in 0..1.
        attack: accuracy m of `mia_loss_logistic`, in 0..1.
        weight: weight w of the utility, in 0..1.

    Raises:
        InputError: a value outside 0..1.
    """
    if not (0 <= utility <= 1 and 0 <= attack <= 1 and 0 <= weight <= 1):
        raise InputError(f"NoMUS: utility {utility}, attack {attack}, weight {weight}; give all three in 0..1.")
    return weight * utility + (1 - weight) * (1 - 2 * abs(attack - 0.5))


def zrf(p: npt.ArrayLike, p_untrained: npt.ArrayLike) -> FloatArray:
    """Zero-retrain forgetting `1 - JS` of every item, `(N,)` in 0..1, JS in bits; ideal is the retrained model's value.

    Bad teacher, arXiv 2205.08096.

    Args:
        p: probabilities of the unlearned model on the forget set, `(N, C)`.
        p_untrained: those of a randomly initialised model, `(N, C)`.

    Raises:
        InputError: shapes differ, or rows are not probabilities.
    """
    return 1 - js(p, p_untrained, unit="bits")


def zrf_reference(p: npt.ArrayLike, p_untrained: npt.ArrayLike) -> FloatArray:
    """ZRF as released code has it, `1 - (KL(m || p) + KL(m || q)) / 2C` of every item, `(N,)`, m the middle, in nats.

    The divergence is turned round and divided by the number of classes C as well, so values crowd near 1.

    Args:
        p: probabilities of the unlearned model on the forget set, `(N, C)`.
        p_untrained: those of a randomly initialised model, `(N, C)`.

    Raises:
        InputError: shapes differ, or rows are not probabilities.
    """
    first, second = probabilities(p, "unlearned model"), probabilities(p_untrained, "untrained model")
    same_shape(first, second, "probabilities")
    middle = (first + second) / 2
    return 1 - (middle * (2 * _log(middle) - _log(first) - _log(second))).mean(axis=1) / 2


def interclass_confusion(predicted: npt.ArrayLike, labels: npt.ArrayLike, first: int, second: int) -> FloatArray:
    """1 where one of two classes is taken for the other, else 0, of their items alone `(n,)`.

    Interclass confusion test (arXiv 2201.06640): the labels of two classes were swapped in the forget set; forgetting
    it must bring this share back to the retrained model's.

    Args:
        predicted: predicted classes, `(N,)`.
        labels: true classes, `(N,)`.
        first: one class.
        second: the other.

    Raises:
        InputError: shapes differ, the classes are one, or no item is of either.
    """
    said, true = np.asarray(predicted, dtype=np.int64), np.asarray(labels, dtype=np.int64)
    either = np.isin(true, (first, second))
    if said.shape != true.shape or first == second or not either.any():
        raise InputError(f"confusion of {first} and {second}: give predictions for records of two different classes.")
    return (said[either] == first + second - true[either]).astype(np.float64)


def _member_rate(
    attack: Any, retain: npt.ArrayLike, test: npt.ArrayLike, forget: npt.ArrayLike, *, matched: bool = True
) -> float:
    members, others = _columns(retain, "retain feature"), _columns(test, "test feature")
    if matched:
        members = members[: len(others)]
    attack.fit(np.concatenate([members, others]), np.repeat([1, 0], [len(members), len(others)]))
    return float(attack.predict(_columns(forget, "forget feature")).mean())


def _columns(values: npt.ArrayLike, what: str) -> FloatArray:
    """One feature (N,) or several (N, D) as columns."""
    return matrix(values, what) if np.ndim(values) == 2 else vector(values, what)[:, None]


def _of_true_class(rows: FloatArray, labels: npt.ArrayLike) -> FloatArray:
    classes: IntArray = np.asarray(labels, dtype=np.int64)
    if classes.shape != (len(rows),) or classes.min() < 0 or classes.max() >= rows.shape[1]:
        raise InputError(f"labels: shape {classes.shape} for {rows.shape} outputs; give one class in 0..C-1 per item.")
    return rows[np.arange(len(rows)), classes]


def _log(values: FloatArray) -> FloatArray:
    return np.log(np.maximum(values, 1e-30))  # log 0 would make an infinite feature, which no attack can be fitted on
