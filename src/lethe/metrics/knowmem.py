"""MUSE's KnowMem: are questions about the text still answered?"""

from collections.abc import Sequence
from typing import get_args

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring.muse import Overlap, cut_answer, overlap


@metric(families={"language"}, needs={"generate"}, paper="2407.06460", variants=get_args(Overlap))
def knowmem(
    evidence: Evidence, controls: Sequence[Evidence] = (), *, set: str = "forget", variant: Overlap = "muse"
) -> Score:
    """KnowMem: ROUGE-L F1 of the greedy answer up to where the model asks itself on, 0 to 1; MUSE prints it x100.

    On questions about the retain set it is MUSE's utility.

    Args:
        set: Probe set with questions and answers.
        variant: muse does not stem, open_unlearning does.

    Raises:
        InputError: If nothing was generated for the set, or its records have no answers.
    """
    truths = evidence.column(set, "answer")
    if None in truths:
        raise InputError(f"knowmem@{set}: the records have no answer; KnowMem needs questions and answers.")
    said = [cut_answer(text) for text in evidence.generated(set)]
    items = overlap(said, [str(text) for text in truths], variant=variant)
    direction = "higher" if set.startswith("retain") else "control"
    return score_of_items("knowmem", items, variant=variant, set=set, direction=direction, range=(0, 1))
