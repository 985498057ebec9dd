"""How much of the way to a retrained model the representations have gone, beside how much the answers have."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.interior import PENULTIMATE
from lethe.registry import metric
from lethe.score import Score
from lethe.scoring.representation import (
    OPEN,
    SURE,
    gap_closed,
    is_superficial,
    likeness_gap,
)
from lethe.scoring.similarity import cka

Variant = Literal["cka", "g_rep"]


@metric(
    families={"classifier"},
    paper="2503.06991",
    variants=get_args(Variant),
    requires={"control", "original"},
)
def representation_gap(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    original: Evidence | None = None,
    *,
    set: str = "forget",
    variant: Variant = "cka",
    layer: str = PENULTIMATE,
) -> Score:
    """Share of the distance from the original's to retrained representations that was closed: 0 = none, 1 = all.

    Below 0 they have gone elsewhere. `detail` says how far the original is from the controls beyond their own distance,
    with its standard error, how far the representations moved as a share of what retraining moves them, how much of the
    gap in forget accuracy was closed, and whether the edit is superficial: the answers went (more than 90 % of that
    gap) and the representations stayed (less than 10 % closed and moved). Where the original is no farther from the
    controls than two seeds of retraining are from each other, representations tell nothing, and nothing is concluded.

    Args:
        set: Records on which representations are compared, named in `Spec.interior`; answers are those of forget.
        variant: cka: debiased CKA to the controls, of which the controls' own is the end of the way; g_rep: the same,
            the end being 1, which no retrained model reaches.
        layer: penultimate (what the last linear layer reads), another layer's name, or output for the logits.

    Raises:
        InputError: Without the original and two controls, or where the original cannot be told from the controls.
    """
    if original is None:
        raise InputError("representation_gap reads the model before unlearning; give its evidence.")
    models = (evidence, original, *controls)
    states = [one.layer(set, layer) for one in models]
    gap = likeness_gap(states[1], states[2:])
    own, start = (float(np.mean([cka(rows, other) for other in states[2:]])) for rows in states[:2])
    if not gap.told_apart:
        raise InputError(
            f"representation_gap: on the set {set!r} the original is {gap.value:.3f} farther from the controls than "
            f"these are from each other, with a standard error of {gap.error:.3f}; less than {SURE:g} of them decide "
            "nothing, so give more controls or records, or forget what matters to these."
        )
    value, unknown = gap_closed(own, start, start + gap.value if variant == "cka" else 1.0), float("nan")
    moved = (1 - cka(states[0], states[1])) / (1 - start)
    return Score(
        "representation_gap", variant if layer == PENULTIMATE else f"{variant}.{layer}", set, value, unknown, unknown,
        len(states[0]), "higher", (-np.inf, np.inf),
        detail={"layer": layer, "likeness": own, "original": start, "controls": start + gap.value, "moved": moved,
                "gap": gap.value, "error": gap.error, **_answers(models, value, moved)},
    )  # fmt: skip


def _answers(models: Sequence[Evidence], value: float, moved: float) -> dict[str, Any]:
    """What became of the gap in forget accuracy beside that in representations."""
    known = [float(np.mean([hit[0] for hit in one.per_token("forget", what="hit")])) for one in models]
    retrained = float(np.mean(known[2:]))
    if known[1] - retrained < OPEN:
        return {"superficial": None, "accuracy_closed": None}
    closed = gap_closed(known[0], known[1], retrained)
    return {"superficial": is_superficial(closed, value, moved), "accuracy_closed": closed}
