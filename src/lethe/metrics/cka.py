"""How alike the model represents the records to a control, or to the model before unlearning."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score
from lethe.scoring.similarity import alike, cka_interval

Variant = Literal["control", "original"]


@metric(
    families={"language", "classifier"},
    paper="2503.06991",
    variants=get_args(Variant),
    requires={"control", "original"},
)
def cka(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    original: Evidence | None = None,
    *,
    set: str = "forget",
    variant: Variant = "control",
) -> Score:
    """Debiased linear CKA of the hidden states, -1 to 1: 1 = the same up to rotation and scale, about 0 = unrelated.

    The mean over all layers in which the records differ, of a language model at the end of the prompt. Models trained
    from different seeds are far from 1: read a control's own value, which is against the other controls. `detail` holds
    every layer's value, its published (biased) form, the 95 % quantile and the p-value of randomly paired records.

    Args:
        set: Records named in `Spec.interior`.
        variant: control: to the controls, a mean over them; original: to the model before unlearning.

    Raises:
        InputError: Without the other model's evidence, if the set's hidden states were not observed, or no layer tells
            its records apart.
    """
    others = controls if variant == "control" else [original] if original else []
    if not others:
        raise InputError(f"cka.{variant} compares with the {variant}; give its evidence.")
    own = evidence.inside(set).astype(np.float64)
    theirs = [other.inside(set).astype(np.float64) for other in others]
    if any(other.shape[:2] != own.shape[:2] for other in theirs):
        raise InputError(f"cka: the {variant} has other records or layers; look at models of one architecture alike.")
    found = [[alike(own[:, layer], other[:, layer]) for layer in range(own.shape[1])] for other in theirs]
    values = np.array([[one.value for one in row] for row in found])  # (others, layers)
    told = ~np.isnan(values).any(0)
    if not told.any():
        raise InputError(f"cka: no layer tells the records of the set {set!r} apart; give records that differ.")
    value = float(values[:, told].mean())
    pairs = [(own[:, layer], other[:, layer]) for other in theirs for layer in np.flatnonzero(told)]
    low, high = cka_interval(pairs, value=value)
    return Score(
        "cka", variant, set, value, low, high, len(own), "higher" if variant == "control" else "control", (-1, 1),
        detail={
            "layers": np.flatnonzero(told).tolist(),
            **{
                name: [float(np.mean([getattr(row[layer], name) for row in found])) for layer in np.flatnonzero(told)]
                for name in ("value", "biased", "null", "p")
            },
        },
    )  # fmt: skip
