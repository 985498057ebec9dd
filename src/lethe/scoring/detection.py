"""TDDBench's 21 algorithms that tell training records from others (arXiv 2411.03363), as functions of recorded arrays.

One orientation everywhere: high = looks like a member (TDDBench stores the opposite). The parameters of a function are
the quantities it needs, by the names below, so that a table of quantities can be handed to any of them:

    p, logits          (N, C)     the target's probabilities and logits of the audited records
    labels             (N,)       their true classes
    loss               (N,)       the target's loss -log p_y, nats
    phi, p_true        (N,)       the rescaled logit of p_y (`detection_learnt.rescaled_logit`), and p_y itself
    *_in, *_out        (N, K)     the same of K reference models trained with each record, and without it
    population_*       (Z[, K])   the same of other records
    *_reference        (R, ...)   outputs of one reference model on records, member_reference (R,) of which it knows
    loss_copies, hits  (N, M)     the target's loss on noisy copies, and whether it is right on changed ones
    loss_proxy         (N,)       loss of a model trained to imitate the target, nats
    distance, correct  (N,)       distance to the decision boundary, and whether the record is on its right side
    phi_mean, phi_std  (N,)       what a regression on population records expects of phi
    phi_query*         (N, Q[, K])  phi at Q queries made for each record
"""

from collections.abc import Callable, Mapping
from inspect import Parameter, signature
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError
from lethe.scoring import classification
from lethe.scoring.arrays import FloatArray, same_shape, vector
from lethe.scoring.detection_learnt import (
    learn_label,
    learn_merge,
    learn_original,
    learn_sorted,
    learn_top3,
    query_augment,
)
from lethe.scoring.detection_references import (
    beside,
    model_calibration,
    model_fpr,
    model_lira,
    model_loss,
    model_robust,
    normal_cdf,
    query_ref,
)


def metric_loss(*, loss: npt.ArrayLike) -> FloatArray:
    """Minus the loss, `(N,)` nats (Yeom et al. 2018)."""
    return -vector(loss, "losses")


def metric_conf(*, p: npt.ArrayLike, labels: npt.ArrayLike) -> FloatArray:
    """Probability of the true class, `(N,)` in 0..1; ranks as `metric_loss` does."""
    return classification.confidence(p, labels)


def metric_corr(*, p: npt.ArrayLike, labels: npt.ArrayLike) -> FloatArray:
    """1 where the prediction is right, `(N,)`; its AUC is (1 + accuracy on members - accuracy on others) / 2."""
    return classification.accuracy(p, labels)


def metric_ent(*, p: npt.ArrayLike) -> FloatArray:
    """Minus the entropy of the prediction, `(N,)` nats; blind to the true class (Shokri et al. 2017)."""
    return -classification.entropy(p)


def metric_ment(*, p: npt.ArrayLike, labels: npt.ArrayLike) -> FloatArray:
    """Minus the modified entropy, `(N,)` nats (Song & Mittal, arXiv 2003.10595)."""
    return -classification.modified_entropy(p, labels)


def query_neighbor(
    *, loss: npt.ArrayLike, loss_copies: npt.ArrayLike, variant: Literal["share", "mean"] = "share"
) -> FloatArray:
    """How much the loss rises on noisy copies, `(N,)`.

    Args:
        loss: loss on the records, `(N,)` nats.
        loss_copies: loss on M copies of each, `(N, M)` nats.
        variant: share of the copies with a higher loss (images, tables), or mean rise in nats (texts).
    """
    own, copies = beside(loss, loss_copies)
    rise = copies - own[:, None]
    return (rise > 0).mean(axis=1) if variant == "share" else rise.mean(axis=1)


def query_transfer(*, loss_proxy: npt.ArrayLike) -> FloatArray:
    """Minus the loss of a proxy that was trained on the target's answers, `(N,)` nats."""
    return -vector(loss_proxy, "losses of the proxy")


def query_adv(*, distance: npt.ArrayLike, correct: npt.ArrayLike) -> FloatArray:
    """Distance to the decision boundary, `(N,)`: 0 where the prediction is wrong, the largest where none was found.

    Args:
        distance: L2 distance found by a boundary search, infinite where it failed, `(N,)`.
        correct: whether the unchanged record is classified correctly, `(N,)`.
    """
    found, right = vector(distance, "boundary distances", finite=False), vector(correct, "correctness")
    same_shape(found, right, "boundary distances and correctness")
    reached = np.isfinite(found)
    if not reached.any():
        raise InputError("boundary distances: the search failed on every record; give it more queries.")
    return np.where(right > 0, np.where(reached, found, found[reached].max()), 0.0)


def query_qrm(*, phi: npt.ArrayLike, phi_mean: npt.ArrayLike, phi_std: npt.ArrayLike) -> FloatArray:
    """Quantile of phi by what a regression on population records expects of it, `(N,)` in 0..1 (arXiv 2307.03694)."""
    own, mean, std = vector(phi, "phi"), vector(phi_mean, "expected phi"), vector(phi_std, "deviations of phi")
    same_shape(own, mean, "phi and its expectation")
    same_shape(own, std, "phi and its deviation")
    return normal_cdf(own, mean, std)


ALGORITHMS: Mapping[str, Callable[..., FloatArray]] = {
    "Metric-loss": metric_loss,
    "Metric-conf": metric_conf,
    "Metric-corr": metric_corr,
    "Metric-ent": metric_ent,
    "Metric-ment": metric_ment,
    "Learn-original": learn_original,
    "Learn-top3": learn_top3,
    "Learn-sorted": learn_sorted,
    "Learn-label": learn_label,
    "Learn-merge": learn_merge,
    "Model-loss": model_loss,
    "Model-calibration": model_calibration,
    "Model-lira": model_lira,
    "Model-fpr": model_fpr,
    "Model-robust": model_robust,
    "Query-neighbor": query_neighbor,
    "Query-augment": query_augment,
    "Query-transfer": query_transfer,
    "Query-adv": query_adv,
    "Query-qrm": query_qrm,
    "Query-ref": query_ref,
}


def needs(algorithm: str) -> tuple[str, ...]:
    """The quantities that an algorithm cannot do without."""
    if algorithm not in ALGORITHMS:
        raise InputError(f"detection: there is no algorithm {algorithm!r}; use one of {', '.join(ALGORITHMS)}.")
    parameters = signature(ALGORITHMS[algorithm]).parameters.values()
    return tuple(parameter.name for parameter in parameters if parameter.default is Parameter.empty)


def detect(algorithm: str, quantities: Mapping[str, npt.ArrayLike], **options: Any) -> FloatArray:
    """Score every record by a named algorithm, `(N,)`; high = looks like a member.

    Args:
        algorithm: a name in `ALGORITHMS`; what stands before the dash is its paradigm.
        quantities: arrays by the names at the head of this module; those it does not need are left alone.
        options: the algorithm's own, such as a seed.

    Raises:
        InputError: there is no such algorithm, or a quantity that it needs is missing.
    """
    named = needs(algorithm)
    if missing := [name for name in named if name not in quantities]:
        raise InputError(f"{algorithm}: lacks {', '.join(missing)}; record what it needs: {', '.join(named)}.")
    return ALGORITHMS[algorithm](**{name: quantities[name] for name in named}, **options)
