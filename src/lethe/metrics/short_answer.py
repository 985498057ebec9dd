"""Short answers against lists of true ones."""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring.rwku import answer_f1, reasoned_answer

Variant = Literal["f1", "em.reasoned", "em.released"]
SCORERS: dict[str, Callable[[str, Sequence[str]], float]] = {
    "f1": answer_f1,
    "em.reasoned": lambda output, answers: float(answer_f1(reasoned_answer(output), answers) == 1),
    "em.released": lambda output, answers: float(answer_f1(reasoned_answer(output, released=True), answers) == 1),
}


@metric(families={"language"}, needs={"generate"}, paper="2406.10890", variants=get_args(Variant))
def short_answer(
    evidence: Evidence, controls: Sequence[Evidence] = (), *, set: str = "forget", variant: Variant = "f1"
) -> Score:
    """Agreement of the greedy answer with the best of the true ones, words alone, 0 to 1.

    Case, punctuation and articles do not count. The true answers are the field `answers`, or else `answer`.

    Args:
        set: Probe set.
        variant: f1 over words (RWKU's TriviaQA); em.reasoned compares what follows "the answer is" (its BBH), and
            em.released finds that with the released expression, which needs a final period.

    Raises:
        InputError: If nothing was generated for the set.
    """
    truths = evidence.column(set, "answers")
    truths = [many or [one] for many, one in zip(truths, evidence.column(set, "answer"), strict=True)]
    said = evidence.generated(set)
    if len(said) != len(truths):
        raise InputError(f"short_answer: nothing was generated for the set {set!r}; name it in the spec's `generate`.")
    items = [SCORERS[variant](output, list(map(str, many))) for output, many in zip(said, truths, strict=True)]
    direction = "control" if set.startswith(("forget", "holdout")) else "higher"
    return score_of_items("short_answer", items, variant=variant, set=set, direction=direction, range=(0, 1))
