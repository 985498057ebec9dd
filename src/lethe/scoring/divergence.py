"""How far two models' predictions are apart."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError
from lethe.scoring.arrays import FloatArray, matrix, probabilities, same_shape

Unit = Literal["nats", "bits"]


def kl(control_logp: npt.ArrayLike, model_logp: npt.ArrayLike) -> FloatArray:
    """KL(control || model) of every row, `(T,)` nats in 0..inf; lower is better.

    Args:
        control_logp: log-probabilities of the control, `(T, V)`, each row normalised.
        model_logp: log-probabilities of the model at the same positions, `(T, V)`.

    Raises:
        InputError: shapes differ, or a row is not normalised: raw logits give no divergence.
    """
    own, other = _log_probs(control_logp, "control"), _log_probs(model_logp, "model")
    same_shape(own, other, "control and model log-probabilities")
    p = np.exp(own)
    # Where p is 0 the term is 0, even if a log-probability is -inf; where only the model's is -inf, KL is inf.
    gap = np.subtract(own, other, out=np.zeros_like(own), where=p > 0)
    return (p * gap).sum(axis=1)


def kl_per_item(control_logp: Sequence[npt.ArrayLike], model_logp: Sequence[npt.ArrayLike]) -> FloatArray:
    """Mean over an item's tokens of KL(control || model), `(N,)` nats per token; lower is better.

    Args:
        control_logp: the control's log-probabilities, N arrays `(T_i, V)`.
        model_logp: the model's, N arrays `(T_i, V)`.

    Raises:
        InputError: numbers of items or shapes differ, or a row is not normalised.
    """
    if len(control_logp) != len(model_logp):
        raise InputError(f"KL: {len(control_logp)} items of the control, {len(model_logp)} of the model; align them.")
    return np.array([kl(own, other).mean() for own, other in zip(control_logp, model_logp, strict=True)])


def js(p: npt.ArrayLike, q: npt.ArrayLike, *, unit: Unit = "bits") -> FloatArray:
    """Jensen-Shannon divergence of every pair of rows, `(N,)` in 0..1 bits or 0..ln 2 nats; lower is nearer.

    Args:
        p: one distribution per item, `(N, C)`.
        q: the other, `(N, C)`.
        unit: "bits" or "nats".

    Raises:
        InputError: shapes differ, or rows are not probabilities.
    """
    first, second = probabilities(p, "first distribution"), probabilities(q, "second distribution")
    same_shape(first, second, "distributions")
    middle = (first + second) / 2
    nats = (_relative_entropy(first, middle) + _relative_entropy(second, middle)) / 2
    return nats / np.log(2) if unit == "bits" else nats


def activation_distance(p: npt.ArrayLike, q: npt.ArrayLike) -> FloatArray:
    """Euclidean distance of the predicted probabilities of every item, `(N,)` in 0..sqrt 2; lower is nearer.

    Args:
        p: probabilities of the unlearned model, `(N, C)`.
        q: probabilities of the retrained model, `(N, C)`.

    Raises:
        InputError: shapes differ, or rows are not probabilities.
    """
    first, second = probabilities(p, "unlearned model"), probabilities(q, "retrained model")
    same_shape(first, second, "probabilities")
    return np.linalg.norm(first - second, axis=1)


def weight_distance(own: Mapping[str, npt.ArrayLike], other: Mapping[str, npt.ArrayLike]) -> float:
    """L2 distance of all weights at once, 0 or more. No evidence: of neither forgetting nor its absence.

    Networks with permuted hidden units are one function and lie far apart, as do two retrained models of different
    seeds; and a model that hides what it was told to forget lies next to the original. Papers print it, so it is here.

    Args:
        own: weights of the unlearned model by name.
        other: those of the retrained model.

    Raises:
        InputError: names or shapes differ.
    """
    pairs = {
        name: (np.asarray(own[name], np.float64), np.asarray(other[name], np.float64)) for name in own if name in other
    }
    if len(pairs) < max(len(own), len(other)) or any(a.shape != b.shape for a, b in pairs.values()):
        raise InputError("weight distance: the two models have other tensors; compare models of one architecture.")
    return float(np.sqrt(sum(((a - b) ** 2).sum() for a, b in pairs.values())))


def _relative_entropy(p: FloatArray, middle: FloatArray) -> FloatArray:
    log_ratio = np.log(np.divide(p, middle, out=np.ones_like(p), where=p > 0))
    return np.maximum((p * log_ratio).sum(axis=1), 0)


def _log_probs(values: npt.ArrayLike, whose: str) -> FloatArray:
    rows = matrix(values, f"log-probabilities of the {whose}", finite=False)
    with np.errstate(over="ignore"):
        total = np.exp(rows).sum(axis=1)
    if (np.abs(total - 1) > 1e-2).any():
        worst = int(np.argmax(np.abs(total - 1)))
        raise InputError(
            f"log-probabilities of the {whose}: the probabilities of row {worst} sum to {total[worst]:.3g}, not 1; "
            "apply a log-softmax over the vocabulary first."
        )
    return rows
