"""Membership-inference scores from token log-probabilities. One orientation everywhere: high = looks like a member.

Items come in as sequences of arrays because texts differ in length; a classifier or a recommender is a sequence of one
token. An item without a scored token is refused, never given a default that an attack would read as "member".
"""

import zlib as _zlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError
from lethe.scoring.arrays import FloatArray, matrix, ragged, same_shape


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


def lowercase(
    logp: Sequence[npt.ArrayLike],
    logp_lower: Sequence[npt.ArrayLike],
    *,
    variant: Literal["muse", "detect_pretrain"] = "muse",
) -> FloatArray:
    """How much a text loses by lower-casing, `(N,)` (Carlini et al. 2021, arXiv 2012.07805).

    Two code bases store two numbers of one ranking; both are turned here so that high = member.

    Args:
        logp: log-probability of every scored token, N arrays `(T_i,)`, in nats.
        logp_lower: the same for the lower-cased text, whose number of tokens may differ.
        variant: `-NLL / NLL_lower` (muse), or `NLL_lower / NLL` (detect_pretrain).

    Raises:
        InputError: an item has no scored token, or a text has NLL 0.
    """
    scores, lower = loss(logp), loss(logp_lower)
    same_shape(scores, lower, "texts and lower-cased texts")
    if variant == "muse":
        return -_over(scores, lower, "lowercase: item {} is certain when lower-cased")
    return _over(lower, scores, "lowercase: item {} is certain")


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


def reference_ratio(logp: Sequence[npt.ArrayLike], logp_reference: Sequence[npt.ArrayLike]) -> FloatArray:
    """`-NLL / NLL_reference`, `(N,)`: Carlini's ratio to a smaller model, another attack than the difference.

    Args:
        logp: log-probability of every scored token under the target, N arrays `(T_i,)`, in nats.
        logp_reference: that under the reference, whose tokens may be others.

    Raises:
        InputError: an item has no scored token, or the reference is certain of it.
    """
    scores, base = loss(logp), loss(logp_reference)
    same_shape(scores, base, "texts of target and reference")
    return -_over(scores, base, "reference ratio: the reference is certain of item {}")


def reference_per_byte(
    logp: Sequence[npt.ArrayLike], logp_reference: Sequence[npt.ArrayLike], texts: Sequence[str]
) -> FloatArray:
    """Log-likelihood of the target minus the reference's, `(N,)` bits per byte: for models with other tokenizers.

    Args:
        logp: log-probability of every token of the text under the target, N arrays, in nats.
        logp_reference: the same under the reference, by its own tokens.
        texts: the texts, N strings that are not empty.

    Raises:
        InputError: an item has no scored token, or the lists differ in length.
    """
    own, base = (np.array([item.sum() for item in _tokens(values)]) for values in (logp, logp_reference))
    sizes = np.array([len(text.encode()) for text in texts], dtype=np.float64)
    same_shape(own, base, "texts of target and reference")
    same_shape(own, sizes, "scores and texts")
    return _over(own - base, sizes, "bits per byte: text {} is empty") / np.log(2)


def neighbourhood(logp: Sequence[npt.ArrayLike], neighbours: Sequence[Sequence[npt.ArrayLike]]) -> FloatArray:
    """LOSS of a text minus the mean LOSS of its reworded neighbours, `(N,)` nats (Mattern et al., arXiv 2305.18462).

    Args:
        logp: log-probability of every scored token, N arrays `(T_i,)`, in nats.
        neighbours: the same for M >= 1 neighbours of each text, whose number of tokens may differ.

    Raises:
        InputError: a text has no neighbour or no scored token, or the lists differ in length.
    """
    scores = loss(logp)
    if len(neighbours) != len(scores):
        raise InputError(f"neighbourhood: {len(scores)} texts but neighbours of {len(neighbours)}; give some for each.")
    return scores - np.array([loss(around).mean() for around in neighbours])


