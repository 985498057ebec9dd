"""How evenly something was forgotten over the forms in which it can be asked for."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.metrics.form_probability import by_form
from lethe.registry import metric
from lethe.score import Score
from lethe.scoring import forms
from lethe.scoring.intervals import percentile, resample

Variant = Literal["gap", "worst_drop"]


@metric(
    families={"language"}, needs={"logits"}, paper="2506.07795", variants=("gap", "worst_drop"), requires={"original"}
)  # fmt: skip
def form_gap(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    original: Evidence | None = None,
    *,
    set: str = "forget",
    variant: Variant = "gap",
) -> Score:
    """Largest less smallest relative drop of the answers' probability over the forms of question; the control is ideal.

    A drop is (before - after) / before of the form's score. A form with few possible answers cannot drop to 1 (a
    guessed letter of four is right once in four), so a model that never knew has a gap as well: read it beside that.
    The interval resamples targets; with a single target there is none.

    Args:
        set: Probe set whose records hold `kind`, the form, and `entity`, the target.
        variant: gap, or worst_drop: the smallest of the drops, which says how much is forgotten in every form.

    Raises:
        InputError: Without the original model's evidence, with fewer than two forms, or a target that lacks one.
    """
    if original is None:
        raise InputError("form_gap compares with the model before unlearning; give the original's evidence.")
    kinds = list(by_form(original, set))
    before, after = (_scores(by_form(one, set), set) for one in (original, evidence))  # (targets, forms)
    found = forms.form_gap(*(dict(zip(kinds, side.mean(0).tolist(), strict=True)) for side in (before, after)))
    value = found.gap if variant == "gap" else found.worst_drop
    low = high = float("nan")
    if len(before) > 1:
        if variant == "gap":
            low, high = forms.form_gap_interval(before, after, seed=0)
        else:
            low, high = percentile(resample([len(before)], lambda n: (1 - (n @ after) / (n @ before)).min(1), seed=0))
        low, high = min(low, value), max(high, value)  # a largest or smallest drop is drawn to its own side
    least = 0.0 if variant == "gap" else -np.inf
    return Score(
        "form_gap", variant, set, value, low, high, len(before), "control",
        (least, np.inf if variant == "gap" else 1), detail={"worst": found.worst, "drops": found.drops},
    )  # fmt: skip


def _scores(found: dict[str, dict[str, np.ndarray]], name: str) -> np.ndarray:
    targets = list(dict.fromkeys(target for one in found.values() for target in one))
    for form, one in found.items():
        if missing := [target for target in targets if target not in one]:
            raise InputError(f"form_gap: {name!r} asks nothing about {missing[0]!r} in the form {form!r}.")
    return np.array([[one[target].mean() for one in found.values()] for target in targets])
