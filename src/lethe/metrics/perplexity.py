"""How surprised the model is, in one of two units that go by one name."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring.variants import perplexity as exponential


@metric(families={"language"}, needs={"logits"}, paper="2407.06460", variants=("nll", "exp"))
def perplexity(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    variant: Literal["nll", "exp"] = "nll",
) -> Score:
    """Mean NLL of the answers, muse_bench's "PPL", or perplexity proper; on forget the ideal is the control's.

    A question's answer counts with its end of sequence, a text all its tokens but the first.

    Args:
        set: Probe set.
        variant: nll is the mean NLL, nats per token; exp is exp(mean NLL) of each text, averaged, at least 1.
    """
    logp = evidence.per_token(set)
    items, least = (exponential(logp), 1) if variant == "exp" else (evidence.nll(set), 0)
    return score_of_items(
        "perplexity", items, variant=variant, set=set, direction="control" if set in ("forget", "holdout") else "lower",
        range=(least, np.inf), unit="" if variant == "exp" else "nats/token",
    )  # fmt: skip
