"""How far the model's answers stand from the control's."""

from collections.abc import Sequence

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring.divergence import kl_per_item


@metric(needs={"logits"}, variants=("kl",), requires={"control"})
def distance(evidence: Evidence, controls: Sequence[Evidence] = (), *, set: str = "forget") -> Score:
    """Distance to the control: mean per-token KL(control || model) on the answers, nats per token, lower is better.

    The mean over all controls. A control's own row is read against the other controls: that is the seed spread, and
    the smallest value a perfect method can be told from.

    Args:
        set: Probe set whose answer distributions were kept (forget or retain).

    Raises:
        InputError: Without a control, or where the distributions were not kept.
    """
    own = evidence.distribution(set)
    if not controls or not own:
        raise InputError(f"distance@{set} needs a control and the answer distributions of the set {set!r}.")
    items = np.mean([kl_per_item(control.distribution(set), own) for control in controls], axis=0)
    return score_of_items(
        "distance", items, variant="kl", set=set, direction="lower", range=(0, np.inf), unit="nats/token",
        controls=len(controls),
    )  # fmt: skip
