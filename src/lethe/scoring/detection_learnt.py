"""The detection algorithms that train a small network on the outputs of one reference model (arXiv 2411.03363).

The reference model's members are known; what tells them from others there is looked for in the target's outputs.
"""

import warnings
from typing import Literal

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError
from lethe.scoring.arrays import FloatArray, matrix, probabilities, vector
from lethe.scoring.classification import modified_entropy

_FLOOR = 1e-45  # TDDBench's, so that log 0 is -103.3 and no signal is infinite


def rescaled_logit(loss: npt.ArrayLike) -> FloatArray:
    """`log p_y - log(1 - p_y)` from the loss -log p_y, of the loss's shape; high = sure of the true class.

    Taken from the loss, since 1 - p_y has no digits left where a model is sure. Both logarithms are kept above that of
    1e-45 (as TDDBench does), so the value stays within -104..104.

    Args:
        loss: losses in nats, at least 0.

    Raises:
        InputError: a loss is negative or NaN.
    """
    nats = np.asarray(loss, dtype=np.float64)
    if not (nats >= 0).all():
        raise InputError("rescaled logit: a loss is negative or NaN; give -log p of the true class in nats.")
    return np.logaddexp(-nats, np.log(_FLOOR)) - np.log(-np.expm1(-nats) + _FLOOR)


def learn_original(
    *,
    p: npt.ArrayLike,
    p_reference: npt.ArrayLike,
    member_reference: npt.ArrayLike,
    seed: int = 0,
    standardise: bool = False,
) -> FloatArray:
    """Attack network on the probabilities as they are, `(N,)` in 0..1 (Shokri et al. 2017).

    Args:
        p: the target's probabilities, `(N, C)`.
        p_reference: the reference model's, on records of its own, `(R, C)`.
        member_reference: whether it was trained on them, `(R,)`.
        seed: seed of the network.
        standardise: scale features first; the published attack does not, and saturates.
    """
    rows, others = _probabilities(p), _probabilities(p_reference)
    return attack(rows, others, member_reference, seed=seed, standardise=standardise)


def learn_top3(
    *,
    p: npt.ArrayLike,
    p_reference: npt.ArrayLike,
    member_reference: npt.ArrayLike,
    seed: int = 0,
    standardise: bool = False,
) -> FloatArray:
    """As `learn_original`, on the three highest probabilities in falling order (Salem et al. 2019)."""
    rows, others = (_falling(_probabilities(values))[:, :3] for values in (p, p_reference))
    return attack(rows, others, member_reference, seed=seed, standardise=standardise)


def learn_sorted(
    *,
    p: npt.ArrayLike,
    p_reference: npt.ArrayLike,
    member_reference: npt.ArrayLike,
    seed: int = 0,
    standardise: bool = False,
) -> FloatArray:
    """As `learn_original`, on all probabilities in falling order; equals `learn_top3` up to three classes."""
    rows, others = (_falling(_probabilities(values)) for values in (p, p_reference))
    return attack(rows, others, member_reference, seed=seed, standardise=standardise)


def learn_label(
    *,
    p: npt.ArrayLike,
    labels: npt.ArrayLike,
    p_reference: npt.ArrayLike,
    labels_reference: npt.ArrayLike,
    member_reference: npt.ArrayLike,
    seed: int = 0,
    standardise: bool = False,
) -> FloatArray:
    """As `learn_original`, with the true class beside the probabilities (Nasr et al. 2019)."""
    rows, others = (
        np.concatenate([values, _one_hot(classes, values.shape[1])], axis=1)
        for values, classes in ((_probabilities(p), labels), (_probabilities(p_reference), labels_reference))
    )
    return attack(rows, others, member_reference, seed=seed, standardise=standardise)


def learn_merge(
    *,
    logits: npt.ArrayLike,
    labels: npt.ArrayLike,
    logits_reference: npt.ArrayLike,
    labels_reference: npt.ArrayLike,
    member_reference: npt.ArrayLike,
    variant: Literal["paper", "reference"] = "paper",
    seed: int = 0,
    standardise: bool = False,
) -> FloatArray:
    """As `learn_original`, on true class, loss, modified entropy, margin, rescaled logit and predicted class together.

    Args:
        logits: the target's logits, `(N, C)`.
        labels: true classes, `(N,)`.
        logits_reference: the reference model's, `(R, C)`.
        labels_reference: their true classes, `(R,)`.
        member_reference: whether the reference model was trained on them, `(R,)`.
        variant: paper takes the best logit among the other classes; reference hides the label's logit behind -1, as
            the released code does, which then wins wherever all others are below -1.
        seed: seed of the network.
        standardise: scale features first; the published attack does not, and saturates.
    """
    rows = merged_features(logits, labels, variant=variant)
    others = merged_features(logits_reference, labels_reference, variant=variant)
    return attack(rows, others, member_reference, seed=seed, standardise=standardise)