def grad_norm(norms: npt.ArrayLike, *, over: Literal["mean", "global"] = "mean") -> FloatArray:
    """Minus the size of the loss gradient, `(N,)`, from its norm per parameter tensor.

    Args:
        norms: p-norm of the gradient of the NLL in each of P tensors, `(N, P)`.
        over: plain mean over tensors (MIMIR, with p = inf; open-unlearning, with p = 2), or the norm of all of them
            together, which is meant for p = 2.

    Raises:
        InputError: a norm is negative or not finite.
    """
    sizes = matrix(norms, "gradient norms")
    if (sizes < 0).any():
        raise InputError("gradient norms: a norm is negative; give the norms themselves, the score turns their sign.")
    return -(sizes.mean(axis=1) if over == "mean" else np.sqrt((sizes**2).sum(axis=1)))


def recall(logp: Sequence[npt.ArrayLike], logp_prefixed: Sequence[npt.ArrayLike]) -> FloatArray:
    """`LL(x | prefix) / LL(x)` with a prefix of non-members, `(N,)` (ReCaLL, Xie et al., arXiv 2406.15968).

    A member loses more by the foreign prefix; both are negative, so its ratio is larger.

    Args:
        logp: log-probability of every scored token, N arrays `(T_i,)`, in nats.
        logp_prefixed: the same tokens after the prefix, whose own tokens are not scored.

    Raises:
        InputError: an item has no scored token or is certain, or other tokens were scored after the prefix.
    """
    plain, prefixed = _tokens(logp), _tokens(logp_prefixed)
    if [len(item) for item in plain] != [len(item) for item in prefixed]:
        raise InputError("ReCaLL: other tokens were scored after the prefix; score the text's own in both passes.")
    return _over(loss(prefixed), loss(plain), "ReCaLL: item {} is certain without the prefix")


def but_last(logp: Sequence[npt.ArrayLike]) -> list[FloatArray]:
    """Every item without its last token, N arrays `(T_i - 1,)`: open-unlearning's token set for Min-K and Min-K++.

    It means to drop the end of sequence; data without one loses a real token.

    Args:
        logp: values of every scored token, N arrays `(T_i,)`.

    Raises:
        InputError: an item has a single token, which open-unlearning's score of 0 would take for a perfect member.
    """
    items = _tokens(logp)
    short = [i for i, item in enumerate(items) if len(item) < 2]
    if short:
        raise InputError(f"token set: item {short[0]} has one token and none without its last; leave it out.")
    return [item[:-1] for item in items]


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


def window_min_k(logp: Sequence[npt.ArrayLike], *, k: float = 0.2, window: int = 4, stride: int = 1) -> FloatArray:
    """Mean of the `max(1, floor(k n))` least likely windows of tokens, `(N,)` nats (MIMIR, arXiv 2402.07841).

    Args:
        logp: log-probability of every scored token, N arrays `(T_i,)`, in nats.
        k: share of the windows, in (0, 1].
        window: tokens whose log-probabilities are averaged; a shorter text is one window.
        stride: tokens from one window's start to the next.

    Raises:
        InputError: an item has no scored token, or k, window or stride is out of range.
    """
    if window < 1 or stride < 1:
        raise InputError(f"window min-k: window {window} and stride {stride}; choose at least 1 token for both.")
    means = [
        np.lib.stride_tricks.sliding_window_view(item, min(window, len(item)))[::stride].mean(axis=1)
        for item in _tokens(logp)
    ]
    return np.array([_lowest_mean(item, k) for item in means])


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


def _over(above: FloatArray, below: FloatArray, certain: str) -> FloatArray:
    if (below == 0).any():
        raise InputError(f"{certain.format(int(np.argmax(below == 0)))}; leave it out.")
    return above / below


def _tokens(logp: Sequence[npt.ArrayLike]) -> list[FloatArray]:
    return ragged(logp, "token log-probabilities")
