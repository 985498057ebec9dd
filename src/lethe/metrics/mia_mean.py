"""Membership scores of texts about a target, without an AUC."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring import membership

Variant = Literal["loss", "zlib", "min_k", "min_k_pp"]
SHARE = 0.2  # the published one; any other stands in the name


@metric(families={"language"}, needs={"logits"}, paper="2406.10890", variants=get_args(Variant))
def mia_mean(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    variant: Variant = "loss",
    k: float = SHARE,
) -> Score:
    """Mean membership score of a set of texts, as a loss: high = the texts have become strange; ideal is the control's.

    RWKU's FM and RM, which the paper prints x100. Its code keeps the other sign, and its field "mink20" is Min-K%++.
    The texts are not known training data, so a value means little alone: see mia_shift.

    Args:
        set: Texts about the targets, or about others.
        variant: loss (nats per token), zlib (nats per token and byte), min_k or min_k_pp (the lowest tokens).
        k: Share of the lowest tokens for Min-K, 0 to 1.
    """
    items = losses(evidence, set, variant, k)
    unit = {"loss": "nats/token", "zlib": "nats/token/byte", "min_k": "nats/token", "min_k_pp": "deviations"}[variant]
    return score_of_items(
        "mia_mean", items, variant=named(variant, k), set=set, direction="control", range=(-np.inf, np.inf), unit=unit
    )


def losses(evidence: Evidence, name: str, variant: Variant, k: float) -> np.ndarray:
    """The score of every text of a set, (N,), high = strange."""
    logp = evidence.per_token(name)
    if variant == "loss":
        return -membership.loss(logp)
    if variant == "zlib":
        texts = [str(record.get("text", record.get("answer", ""))) for record in evidence.records[name]]
        return -membership.zlib(logp, texts)
    if variant == "min_k":
        return -membership.min_k(logp, k=k)
    mean, std = evidence.per_token(name, what="mean"), evidence.per_token(name, what="std")
    return -membership.min_k_pp(logp, mean, std, k=k)


def named(variant: Variant, k: float) -> str:
    """The variant's name with its share where that is not the published one."""
    return f"{variant}.k{k:g}" if variant.startswith("min_k") and k != SHARE else variant
