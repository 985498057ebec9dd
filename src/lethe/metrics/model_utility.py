"""TOFU's one number for what must stay."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from lethe.evidence import Evidence
from lethe.metrics.probability import probability
from lethe.metrics.rouge import rouge
from lethe.metrics.truth_ratio import truth_ratio
from lethe.registry import metric
from lethe.score import Score
from lethe.scoring.aggregate import harmonic_interval, harmonic_mean

SETS = ("retain", "real_authors", "world_facts")


@metric(needs={"logits", "generate"}, paper="2401.06121", variants=("geometric", "arithmetic", "ou"))
def model_utility(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: Literal["utility"] = "utility",
    variant: Literal["geometric", "arithmetic", "ou"] = "geometric",
) -> Score:
    """Model utility: harmonic mean of probability, ROUGE and truth-ratio score on three utility sets; higher is better.

    One zero among the nine makes it 0. Forget numbers never enter.

    Args:
        set: Always utility.
        variant: How the truth ratio averages its wrong answers; the two differ by 0.02 to 0.04 on published logs. ou is
            geometric with open-unlearning's 1e-10 in the divisors.
    """
    per_set = []
    for name in SETS:
        options = "answer" if name == "retain" else "options"
        scores = (
            probability(evidence, set=name, variant=options),
            rouge(evidence, set=name),
            truth_ratio(evidence, set=name, variant=variant),
        )
        per_set.append(np.array([score.items for score in scores]))
    value = harmonic_mean([float(row.mean()) for rows in per_set for row in rows])
    low, high = harmonic_interval(per_set, seed=0)
    return Score(
        "model_utility", variant, set, value, low, high, sum(rows.shape[1] for rows in per_set), "higher", (0, 1)
    )
