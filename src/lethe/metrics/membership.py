"""Membership inference: can the forget set be told from records never seen?"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score
from lethe.scoring import membership as attacks
from lethe.scoring.roc import auc, auc_interval

Variant = Literal["loss", "min_k", "min_k_pp", "zlib"]
SHARE = 0.2  # the published one; any other stands in the name


@metric(needs={"logits"}, paper="2402.07841", variants=("loss", "min_k", "min_k_pp", "zlib"))
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

    Scores are oriented high = member. An AUC near 0 gives the forget set away as much as one near 1.

    Args:
        set: The records that were to be forgotten.
        against: Records of the same distribution that no model was trained on.
        variant: loss, min_k (Min-K%), min_k_pp (Min-K%++), or zlib (texts only).
        k: Share of the lowest tokens for Min-K, 0 to 1.

    Raises:
        InputError: If there is no holdout set.
    """
    if not evidence.has(against):
        raise InputError(
            f"membership needs the set {against!r}: records like the forget set that were never trained on."
        )
    members, others = (_scores(evidence, name, variant, k) for name in (set, against))
    low, high = auc_interval(members, others, seed=0)
    named = f"{variant}.k{k:g}" if variant.startswith("min_k") and k != SHARE else variant
    return Score(
        "membership", named, set, auc(members, others), low, high, len(members), "control", (0, 1),
        detail={"against": against, "n_against": len(others)},
    )  # fmt: skip


def _scores(evidence: Evidence, name: str, variant: Variant, k: float) -> np.ndarray:
    logp = evidence.per_token(name)
    if variant == "loss":
        return attacks.loss(logp)
    if variant == "zlib":
        texts = [str(record.get("answer", record.get("text", ""))) for record in evidence.records[name]]
        return attacks.zlib(logp, texts)
    if variant == "min_k":
        return attacks.min_k(logp, k=k)
    mean, std = evidence.per_token(name, what="mean"), evidence.per_token(name, what="std")
    return attacks.min_k_pp(logp, mean, std, k=k)
