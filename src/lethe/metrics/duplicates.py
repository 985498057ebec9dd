"""How well texts of one duplicate level are remembered."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring.hubble import per_byte, word_recall

Variant = Literal["recall", "likelihood"]


@metric(families={"language"}, needs={"logits", "generate"}, paper="2510.19811", variants=("recall", "likelihood"))
def duplicates(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    variant: Literal["recall", "likelihood"] = "recall",
) -> Score:
    """Memorisation of the texts of a set, which is one level of duplicates; the ideal is the control's value.

    Texts of level 0 share the template of those that were inserted: their value is the floor of membership, and that of
    the standard model is the floor of knowledge.

    Args:
        set: Probe set of texts that were inserted equally often.
        variant: recall of the truth's words in the greedy continuation (0 to 1), or likelihood in nats per byte (below
            0, higher is better remembered), which compares texts of any tokenizer.

    Raises:
        InputError: If no continuation was generated.
    """
    items = scores(evidence, set, variant)
    bounds = (0, 1) if variant == "recall" else (-np.inf, 0)
    unit = "" if variant == "recall" else "nats/byte"
    direction = "higher" if set == "retain" else "control"
    return score_of_items("duplicates", items, variant=variant, set=set, direction=direction, range=bounds, unit=unit)


def scores(evidence: Evidence, set: str, variant: Variant) -> np.ndarray:
    """The score of every text of the set, (N,)."""
    texts = [str(record.get("answer", record.get("text", ""))) for record in evidence.records.get(set, ())]
    if variant == "likelihood":
        return per_byte(evidence.per_token(set), texts)
    said = evidence.generated(set)
    if not said:
        raise InputError(f"duplicates reads generated texts, and none were asked for of the set {set!r}.")
    return np.array([word_recall(one, [text]) for one, text in zip(said, texts, strict=True)])
