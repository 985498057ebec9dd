"""Interclass confusion: are two classes still mixed up that were swapped in the forget set?"""

from collections.abc import Sequence

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring import classification


@metric(families={"classifier"}, needs={"logits"}, paper="2201.06640")
def interclass_confusion(
    evidence: Evidence, controls: Sequence[Evidence] = (), *, set: str = "test", classes: tuple[int, ...] = (0, 1)
) -> Score:
    """Share of the records of two classes that are taken for the other one, 0 to 1; the ideal is the control's value.

    For requests whose forget records carry each other's label: a model that learnt them confuses the two wherever it
    meets them, and forgetting must undo that in records that are no part of the request.

    Args:
        set: Records with their true labels.
        classes: The two classes, such as 3,5.

    Raises:
        InputError: If two classes are not given, the set or its distributions were not observed, or it holds no record
            of either class.
    """
    if len(classes) != 2:
        raise InputError(f"interclass_confusion: classes are {classes}; name two of them, such as 3,5.")
    first, second = classes
    logp = evidence.distribution(set)
    labels = evidence.column(set, "label")[: len(logp)]
    if None in labels:
        raise InputError(f"interclass_confusion reads the label of every record of the set {set!r}.")
    said = [int(np.argmax(rows[0])) for rows in logp]
    items = classification.interclass_confusion(said, labels, first, second)
    return score_of_items(
        "interclass_confusion", items, variant=f"{first}-{second}", set=set, direction="control", range=(0, 1)
    )
