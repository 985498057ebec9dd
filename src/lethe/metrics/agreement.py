"""How much of its answers before unlearning a model still gives."""

from collections.abc import Sequence
from typing import Literal, get_args

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring.bleu import bleu
from lethe.scoring.rouge import overlap

Variant = Literal["rougeL_f1", "bleu", "bleu.official"]
KEPT = ("retain", "unrelated")  # sets on which nothing should change


@metric(families={"language"}, needs={"generate"}, paper="2406.11614", variants=get_args(Variant))
def agreement(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    variant: Literal["rougeL_f1", "bleu", "bleu.official"] = "rougeL_f1",
) -> Score:
    """Agreement of the greedy answers with those in the records, 0 to 1; of a concept's sets lower is better forgotten.

    What the records hold are the answers of the model before unlearning, not the truth: a model may agree in its
    mistakes, and one that never knew the concept agrees by chance (which is the ideal on the forget side).

    Args:
        set: Probe set.
        variant: rougeL_f1 (symmetric), bleu, or bleu.official, which takes the new answer as reference as the released
            code does.

    Raises:
        InputError: If no answers were generated for the set.
    """
    said, before = evidence.generated(set), [str(text) for text in evidence.column(set, "answer")]
    if not said:
        raise InputError(f"agreement reads generated answers, and none were asked for of the set {set!r}.")
    if variant == "rougeL_f1":
        items = overlap(variant, said, before)
    else:
        items = bleu(before, said) if variant == "bleu.official" else bleu(said, before)
    direction = "higher" if set in KEPT else "control"
    return score_of_items("agreement", items, variant=variant, set=set, direction=direction, range=(0, 1))
