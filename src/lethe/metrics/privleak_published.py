"""MUSE's PrivLeak where no retrained model is at hand: against the AUC that its authors recorded of theirs."""

from collections.abc import Sequence
from typing import Literal

from lethe.evidence import Evidence
from lethe.metrics.privleak import LARGEST, SHARE, scores
from lethe.registry import metric
from lethe.score import Score
from lethe.scoring import muse
from lethe.scoring.roc import auc, auc_interval


@metric(families={"language"}, needs={"logits"}, paper="2407.06460", variants=("news", "books"))
def privleak_published(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    against: str = "holdout",
    variant: Literal["news", "books"] = "news",
) -> Score:
    """PrivLeak of Min-40% against the recorded AUC of MUSE's retrained model, percent; for its 7B models and data only.

    The interval is that of the model's AUC; the reference is taken as exact.

    Args:
        set: The texts that were to be forgotten.
        against: Texts of the same kind that no model was trained on.
        variant: Corpus whose retrained model is the reference.

    Raises:
        InputError: Without a holdout set.
    """
    own = scores(evidence, set, against, SHARE)
    reference = 1 - muse.RETRAINED_AUC[variant]["min_k.k0.4"]
    area, ends = auc(*own), auc_interval(*own, seed=0)
    value, high, low = (muse.privleak(one, reference) for one in (area, *ends))
    detail = {
        "auc_exposed": area, "auc_muse": 1 - area, "control_exposed": reference, "control_muse": 1 - reference,
        "against": against, "n_against": len(own[1]),
    }  # fmt: skip
    name = "privleak_published"
    return Score(name, variant, set, value, low, high, len(own[0]), "control", (-100, LARGEST), "%", detail=detail)
