"""MUSE's VerbMem: is the text still continued word by word?"""

from collections.abc import Sequence
from typing import get_args

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring.muse import TRUTH_TOKENS, Truth, overlap

CUT = "truth_{variant}"  # field with the truth as far as it is compared; benchmarks that know the tokenizer give it


@metric(families={"language"}, needs={"generate"}, paper="2407.06460", variants=get_args(Truth))
def verbmem(
    evidence: Evidence, controls: Sequence[Evidence] = (), *, set: str = "forget", variant: Truth = "muse"
) -> Score:
    """VerbMem: ROUGE-L F1 of the greedy continuation of a text's beginning, 0 to 1; MUSE prints it x100.

    Truth and output are to be of one length: the F1 punishes what goes on. A truth that is not cut in the field
    `truth_VARIANT` is compared whole if it has at most 128 tokens.

    Args:
        set: Probe set with beginnings and continuations.
        variant: muse cuts the truth one token short of what is generated (it counts the one for the beginning of
            sequence); corrected cuts it to the same length; open_unlearning cuts nothing and stems the words.

    Raises:
        InputError: If nothing was generated for the set, or a truth is longer and not cut.
    """
    truths = evidence.column(set, CUT.format(variant=variant))
    if None in truths:
        truths = evidence.column(set, "answer")
        if None in truths:
            raise InputError(f"verbmem@{set}: the records have no answer; VerbMem needs beginnings and continuations.")
        longest = int(evidence.sizes(set).max())
        if variant != "open_unlearning" and longest > TRUTH_TOKENS:
            raise InputError(
                f"verbmem@{set}: a truth has {longest} tokens, and {TRUTH_TOKENS} are compared; give it cut as the "
                f"field {CUT.format(variant=variant)!r}."
            )
    stemmed = "open_unlearning" if variant == "open_unlearning" else "muse"
    items = overlap(evidence.generated(set), [str(text) for text in truths], variant=stemmed)
    direction = "higher" if set.startswith("retain") else "control"
    return score_of_items("verbmem", items, variant=variant, set=set, direction=direction, range=(0, 1))
