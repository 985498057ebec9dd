"""How far what a model remembers of single texts is from what its twin does."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.metrics.duplicates import scores
from lethe.registry import metric
from lethe.score import Score, score_of_items


@metric(
    families={"language"},
    needs={"logits", "generate"},
    paper="2510.19811",
    variants=("likelihood", "recall"),
    requires={"control"},
)
def twin_gap(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    variant: Literal["likelihood", "recall"] = "likelihood",
) -> Score:
    """Mean absolute difference from the control's score of the same text; lower is better, 0 is the twin itself.

    The mean over the controls. Hubble's ideal is the standard model on the texts to be forgotten and the perturbed one
    on the rest; a control trained with all other insertions is both in one.

    Args:
        set: Probe set of texts.
        variant: likelihood in nats per byte, or recall of the truth's words (0 to 1).

    Raises:
        InputError: Without a control.
    """
    if not controls:
        raise InputError("twin_gap compares with a control; give one (trained without the forget set).")
    own = scores(evidence, set, variant)
    items = np.mean([np.abs(own - scores(control, set, variant)) for control in controls], axis=0)
    bounds = (0, 1) if variant == "recall" else (0, np.inf)
    unit = "" if variant == "recall" else "nats/byte"
    return score_of_items("twin_gap", items, variant=variant, set=set, direction="lower", range=bounds, unit=unit)
