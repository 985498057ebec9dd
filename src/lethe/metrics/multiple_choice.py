"""Accuracy on multiple-choice questions, as published and guarded against what looks like forgetting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring import multiple_choice as scoring

Variant = Literal["letter", "macro", "corrected", "rotations", "calibrated", "text"]
KEPT = ("retain", "mmlu")  # sets of what must stay; on all others the ideal is the control's value


@metric(
    families={"language"},
    needs={"logits"},
    paper="2403.03218",
    variants=("letter", "macro", "corrected", "rotations", "calibrated", "text"),
)
def multiple_choice(
    evidence: Evidence, controls: Sequence[Evidence] = (), *, set: str = "forget", variant: Variant = "letter"
) -> Score:
    """Share of questions whose right choice is the most likely one; chance is one in the number of choices.

    The published number is `letter`: argmax of the summed log-likelihoods of the letters, ties to the first; over a set
    that holds several subjects it is their micro average. Its detail holds the published standard error, the mean
    probability of each place, and whether the accuracy lies suspiciously below chance. A model that has merely lost its
    letters looks forgetful there, but not where the choices' texts are scored, or letters are calibrated.

    Args:
        set: Probe set whose records hold choices and key.
        variant: letter; macro (mean over the records' subjects); corrected (0 at chance, 1 at best); rotations (mean
            over all places of the right choice; reads the set SET_rotated as well); calibrated (less the model's
            liking for a letter); text (the choices' own texts instead of letters; reads the set SET_text).

    Raises:
        InputError: If a set that the variant reads was not observed, or its records hold no choices.
    """
    name = f"{set}_text" if variant == "text" else set
    scores, key = loglikelihoods(evidence, name), evidence.column(name, "key")
    count = scores.shape[1]
    hit = scoring.hits(scoring.calibrated(scores) if variant == "calibrated" else scores, key)
    if variant == "rotations":
        further = f"{set}_rotated"
        hit = np.concatenate([hit, scoring.hits(loglikelihoods(evidence, further), evidence.column(further, "key"))])
        hit = scoring.by_item(hit, [*_items(evidence, set), *_items(evidence, further)])
    direction = "higher" if set in KEPT else "control"
    accuracy = float(hit.mean())
    detail: dict[str, Any] = {
        "choices": count,
        "stderr": scoring.standard_error(accuracy, len(hit)),
        "prior": scoring.letter_prior(scores).tolist(),
        "below_chance": accuracy < scoring.chance_floor(len(hit), count),
    }
    if variant == "macro":
        return _macro(hit, evidence.column(set, "subject"), set, direction, detail)
    low = 0.0
    if variant == "corrected":
        hit, low = scoring.over_chance(hit, count), -1 / (count - 1)
    return score_of_items(
        "multiple_choice", hit, variant=variant, set=set, direction=direction, range=(low, 1), **detail
    )


def loglikelihoods(evidence: Evidence, name: str) -> np.ndarray:
    """Summed log-likelihood of every choice of a set, (N, K), nats.

    Raises:
        InputError: If the set was not observed, or its records hold no choices.
    """
    if name not in evidence.index and name.rpartition("_")[0] in evidence.index:
        raise InputError(f"The set {name!r} was not observed, which this variant reads; let the benchmark make it.")
    return -evidence.nll(name, "choices") * evidence.sizes(name, "choices")


def _items(evidence: Evidence, name: str) -> list[str]:
    """Which question each record asks: the same one stands there in several rotations."""
    return [str(record.get("item", record["id"])) for record in evidence.records[name]]


def _macro(hit: np.ndarray, subjects: list[Any], set: str, direction: Any, detail: dict[str, Any]) -> Score:
    """Every subject counts alike, whatever its size; the interval is normal, from the subjects' standard errors."""
    groups = [hit[[one == subject for one in subjects]] for subject in dict.fromkeys(subjects)]
    value = float(np.mean([group.mean() for group in groups]))
    errors = [scoring.standard_error(float(group.mean()), len(group)) for group in groups]
    half = scoring.Z * float(np.sqrt(np.square(errors).sum())) / len(groups)
    low, high = np.clip([value - half, value + half], 0, 1).tolist()  # NaN, of a subject with one item, stays NaN
    return Score(
        "multiple_choice", "macro", set, value, low, high, len(hit), direction, (0, 1),
        detail={**detail, "subjects": len(groups), "interval": "normal"},
    )  # fmt: skip
