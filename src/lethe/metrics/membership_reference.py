"""Membership inference against a reference: a text that the model likes more than another model does."""

from collections.abc import Sequence
from typing import Literal

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score
from lethe.scoring import membership as attacks
from lethe.scoring.roc import auc, auc_interval

VARIANTS = ("difference", "ratio", "per_byte")


@metric(families={"language"}, needs={"logits"}, paper="2012.07805", variants=VARIANTS, requires={"control"})
def membership_reference(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    against: str = "holdout",
    variant: Literal["difference", "ratio", "per_byte"] = "difference",
) -> Score:
    """AUC of telling forget from holdout records by the likelihood under the model against that under a reference.

    0 to 1, 1 = fully exposed; the ideal is the control's own value, read against another control. The reference is the
    first control (the retain model); from Python, the evidence of any other model, such as the pretrained one.

    Args:
        set: The records that were to be forgotten.
        against: Records of the same distribution that no model was trained on.
        variant: difference (mean log-likelihood, same tokenizer), ratio (-NLL / NLL of the reference, another attack),
            or per_byte (difference in bits per byte, for models with different tokenizers).

    Raises:
        InputError: If there is no holdout set or no reference, or the two models scored different tokens.
    """
    if not evidence.has(against):
        raise InputError(
            f"membership_reference needs the set {against!r}: records like the forget set, never trained on."
        )
    if not controls:
        raise InputError("membership_reference needs a reference: give the evidence of a control or pretrained model.")

    def scores(name: str):
        own, base = evidence.per_token(name), controls[0].per_token(name)
        if variant == "difference":
            return attacks.reference(own, base)
        if variant == "ratio":
            return attacks.reference_ratio(own, base)
        texts = [str(record.get("answer", record.get("text", ""))) for record in evidence.records[name]]
        return attacks.reference_per_byte(own, base, texts)

    members, others = scores(set), scores(against)
    low, high = auc_interval(members, others, seed=0)
    return Score(
        "membership_reference", variant, set, auc(members, others), low, high, len(members), "control", (0, 1),
        detail={"against": against, "n_against": len(others), "reference": controls[0].model},
    )  # fmt: skip
