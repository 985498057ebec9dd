"""Jensen-Shannon divergence of the predictions from the control's."""

from collections.abc import Sequence

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring import divergence


@metric(families={"classifier"}, needs={"logits"}, paper="2205.08096", variants=("bits",), requires={"control"})
def js(evidence: Evidence, controls: Sequence[Evidence] = (), *, set: str = "forget") -> Score:
    """Jensen-Shannon divergence of the predictions from the control's, 0 to 1 bits: 0 = the same, lower is better.

    The mean over all controls. It is bounded and symmetric, unlike the KL of `distance`: one confident mistake does not
    outweigh all else.

    Args:
        set: Records named in `Spec.distributions`.

    Raises:
        InputError: Without a control, or where the distributions were not kept.
    """
    own = evidence.distribution(set)
    if not controls or not own:
        raise InputError(f"js@{set} needs a control and the distributions of the set {set!r}.")
    p = np.exp(np.concatenate(own))
    apart = [divergence.js(p, np.exp(np.concatenate(control.distribution(set)))) for control in controls]
    items = np.mean(apart, axis=0).reshape(len(own), -1).mean(axis=1)  # of several labels, their mean
    return score_of_items(
        "js", np.clip(items, 0, 1), variant="bits", set=set, direction="lower", range=(0, 1),
        unit="bits", controls=len(controls),
    )  # fmt: skip
