"""Membership inference: can the forget set be told from records never seen?"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score
from lethe.scoring import membership as attacks
from lethe.scoring.roc import auc, auc_interval
from lethe.scoring.variants import zlib_text

SHARE = 0.2  # the published one; any other stands in the name
CODE_SHARE = 0.4  # that of muse_bench and open-unlearning
Variant = Literal[
    "loss", "zlib", "zlib.text", "min_k", "min_k.ou", "min_k_pp", "min_k_pp.ou", "window_min_k", "lowercase",
    "lowercase.detect_pretrain", "neighbourhood", "recall", "grad_norm", "grad_norm.ou", "grad_norm.global",
]  # fmt: skip


@metric(needs={"logits"}, paper="2402.07841", variants=get_args(Variant))
def membership(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    against: str = "holdout",
    variant: Variant = "loss",
    k: float = SHARE,
) -> Score:
    """AUC of telling forget from holdout records, 0 to 1: 1 = fully exposed; the ideal is the control's value.

    Scores are oriented high = member. An AUC near 0 gives the forget set away as much as one near 1. `lowercase`,
    `neighbourhood` and `recall` read texts that `lethe.data.derived` gives the records, `grad_norm` the gradients that
    `Spec.gradients` asks for.

    Args:
        set: The records that were to be forgotten.
        against: Records of the same distribution that no model was trained on.
        variant: loss; zlib (texts only, by the bytes of the answer; .text counts the question's, too); min_k (Min-K%),
            min_k_pp (Min-K%++), and both as open-unlearning has them (.ou: 40 %, without the last token); window_min_k
            (windows of 4 tokens); lowercase (-NLL / NLL lower-cased, or .detect_pretrain its other form);
            neighbourhood; recall (ReCaLL); grad_norm (mean over tensors of the inf-norm, MIMIR; .ou of the 2-norm,
            open-unlearning; .global the 2-norm of all together).
        k: Share of the lowest tokens for Min-K, 0 to 1; those of .ou stay at 0.4.

    Raises:
        InputError: If there is no holdout set, or what the variant reads was not observed.
    """
    if not evidence.has(against):
        raise InputError(
            f"membership needs the set {against!r}: records like the forget set that were never trained on."
        )
    members, others = (SCORES[variant](evidence, name, k) for name in (set, against))
    low, high = auc_interval(members, others, seed=0)
    shares = "min_k" in variant and not variant.endswith(".ou") and k != SHARE
    return Score(
        "membership", f"{variant}.k{k:g}" if shares else variant, set, auc(members, others), low, high, len(members),
        "control", (0, 1), detail={"against": against, "n_against": len(others)},
    )  # fmt: skip


def _z(evidence: Evidence, name: str) -> list[np.ndarray]:
    own, mean, std = (evidence.per_token(name, what=what) for what in ("logp", "mean", "std"))
    return attacks.z_scores(own, mean, std)


def _zlib(evidence: Evidence, name: str, k: float) -> np.ndarray:
    logp = evidence.per_token(name)
    texts = [str(record.get("answer", record.get("text", ""))) for record in evidence.records[name]]
    return attacks.zlib(logp, texts)


def _zlib_text(evidence: Evidence, name: str, k: float) -> np.ndarray:
    logp, fields = evidence.per_token(name), (("question", "raw_prompt"), ("answer", "text"))
    asked, said = ([str(r.get(a, r.get(b, ""))) for r in evidence.records[name]] for a, b in fields)
    return zlib_text(logp, asked, said)


def _lowercase(evidence: Evidence, name: str, form: Literal["muse", "detect_pretrain"]) -> np.ndarray:
    return attacks.lowercase(evidence.per_token(name), evidence.per_token(name, "lowercase"), variant=form)


def _neighbourhood(evidence: Evidence, name: str, k: float) -> np.ndarray:
    around = -evidence.nll(name, "neighbours")  # (N, M): every neighbour by its mean, a sequence of one value
    return attacks.neighbourhood(evidence.per_token(name), list(around[:, :, None]))


def _recall(evidence: Evidence, name: str, k: float) -> np.ndarray:
    plain, prefixed = evidence.per_token(name), evidence.per_token(name, "prefixed")
    if all(len(own) + 1 == len(after) for own, after in zip(plain, prefixed, strict=True)):
        prefixed = [after[1:] for after in prefixed]  # behind a prefix the first token has a prediction, too
    return attacks.recall(plain, prefixed)


SCORES: Mapping[str, Callable[[Evidence, str, float], np.ndarray]] = {
    "loss": lambda evidence, name, k: attacks.loss(evidence.per_token(name)),
    "zlib": _zlib,
    "zlib.text": _zlib_text,
    "min_k": lambda evidence, name, k: attacks.min_k(evidence.per_token(name), k=k),
    "min_k.ou": lambda evidence, name, k: attacks.min_k(attacks.but_last(evidence.per_token(name)), k=CODE_SHARE),
    "min_k_pp": lambda evidence, name, k: attacks.min_k(_z(evidence, name), k=k),
    "min_k_pp.ou": lambda evidence, name, k: attacks.min_k(attacks.but_last(_z(evidence, name)), k=CODE_SHARE),
    "window_min_k": lambda evidence, name, k: attacks.window_min_k(evidence.per_token(name), k=k),
    "lowercase": lambda evidence, name, k: _lowercase(evidence, name, "muse"),
    "lowercase.detect_pretrain": lambda evidence, name, k: _lowercase(evidence, name, "detect_pretrain"),
    "neighbourhood": _neighbourhood,
    "recall": _recall,
    "grad_norm": lambda evidence, name, k: attacks.grad_norm(evidence.gradient_norms(name, "inf")),
    "grad_norm.ou": lambda evidence, name, k: attacks.grad_norm(evidence.gradient_norms(name, "2")),
    "grad_norm.global": lambda evidence, name, k: attacks.grad_norm(evidence.gradient_norms(name, "2"), over="global"),
}
