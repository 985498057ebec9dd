"""One name, several published definitions: every variant under its own name, and who reports which.

Numbers of different variants must not share a column: `one_variant` refuses to join them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError
from lethe.registry import did_you_mean
from lethe.scoring import membership, memorization, muse, roc, rouge
from lethe.scoring.arrays import FloatArray, vector

OU_EPSILON = 1e-10


def truth_ratio_ou(nll_paraphrase: npt.ArrayLike, nll_wrong: npt.ArrayLike) -> FloatArray:
    """open-unlearning's truth ratio, `(N,)`: geometric, with 1e-10 added to the divisor.

    Args:
        nll_paraphrase: mean NLL of the paraphrased right answer, `(N,)` nats.
        nll_wrong: mean NLL of the K wrong answers, `(N, K)` nats.
    """
    right = memorization.probability(nll_paraphrase)
    return memorization.truth_ratio(nll_paraphrase, nll_wrong) * right / (right + OU_EPSILON)


def truth_ratio_forget_score_ou(ratio: npt.ArrayLike) -> FloatArray:
    """open-unlearning's forget score `min(R, 1 / (R + 1e-10))`, `(N,)` in 0..1.

    Args:
        ratio: truth ratios R, `(N,)`.
    """
    values = vector(ratio, "truth ratio", finite=False)
    return np.minimum(values, 1 / (values + OU_EPSILON))


def perplexity(logp: Sequence[npt.ArrayLike]) -> FloatArray:
    """`exp(mean NLL)` of every text, `(N,)`, at least 1; muse_bench's "PPL" is the mean NLL itself.

    Args:
        logp: log-probability of every scored token, N arrays `(T_i,)`, in nats.
    """
    return np.exp(-membership.loss(logp))


def zlib_answer(logp: Sequence[npt.ArrayLike], questions: Sequence[str], answers: Sequence[str]) -> FloatArray:
    """Zlib score by the bytes of the answer alone, `(N,)` (open-unlearning)."""
    return membership.zlib(logp, answers)


def zlib_text(logp: Sequence[npt.ArrayLike], questions: Sequence[str], answers: Sequence[str]) -> FloatArray:
    """Zlib score by the bytes of question and answer, `(N,)` (muse_bench, whose texts have no question)."""
    return membership.zlib(logp, [f"{q} {a}".strip() for q, a in zip(questions, answers, strict=True)])


def _auc_muse(members: npt.ArrayLike, nonmembers: npt.ArrayLike) -> float:
    return 1 - roc.auc(members, nonmembers)


def _tpr(members: npt.ArrayLike, nonmembers: npt.ArrayLike, fpr: float, *, inclusive: bool) -> float:
    return roc.tpr_at_fpr(members, nonmembers, fpr, inclusive=inclusive).tpr


def _min_k_ou(logp: Sequence[npt.ArrayLike], *, k: float = 0.4) -> FloatArray:
    return membership.min_k(membership.but_last(logp), k=k)


# Name of the metric -> name of the variant -> function. All functions of one metric take the same arguments.
VARIANTS: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "truth_ratio": {
        "arithmetic": partial(memorization.truth_ratio, kind="arithmetic"),
        "geometric": memorization.truth_ratio,
        "geometric.ou": truth_ratio_ou,
    },
    "truth_ratio_forget": {
        "tofu": memorization.truth_ratio_forget_score,
        "ou": truth_ratio_forget_score_ou,
    },
    "extraction_strength": {
        "paper": memorization.extraction_strength,
        "ou": partial(memorization.extraction_strength, ou_compat=True),
        "but_last": partial(memorization.extraction_strength, but_last=True),
        "ou.but_last": partial(memorization.extraction_strength, ou_compat=True, but_last=True),
    },
    "exact_memorization": {
        "all": memorization.exact_memorization,
        "but_last": partial(memorization.exact_memorization, but_last=True),
    },
    "rouge": rouge.VARIANTS,
    "min_k": {
        "k0.2": partial(membership.min_k, k=0.2),
        "k0.4": partial(membership.min_k, k=0.4),
        "k0.4.but_last": _min_k_ou,
    },
    "loss": {"nll": lambda logp: -membership.loss(logp), "perplexity": perplexity},
    "lowercase": {
        "muse": membership.lowercase,
        "detect_pretrain": partial(membership.lowercase, variant="detect_pretrain"),
    },
    "zlib": {"text": zlib_text, "answer": zlib_answer},
    "reference": {"difference": membership.reference, "ratio": membership.reference_ratio},
    "grad_norm": {"mean": membership.grad_norm, "global": partial(membership.grad_norm, over="global")},
    "auc": {"exposed": roc.auc, "muse": _auc_muse},
    "tpr_at_fpr": {"at_most": partial(_tpr, inclusive=True), "below": partial(_tpr, inclusive=False)},
    "privleak": {
        "muse": muse.privleak,
        "ou": partial(muse.privleak, variant="open_unlearning"),
    },
}

# What each code base means by the metric's bare name.
REPORTED: Mapping[str, Mapping[str, str]] = {
    "tofu": {"truth_ratio": "geometric", "truth_ratio_forget": "tofu", "rouge": "rougeL_recall.stem"},
    "tofu.utilities": {"truth_ratio": "arithmetic", "truth_ratio_forget": "tofu", "rouge": "rougeL_recall.stem"},
    "muse_bench": {
        "rouge": "rougeL_f1", "min_k": "k0.4", "loss": "nll", "lowercase": "muse", "zlib": "text", "auc": "muse",
        "privleak": "muse",
    },
    "open-unlearning": {
        "truth_ratio": "geometric.ou", "truth_ratio_forget": "ou", "extraction_strength": "ou.but_last",
        "exact_memorization": "but_last", "rouge": "rougeL_recall.stem",
        "min_k": "k0.4.but_last", "loss": "nll", "zlib": "answer", "grad_norm": "mean",
        "auc": "exposed", "privleak": "ou",
    },
    "open-unlearning.muse": {"rouge": "rougeL_f1.stem"},
    "rwku": {"rouge": "rougeL_recall.rwku", "loss": "nll", "zlib": "text"},
    "detect-pretrain": {"min_k": "k0.2", "lowercase": "detect_pretrain"},
    "mimir": {"grad_norm": "mean", "reference": "difference"},
    "min-k++": {"tpr_at_fpr": "at_most", "auc": "exposed"},
    "tddbench": {"tpr_at_fpr": "below", "auc": "exposed"},
}  # fmt: skip


class Name(NamedTuple):
    """A qualified name such as `rouge.rougeL_recall.stem@forget`, taken apart."""

    metric: str
    variant: str
    set: str


def reported(code_base: str, metric: str) -> str:
    """The variant that a code base prints under the bare name of a metric.

    Raises:
        InputError: there is no such code base, or it does not report that metric.
    """
    if code_base not in REPORTED:
        near = did_you_mean(code_base, REPORTED)
        raise InputError(f"variants: no code base {code_base!r} is known{near}; use one of {', '.join(REPORTED)}.")
    known = REPORTED[code_base]
    if metric not in known:
        near = did_you_mean(metric, known)
        raise InputError(f"{code_base}: reports no {metric!r}{near}; it reports {', '.join(known)}.")
    return known[metric]


def take_apart(name: str) -> Name:
    """The parts of a score's qualified name `METRIC[.VARIANT]@SET`.

    Raises:
        InputError: the name has no set.
    """
    qualified, at, probes = name.partition("@")
    if not at or not qualified or not probes:
        raise InputError(f"score {name!r}: is no qualified name; write METRIC.VARIANT@SET.")
    metric, _, variant = qualified.partition(".")
    return Name(metric, variant, probes)


def one_variant(names: Iterable[str]) -> Name:
    """The common name of numbers that are to stand in one column; what differs in variant or set is refused.

    Args:
        names: the qualified name of every number.

    Raises:
        InputError: no number, or two that differ, with both names.
    """
    first: str | None = None
    for name in names:
        first = first or name
        if take_apart(name) != take_apart(first):
            raise InputError(f"column of {first}: {name} is another quantity; give each variant a column of its own.")
    if first is None:
        raise InputError("column: there are no numbers to join; give at least one.")
    return take_apart(first)
