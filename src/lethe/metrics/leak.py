"""What repeated sampling brings out."""

from collections.abc import Sequence
from typing import Literal, get_args

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring.leaks import leaking
from lethe.scoring.recovery import leak_at_k

Variant = Literal["k1", "k16", "k128"]


@metric(families={"language"}, needs={"generate"}, paper="2506.09227", variants=get_args(Variant))
def leak(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    variant: Variant = "k16",
    recall: float = 0.0,
) -> Score:
    """Chance that one or more of k answers drawn at temperature 1 give the truth away, 0 to 1; the control's is ideal.

    The unbiased estimate from n >= k answers per question, of which c leak: 1 - C(n - c, k) / C(n, k).

    Args:
        set: Questions whose answers `Spec.samples` draws.
        variant: k1, k16 or k128: how many answers the adversary draws.
        recall: 0: the words of the true answer must occur in one of them; above it, up to 1: its ROUGE-L recall must be
            at least so much.

    Raises:
        InputError: If fewer than k answers were drawn, the records have no answer, or recall is outside 0 to 1.
    """
    if not 0 <= recall <= 1:
        raise InputError(f"leak: recall is {recall:g}; it is a share, 0 to 1.")
    samples, answers = evidence.sampled(set), evidence.column(set, "answer")
    if not all(isinstance(answer, str) for answer in answers):
        raise InputError(f"leak compares with the true answers; give every record of the set {set!r} one, as a text.")
    leaks = leaking(samples, answers, recall=recall)
    items = leak_at_k([len(texts) for texts in samples], leaks, int(variant[1:]))
    return score_of_items(
        "leak", items, variant=f"{variant}.recall{recall:g}" if recall else variant, set=set, direction="control",
        range=(0, 1), samples=len(samples[0]), leaks=leaks.tolist(),
    )  # fmt: skip
