"""What is left of a concept in the weights: the value vectors that hold it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring import traces

Variant = Literal[
    "jaccard", "jaccard.original", "cosine", "l2", "l2.relative", "retention", "retention.article", "residual",
    "activation", "suppression",
]  # fmt: skip
Seen = Mapping[str, np.ndarray]


@metric(families={"language"}, needs={"logits"}, paper="2406.11614", variants=get_args(Variant))
def concept_trace(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    variant: Literal[
        "jaccard",
        "jaccard.original",
        "cosine",
        "l2",
        "l2.relative",
        "retention",
        "retention.article",
        "residual",
        "activation",
        "suppression",
    ] = "jaccard",
) -> Score:
    """What is left of a concept's value vectors against the model before unlearning; near 1 it is still there.

    One item per vector. A zeroed vector keeps nothing by definition (jaccard, cosine and retention 0; the detail names
    it as erased). A score near 0 is necessary for removal and not sufficient: the concept may have moved (residual).

    Args:
        set: Always forget, whose concept the vectors hold.
        variant: jaccard of the top tokens, each under its own model's output embedding (jaccard.original: both under
            the original's, which tied embeddings cannot move); cosine; l2 and l2.relative (to the vector's length), of
            which higher is more change; retention of the concept's own tokens (retention.article: own tokens now over
            own tokens then, which can exceed 1); residual, the best overlap of any vector of the model with the
            concept over that before; activation, the mean coefficient at the concept's questions over that before;
            suppression, the part of the activation that is gone while the trace stays: 1 = intact and silenced.

    Raises:
        InputError: If no value vectors were observed.
    """
    if set != "forget" or not evidence.traces:
        raise InputError(
            f"concept_trace reads the value vectors of the forget set's concept; {set!r} has none observed."
        )
    seen = evidence.traces
    items = MEASURES[variant](seen)
    undefined, erased = np.isnan(items), _erased(seen)
    detail: dict[str, Any] = {
        "erased": np.flatnonzero(erased).tolist(),
        "undefined": np.flatnonzero(undefined).tolist(),
    }
    if variant == "residual":
        detail["place"] = seen["residual"][1:].astype(int).tolist()
    least, most = (-1, 1) if variant == "cosine" else (-np.inf, np.inf) if variant == "activation" else (0, np.inf)
    direction = "higher" if variant.startswith("l2") else "lower"
    if undefined.all():  # nothing of the concept was ever in these traces
        return Score(
            "concept_trace", variant, set, np.nan, np.nan, np.nan, len(items), direction, (least, most), detail=detail
        )
    return score_of_items(
        "concept_trace", items[~undefined], variant=variant, set=set, direction=direction, range=(least, most), **detail
    )


def _erased(seen: Seen) -> np.ndarray:
    return np.logical_not(seen["after"].any(axis=1))


def _jaccard(after: str) -> Callable[[Seen], np.ndarray]:
    def measure(seen: Seen) -> np.ndarray:
        shared = [traces.jaccard(a, b) for a, b in zip(seen["top_before"], seen[after], strict=True)]
        return np.where(_erased(seen), 0.0, shared)

    return measure


def _cosine(seen: Seen) -> np.ndarray:
    return np.array([traces.cosine(a, b) for a, b in zip(seen["before"], seen["after"], strict=True)])


def _l2(seen: Seen) -> np.ndarray:
    return np.linalg.norm(seen["after"].astype(np.float64) - seen["before"], axis=1)


def _relative(seen: Seen) -> np.ndarray:
    length = np.linalg.norm(seen["before"].astype(np.float64), axis=1)
    return _ratio(_l2(seen), length, np.inf)


def _retention(seen: Seen) -> np.ndarray:
    pairs = zip(seen["top_before"], seen["top_after"], seen["own"], strict=True)
    kept = [traces.retention(before, after, before[own > 0].tolist()) for before, after, own in pairs]
    values = np.array([np.nan if one is None else one for one in kept])
    return np.where(_erased(seen) & ~np.isnan(values), 0.0, values)


def _article(seen: Seen) -> np.ndarray:
    now = np.where(_erased(seen), 0, seen["own_after"].sum(axis=1))
    return _ratio(now, seen["own"].sum(axis=1), np.nan)


def _residual(seen: Seen) -> np.ndarray:
    return _ratio(np.maximum(seen["residual"][:1], 0), np.maximum(seen["residual_before"][:1], 0), np.nan)


def _activation(seen: Seen) -> np.ndarray:
    """The sign of a coefficient belongs to the vector: a ratio below 0 calls the opposite of the concept."""
    mean, before = seen["coefficients"].mean(axis=1), seen["coefficients_before"].mean(axis=1)
    return _ratio(mean, before, np.nan)


def _suppression(seen: Seen) -> np.ndarray:
    return _jaccard("top_after")(seen) * np.clip(1 - np.nan_to_num(_activation(seen), nan=1.0), 0, 1)


def _ratio(above: np.ndarray, below: np.ndarray, otherwise: float) -> np.ndarray:
    below = below.astype(np.float64)
    return np.divide(above, below, out=np.full(below.shape, otherwise), where=below != 0)


MEASURES: dict[str, Callable[[Seen], np.ndarray]] = {
    "jaccard": _jaccard("top_after"),
    "jaccard.original": _jaccard("top_original"),
    "cosine": _cosine,
    "l2": _l2,
    "l2.relative": _relative,
    "retention": _retention,
    "retention.article": _article,
    "residual": _residual,
    "activation": _activation,
    "suppression": _suppression,
}
