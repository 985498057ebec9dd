"""TOFU's forget quality, with the distance that its p-value hides."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.metrics.truth_ratio import ratios
from lethe.registry import metric
from lethe.score import Score
from lethe.scoring.aggregate import ks, ks_floor, ks_interval, ks_margin, ks_null, ks_variant


@metric(families={"language"}, needs={"logits"}, paper="2401.06121", variants=("ks_d", "ks_p"), requires={"control"})
def forget_quality(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    variant: Literal["ks_d", "ks_p"] = "ks_d",
) -> Score:
    """KS test between the truth ratios of model and control: distance D (lower is better) or p (higher is better).

    D is the mean over the controls, and so are the ends of its interval, which resamples questions, the same ones in
    both models. p is that against the first control by the exact method; it depends on n as much as on D, so n stands
    in its name (`ks_p.n300`), and it has no interval. The detail holds p's floor at this n, the D between controls that
    differ in their seed alone, and of three controls the largest of these: a margin of equivalence.

    Args:
        set: Probe set with paraphrased and perturbed answers.
        variant: ks_d, or ks_p (the published form).

    Raises:
        InputError: Without a control.
    """
    if not controls:
        raise InputError("forget_quality compares with a control; give one (retrained without the forget set).")
    own, others = ratios(evidence, set, "geometric"), [ratios(control, set, "geometric") for control in controls]
    tests = [ks(own, other) for other in others]
    null = ks_null(others).tolist() if len(others) > 1 else []
    floor = ks_floor(len(own), len(others[0]))
    detail = {"p": tests[0].p, "floor": floor, "null_d": null, "margin": ks_margin(null)}
    if variant == "ks_p":
        named = ks_variant(len(own), len(others[0]))
        return Score(
            "forget_quality", named, set, tests[0].p, np.nan, np.nan, len(own), "higher", (0, 1), detail=detail
        )
    low, high = np.mean([ks_interval(own, other, seed=0) for other in others], axis=0).tolist()
    value = float(np.mean([test.d for test in tests]))
    low = min(low, value)  # where D is small most draws lie above it: a distance only grows by noise
    return Score("forget_quality", variant, set, value, low, high, len(own), "lower", (0, 1), detail=detail)
