"""What a linear classifier of the model's frozen features says of a record's label."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lethe.evidence import Evidence
from lethe.interior import PENULTIMATE
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring.representation import SPLIT_SEED, probe_hits


@metric(families={"classifier"}, paper="2503.06991")
def transfer_probe(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "retain",
    among: str = "",
    layer: str = PENULTIMATE,
    split_seed: int = SPLIT_SEED,
) -> Score:
    """Accuracy of a logistic regression on frozen features, 0 to 1; the control's value is ideal.

    Fitted on four fifths of the records and tested on the others. With `among` the classes of both sets are to be told
    apart and the records of `set` are scored: of a forget set, how well its classes can still be named among all. What
    a retrained model's features allow as well was never learnt from them: `detail` has the excess over the controls.

    Args:
        set: Records named in `Spec.interior`; 50 or more, those of `among` included.
        among: Set whose records are fitted and told apart as well; "" for none.
        layer: penultimate (what the last linear layer reads), another layer's name, or output for the logits.
        split_seed: Seed of the division.

    Raises:
        InputError: If the features were not observed, there is no such layer, or the records are too few or all alike.
    """
    sets = [set, *([among] if among not in ("", set) else [])]

    def items(seen: Evidence) -> np.ndarray:
        features = np.concatenate([seen.layer(name, layer) for name in sets])
        labels = [label for name in sets for label in seen.column(name, "label")]
        hits = probe_hits(features, labels, seed=split_seed)[: len(seen.column(set, "label"))]
        return hits[~np.isnan(hits)]

    own = items(evidence)
    told = [layer, *(f"among_{name}" for name in sets[1:])]
    told += [f"seed{split_seed}"] if split_seed != SPLIT_SEED else []
    detail: dict[str, Any] = {"layer": layer}
    if controls:
        detail["excess"] = float(own.mean() - np.mean([items(one).mean() for one in controls]))
    return score_of_items(
        "transfer_probe", own, set=set, variant=".".join(told), direction="control", range=(0, 1), **detail
    )
