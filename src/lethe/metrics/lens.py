"""What the output embedding reads of an answer in the layers below the last."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items

Variant = Literal["reciprocal_rank", "logp", "first.reciprocal_rank", "first.logp"]


@metric(families={"language"}, needs={"hidden"}, paper="2309.17410", variants=get_args(Variant))
def lens(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    variant: Variant = "reciprocal_rank",
) -> Score:
    """Logit lens: how well the layer that tells most gives the right answer; the ideal is the control's value.

    The layer with the highest mean over the records, the last one included, so the score is never below what the model
    says. `detail` holds the mean of every layer: 0 is the embeddings, the last the model's own output.

    Args:
        set: Records named in `Spec.interior`.
        variant: reciprocal_rank, 0 to 1, or logp, nats: of every token of the answer after those before it, a mean over
            the tokens. first.reciprocal_rank and first.logp are of the first token alone, as published: right for
            answers of one token, blind where answers begin with what the question tells.

    Raises:
        InputError: If the set's hidden states were not observed.
    """
    if variant == "first.reciprocal_rank":
        layers = 1 / (1 + evidence.inside(set, "first_rank").astype(np.float64))  # (N, L + 1)
    else:
        layers = evidence.inside(set, variant.replace(".", "_")).astype(np.float64)
    means = layers.mean(0)
    best = int(means.argmax())
    return score_of_items(
        "lens", layers[:, best], variant=variant, set=set, direction="control",
        range=(-np.inf, 0) if variant.endswith("logp") else (0, 1),
        unit="nats/token" if variant.endswith("logp") else "", layer=best, profile=means.tolist(),
    )  # fmt: skip
