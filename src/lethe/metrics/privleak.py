"""MUSE's PrivLeak: does the loss still, or all the more, tell who was to be forgotten?"""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score
from lethe.scoring import membership, muse
from lethe.scoring.roc import auc

Variant = Literal["absolute", "muse", "open_unlearning"]
SHARE = 0.4  # of the tokens; any other stands in the name
LARGEST = 400.0  # against the least reference that is accepted


@metric(families={"language"}, needs={"logits"}, paper="2407.06460", variants=get_args(Variant), requires={"control"})
def privleak(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    against: str = "holdout",
    variant: Variant = "absolute",
    k: float = SHARE,
) -> Score:
    """PrivLeak: AUC of Min-K% against the retrained model's, percent; 0 is its ideal, either sign is a leak.

    -100 is full exposure, above 0 the forget texts are less likely than texts that were never read. The reference is
    the controls' mean AUC; the detail holds both AUCs, exposed (1 = the forget set is memorised) and as MUSE turns them
    (0 is). The interval resamples the texts, the same ones in all models; the controls' spread is not in it.

    Args:
        set: The texts that were to be forgotten.
        against: Texts of the same kind that no model was trained on.
        variant: absolute is the size without the sign, which is what is to be small; muse has the sign;
            open_unlearning leaves the last token of every text out and adds 1e-10 to the divisor.
        k: Share of the lowest tokens for Min-K, 0 to 1.

    Raises:
        InputError: Without a control or a holdout set, or where the controls' AUC lies outside 0.2 to 0.8: then they
            are no retrained models.
    """
    if not controls:
        raise InputError(f"privleak@{set} compares with a control; give one (retrained without the forget set).")
    own, *others = (scores(one, set, against, k, variant) for one in (evidence, *controls))
    area, reference = auc(*own), float(np.mean([auc(*other) for other in others]))
    value = muse.privleak(area, reference)
    low, high = muse.privleak_interval(own, others, seed=0)
    if variant == "open_unlearning":  # the divisor is the same in all three
        scale = muse.privleak(1.0, reference, variant=variant) / muse.privleak(1.0, reference)
        value, low, high = value * scale, low * scale, high * scale
    if variant == "absolute":
        ends = sorted((abs(low), abs(high)))
        value, low, high = abs(value), 0.0 if low <= 0 <= high else ends[0], ends[1]
    named = variant if k == SHARE else f"{variant}.k{k:g}"
    span, direction = ((0, LARGEST), "lower") if variant == "absolute" else ((-100, LARGEST), "control")
    detail = {
        "auc_exposed": area, "auc_muse": 1 - area, "control_exposed": reference, "control_muse": 1 - reference,
        "against": against, "n_against": len(own[1]),
    }  # fmt: skip
    return Score("privleak", named, set, value, low, high, len(own[0]), direction, span, "%", detail=detail)


def scores(
    evidence: Evidence, name: str, against: str, k: float, variant: Variant = "muse"
) -> tuple[np.ndarray, np.ndarray]:
    """Min-K% scores (high = member) of the texts to forget and of the holdout's."""
    if not evidence.has(against):
        raise InputError(f"privleak needs the set {against!r}: texts like the forget set that were never trained on.")
    tokens = [evidence.per_token(one) for one in (name, against)]
    if variant == "open_unlearning":
        tokens = [membership.but_last(one) for one in tokens]
    members, nonmembers = (membership.min_k(one, k=k) for one in tokens)
    return members, nonmembers