def query_augment(
    *, hits: npt.ArrayLike, hits_reference: npt.ArrayLike, member_reference: npt.ArrayLike, seed: int = 0
) -> FloatArray:
    """Attack network on which of M changed copies are still classified correctly, `(N,)` in 0..1.

    TDDBench's own copies of tables with fewer than 100 columns change nothing, which leaves two values of the score.

    Args:
        hits: whether the target is right on each copy, `(N, M)`.
        hits_reference: the same of the reference model on records of its own, `(R, M)`.
        member_reference: whether it was trained on them, `(R,)`.
        seed: seed of the network.
    """
    rows, others = matrix(hits, "hits on the copies"), matrix(hits_reference, "hits of the reference model")
    return attack(rows, others, member_reference, seed=seed)


def merged_features(
    logits: npt.ArrayLike, labels: npt.ArrayLike, *, variant: Literal["paper", "reference"] = "paper"
) -> FloatArray:
    """One-hot true class, loss, modified entropy, margin of the best other class, -phi, predicted class: (N, C+5)."""
    rows = matrix(logits, "logits")
    shifted = rows - rows.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    own = _one_hot(labels, rows.shape[1])
    loss = -(log_p * own).sum(axis=1)
    best_other = np.where(own > 0, -np.inf if variant == "paper" else -1.0, rows).max(axis=1)
    columns = [
        loss,
        modified_entropy(np.exp(log_p), labels),
        best_other - (rows * own).sum(axis=1),
        -rescaled_logit(np.maximum(loss, 0.0)),
        rows.argmax(axis=1),
    ]
    return np.concatenate([own, np.stack(columns, axis=1)], axis=1)


def attack(
    features: FloatArray, reference: FloatArray, member: npt.ArrayLike, *, seed: int = 0, standardise: bool = False
) -> FloatArray:
    """Probability of membership by a network trained on a reference model's features, `(N,)` in 0..1.

    64 and 32 ReLU units, Adam at 1e-3, batches of 128, at most 500 epochs, stopped after 30 without gain on a tenth
    that is held out, where the best epoch is kept.

    Raises:
        InputError: widths that differ, or fewer than 20 reference records or 2 of a kind.
    """
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import StandardScaler

    held = vector(member, "membership in the reference model") > 0
    if features.shape[1] != reference.shape[1] or len(held) != len(reference):
        raise InputError(
            f"attack network: features {features.shape}, reference {reference.shape}, {len(held)} memberships; "
            "take the same features of both models, with one membership per reference record."
        )
    if len(held) < 20 or not 2 <= held.sum() <= len(held) - 2:
        raise InputError(f"attack network: {int(held.sum())} members of {len(held)}; give 20 records, 2 of a kind.")
    if standardise:
        scaler = StandardScaler().fit(reference)
        features, reference = np.asarray(scaler.transform(features)), np.asarray(scaler.transform(reference))
    network = MLPClassifier(
        (64, 32), learning_rate_init=1e-3, max_iter=500, early_stopping=True, validation_fraction=0.1,
        n_iter_no_change=30, random_state=seed,
    ).set_params(batch_size=min(128, len(held) * 9 // 10))  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 500 epochs without convergence is what was published
        network.fit(reference, held)
    return np.asarray(network.predict_proba(features), dtype=np.float64)[:, 1]


def _probabilities(p: npt.ArrayLike) -> FloatArray:
    return probabilities(p, "class probabilities")


def _falling(rows: FloatArray) -> FloatArray:
    return -np.sort(-rows, axis=1)


def _one_hot(labels: npt.ArrayLike, classes: int) -> FloatArray:
    own = np.asarray(labels, dtype=np.int64)
    if own.ndim != 1 or own.min() < 0 or own.max() >= classes:
        raise InputError(f"labels: shape {own.shape} for {classes} classes; give one class in 0..C-1 per record.")
    return np.eye(classes)[own]
