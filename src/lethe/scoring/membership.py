"""Membership-inference scores from token log-probabilities. One orientation everywhere: high = looks like a member.

Items come in as sequences of arrays because texts differ in length; a classifier or a recommender is a sequence of one
token. An item without a scored token is refused, never given a default that an attack would read as "member".
"""

import zlib as _zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError
from lethe.scoring.arrays import FloatArray, ragged, same_shape


def loss(logp: Sequence[npt.ArrayLike]) -> FloatArray:
    """Mean token log-probability, `(N,)` nats (Yeom et al. 2018).

    Args:
        logp: log-probability of every scored token, N arrays `(T_i,)`, in nats.

    Raises:
        InputError: an item has no scored token.
    """
    return np.array([item.mean() for item in _tokens(logp)])


def zlib(logp: Sequence[npt.ArrayLike], texts: Sequence[str]) -> FloatArray:
    """LOSS over the size of the compressed text, `(N,)` nats per byte (Carlini et al. 2021, arXiv 2012.07805).

    The size counts zlib's 6 bytes of header and trailer, which dominate on short texts.

    Args:
        logp: log-probability of every scored token, N arrays `(T_i,)`, in nats.
        texts: the text that was scored, N strings.

    Raises:
        InputError: an item has no scored token, or the two lists differ in length.
    """
    scores = loss(logp)
    if len(texts) != len(scores):
        raise InputError(f"zlib: {len(scores)} scored items but {len(texts)} texts; give one text per item.")
    return scores / np.array([len(_zlib.compress(text.encode())) for text in texts])


def lowercase(logp: Sequence[npt.ArrayLike], logp_lower: Sequence[npt.ArrayLike]) -> FloatArray:
    """`-NLL(text) / NLL(lower-cased text)`, `(N,)` (arXiv 2012.07805, in muse_bench's form with the sign turned).

    Args:
        logp: log-probability of every scored token, N arrays `(T_i,)`, in nats.
        logp_lower: the same for the lower-cased text, whose number of tokens may differ.

    Raises:
        InputError: an item has no scored token, or a lower-cased text has NLL 0.
    """
    scores, lower = loss(logp), loss(logp_lower)
    same_shape(scores, lower, "texts and lower-cased texts")
    if (lower == 0).any():
        raise InputError(f"lowercase: item {int(np.argmax(lower == 0))} is certain when lower-cased; leave it out.")
    return -scores / lower


def reference(logp: Sequence[npt.ArrayLike], logp_reference: Sequence[npt.ArrayLike]) -> FloatArray:
    """LOSS of the target minus LOSS of a reference model on the same tokens, `(N,)` nats.

    Args:
        logp: log-probability of every scored token under the target, N arrays `(T_i,)`, in nats.
        logp_reference: the same tokens under the reference (the base or the retrained model).

    Raises:
        InputError: an item has no scored token, or the two were tokenised differently.
    """
    target, base = _tokens(logp), _tokens(logp_reference)
    if [len(item) for item in target] != [len(item) for item in base]:
        raise InputError("reference attack: the two models scored different tokens; use one tokenizer for both.")
    return loss(target) - loss(base)


def min_k(logp: Sequence[npt.ArrayLike], *, k: float = 0.2) -> FloatArray:
    """Mean of the `max(1, floor(k n))` least likely tokens, `(N,)` nats (Min-K %, Shi et al. 2023, arXiv 2310.16789).

    The released code takes an empty mean (NaN) where floor(k n) is 0; one token is the fallback here.

    Args:
        logp: log-probability of every scored token, N arrays `(T_i,)`, in nats.
        k: share of the tokens, in (0, 1].

    Raises:
        InputError: an item has no scored token, or k is out of range.
    """
    return np.array([_lowest_mean(item, k) for item in _tokens(logp)])


def min_k_pp(
    logp: Sequence[npt.ArrayLike], mean: Sequence[npt.ArrayLike], std: Sequence[npt.ArrayLike], *, k: float = 0.2
) -> FloatArray:
    """Mean of the `max(1, floor(k n))` lowest z-scores, `(N,)` (Min-K%++, Zhang et al. 2024, arXiv 2404.02936).

    Args:
        logp: log-probability of every scored token, N arrays `(T_i,)`, in nats.
        mean: mean log-probability over the vocabulary at each position, as `moments` gives it.
        std: standard deviation over the vocabulary at each position.
        k: share of the tokens, in (0, 1].

    Raises:
        InputError: an item has no scored token, lengths differ, or k is out of range.
    """
    return np.array([_lowest_mean(item, k) for item in z_scores(logp, mean, std)])


def z_scores(
    logp: Sequence[npt.ArrayLike], mean: Sequence[npt.ArrayLike], std: Sequence[npt.ArrayLike], *, flat: float = 1e-6
) -> list[FloatArray]:
    """Token log-probabilities in units of the model's own spread, N arrays `(T_i,)`; 0 where it has none.

    Args:
        logp: log-probability of every scored token, N arrays `(T_i,)`, in nats.
        mean: mean log-probability over the vocabulary at each position.
        std: standard deviation over the vocabulary at each position.
        flat: spread in nats up to which a distribution counts as uniform: below it z would be rounding noise.

    Raises:
        InputError: an item has no scored token, or lengths differ.
    """
    items, means, stds = _tokens(logp), ragged(mean, "vocabulary means"), ragged(std, "vocabulary deviations")
    if not [len(x) for x in items] == [len(x) for x in means] == [len(x) for x in stds]:
        raise InputError("z-scores: log-probabilities, means and deviations differ in length; take them in one pass.")
    return [
        np.divide(x - m, s, out=np.zeros_like(x), where=s > flat) for x, m, s in zip(items, means, stds, strict=True)
    ]


def moments(log_probs: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation of the log-probability under the model's own distribution, two `(...)` arrays, nats.

    Taken around the mean: the shortcut `E[x^2] - E[x]^2` cancels, and loses the deviation in bf16.

    Args:
        log_probs: normalised log-probabilities, `(..., V)`; tokens of probability 0 do not count.
    """
    values = np.asarray(log_probs, dtype=np.float64)
    p = np.exp(values)
    values = np.where(p > 0, values, 0.0)
    mean = (p * values).sum(axis=-1)
    return mean, np.sqrt((p * (values - mean[..., None]) ** 2).sum(axis=-1))


def _lowest_mean(values: FloatArray, k: float) -> float:
    if not 0 < k <= 1:
        raise InputError(f"min-k: k = {k} is not a share of the tokens; choose it in (0, 1].")
    m = max(1, int(k * len(values)))
    return float(np.partition(values, m - 1)[:m].mean())


def _tokens(logp: Sequence[npt.ArrayLike]) -> list[FloatArray]:
    return ragged(logp, "token log-probabilities")
