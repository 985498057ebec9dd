"""Token-level memorisation: how sure a model is of an answer, and how much of it it can recite.

Losses come in as *mean* negative log-likelihood per scored token, in nats, so that an answer's probability is the
geometric mean of its token probabilities and answers of different length compare.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError
from lethe.scoring.arrays import BoolArray, FloatArray, matrix, ragged, vector

Mean = Literal["geometric", "arithmetic"]


def mean_nll(logp: Sequence[npt.ArrayLike]) -> FloatArray:
    """Mean negative log-likelihood per token, `(N,)` nats.

    Args:
        logp: log-probability of every scored token of every item, N arrays `(T_i,)`, in nats.

    Raises:
        InputError: an item has no scored token.
    """
    return np.array([-item.mean() for item in ragged(logp, "token log-probabilities")])


def probability(nll: npt.ArrayLike) -> FloatArray:
    """Length-normalised probability of the answer, `(N,)` in 0..1; lower is better on the forget set.

    TOFU (arXiv 2401.06121): `exp(-NLL)`.

    Args:
        nll: mean NLL of the answer, `(N,)` nats.
    """
    return np.exp(-vector(nll, "answer NLL", finite=False))


def option_probability(nll_gold: npt.ArrayLike, nll_wrong: npt.ArrayLike) -> FloatArray:
    """Share of the gold answer among the options, `(N,)` in 0..1; higher is better on utility sets.

    TOFU's probability on its real-author and world-fact sets: `P(gold) / (P(gold) + sum_j P(wrong_j))`.

    Args:
        nll_gold: mean NLL of the gold answer, `(N,)` nats.
        nll_wrong: mean NLL of the K wrong answers, `(N, K)` nats.

    Raises:
        InputError: the two disagree on N, or hold NaN.
    """
    gold, wrong = _answers(nll_gold, nll_wrong)
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(gold[:, None] - wrong).sum(axis=1))


def log_truth_ratio(nll_paraphrase: npt.ArrayLike, nll_wrong: npt.ArrayLike, *, kind: Mean = "geometric") -> FloatArray:
    """Logarithm of the truth ratio, `(N,)`; 0 means the wrong answers are as likely as the right one.

    Args:
        nll_paraphrase: mean NLL of the paraphrased right answer, `(N,)` nats.
        nll_wrong: mean NLL of the K wrong answers, `(N, K)` nats.
        kind: mean over the wrong answers; "arithmetic" averages probabilities, "geometric" averages losses.

    Raises:
        InputError: the two disagree on N, hold NaN, or `kind` is unknown.
    """
    right, wrong = _answers(nll_paraphrase, nll_wrong)
    if kind == "geometric":
        return right - wrong.mean(axis=1)
    if kind == "arithmetic":
        return right + np.logaddexp.reduce(-wrong, axis=1) - np.log(wrong.shape[1])
    raise InputError(f"truth ratio: unknown mean {kind!r}; use 'geometric' or 'arithmetic'.")


def truth_ratio(nll_paraphrase: npt.ArrayLike, nll_wrong: npt.ArrayLike, *, kind: Mean = "geometric") -> FloatArray:
    """TOFU's truth ratio R = mean P(wrong) / P(paraphrase), `(N,)` in 0..inf.

    The paper's formula is arithmetic; TOFU's leaderboard, its logs and every published forget quality are geometric.

    Args:
        nll_paraphrase: mean NLL of the paraphrased right answer, `(N,)` nats.
        nll_wrong: mean NLL of the K wrong answers, `(N, K)` nats.
        kind: mean over the wrong answers; "arithmetic" averages probabilities, "geometric" averages losses.

    Raises:
        InputError: the two disagree on N, hold NaN, or `kind` is unknown.
    """
    with np.errstate(over="ignore"):
        return np.exp(log_truth_ratio(nll_paraphrase, nll_wrong, kind=kind))


def truth_ratio_forget_score(ratio: npt.ArrayLike) -> FloatArray:
    """`min(R, 1/R)` per item, `(N,)` in 0..1; aim at the control's value, not at 1.

    Args:
        ratio: truth ratios R, `(N,)`; 0 and infinity both score 0.

    Raises:
        InputError: a ratio is negative or NaN.
    """
    with np.errstate(divide="ignore"):
        return np.exp(-np.abs(np.log(_ratios(ratio))))


def truth_ratio_utility_score(ratio: npt.ArrayLike) -> FloatArray:
    """`max(0, 1 - R)` per item, `(N,)` in 0..1; higher is better (utility sets).

    Args:
        ratio: truth ratios R, `(N,)`.

    Raises:
        InputError: a ratio is negative or NaN.
    """
    return np.maximum(0, 1 - _ratios(ratio))


def knowledge(ratio: npt.ArrayLike) -> FloatArray:
    """`P(paraphrase) / (P(paraphrase) + mean P(wrong))` per item, `(N,)` in 0..1; lower is better on the forget set.

    open-unlearning's "prob_mean" when R is geometric.

    Args:
        ratio: truth ratios R, `(N,)`.

    Raises:
        InputError: a ratio is negative or NaN.
    """
    return 1 / (1 + _ratios(ratio))


def exact_memorization(hits: Sequence[npt.ArrayLike], *, but_last: bool = False) -> FloatArray:
    """Share of tokens whose teacher-forced argmax is right, `(N,)` in 0..1; lower is better on the forget set.

    Args:
        hits: for every scored token, whether the argmax equals it, N boolean arrays `(T_i,)`.
        but_last: leave out every item's last token, as open-unlearning does, and the items of one token with it.

    Raises:
        InputError: an item has no scored token, or none is left.
    """
    items = [item[:-1] for item in _hits(hits) if len(item) > 1] if but_last else _hits(hits)
    if not items:
        raise InputError("exact memorisation: every item has one token and none without its last; count all tokens.")
    return np.array([item.mean() for item in items])


def extraction_strength(
    hits: Sequence[npt.ArrayLike], *, ou_compat: bool = False, but_last: bool = False
) -> FloatArray:
    """Share of the answer that greedy decoding recites after the shortest sufficient prefix, `(N,)` in 0..1.

    `1 - k/n` with k the smallest prefix from which every argmax is right; one teacher-forced pass is enough because
    greedy decoding follows the truth as long as every argmax does. Lower is better on the forget set.

    Args:
        hits: for every scored token, whether the argmax equals it, N boolean arrays `(T_i,)`.
        ou_compat: reproduce open-unlearning's loop, which gives 1/n where no suffix is right.
        but_last: leave out every item's last token, as open-unlearning does; an item of one token scores 0.

    Raises:
        InputError: an item has no scored token.
    """
    items = [item[:-1] if but_last else item for item in _hits(hits)]
    suffix, length = (np.array([count(item) for item in items]) for count in (_right_suffix, len))
    suffix = np.where(length > 0, np.maximum(suffix, 1), 0) if ou_compat else suffix
    return suffix / np.maximum(length, 1)


def _right_suffix(hits: BoolArray) -> int:
    wrong = np.flatnonzero(~hits)
    return len(hits) if wrong.size == 0 else len(hits) - 1 - int(wrong[-1])


def _hits(hits: Sequence[npt.ArrayLike]) -> list[BoolArray]:
    return [item.astype(bool) for item in ragged(hits, "argmax hits")]


def _answers(nll_right: npt.ArrayLike, nll_wrong: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    right = vector(nll_right, "NLL of the right answer", finite=False)
    wrong = matrix(nll_wrong, "NLL of the wrong answers")
    if len(right) != len(wrong):
        raise InputError(f"truth ratio: {len(right)} right answers but {len(wrong)} rows of wrong ones; align them.")
    return right, wrong


def _ratios(ratio: npt.ArrayLike) -> FloatArray:
    values = vector(ratio, "truth ratio", finite=False)
    if (values < 0).any():
        raise InputError(f"truth ratio: item {int(np.argmax(values < 0))} is negative; pass R itself, not log R.")
    return values
