"""How alike the model represents the records to a control, or to the model before unlearning."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import did_you_mean, metric
from lethe.score import Score
from lethe.scoring.similarity import alike, cka_interval, cka_paper

Variant = Literal["control", "original", "paper", "paper.original"]


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
    layer: str = "",
) -> Score:
    """Debiased linear CKA of the hidden states, -1 to 1: 1 = the same up to rotation and scale, about 0 = unrelated.

    Of a language model the mean over all layers in which the records differ, at the end of the prompt; of a classifier
    the features that its last linear layer reads. Models trained from different seeds are far from 1: read a control's
    own value, which is against the other controls. `detail` holds, for every layer in which the records differ, its
    name, its value, the biased form, the 95 % quantile and the p-value of randomly paired records.

    Args:
        set: Records named in `Spec.interior`.
        variant: control: to the controls, a mean over them; original: to the model before unlearning; paper and
            paper.original: the same as arXiv 2503.06991 computes it, biased, the mean of batches of 512 (0 to 1).
        layer: A layer's name, or mean for the mean over all; "" for the family's own choice.

    Raises:
        InputError: Without the other model's evidence, if the set's hidden states were not observed, there is no such
            layer, or it does not tell the records apart.
    """
    who = "original" if variant.endswith("original") else "control"
    others = controls if who == "control" else [original] if original else []
    if not others:
        raise InputError(f"cka.{variant} compares with the {who}; give its evidence.")
    own, theirs = evidence.layers(set), [other.layers(set) for other in others]
    records = {len(states) for one in (own, *theirs) for states in one.values()}
    shared = {name: states for name, states in own.items() if all(name in other for other in theirs)}
    whole = all(list(other) == list(own) for other in theirs)
    if len(records) > 1 or not shared or (evidence.family == "language" and not whole):  # an ensemble has fewer layers
        raise InputError(f"cka: the {who} has other records or layers; look at models of one architecture alike.")
    own = shared
    found = {name: [alike(own[name], other[name]) for other in theirs] for name in own}
    told = [name for name in own if not np.isnan([one.value for one in found[name]]).any()]
    chosen = _chosen(layer or ("mean" if evidence.family == "language" else list(own)[-1]), list(own), told, set)
    pairs = [(own[name], other[name]) for other in theirs for name in chosen]
    if variant.startswith("paper"):
        value = float(np.mean([cka_paper(*pair) for pair in pairs]))
        low = high = float("nan")
    else:
        value = float(np.mean([one.value for name in chosen for one in found[name]]))
        low, high = cka_interval(pairs, value=value)
    return Score(
        "cka", f"{variant}.{layer}" if layer else variant, set, value, low, high, len(pairs[0][0]),
        "higher" if who == "control" else "control", (0, 1) if variant.startswith("paper") else (-1, 1),
        detail={
            "layers": [number for number, name in enumerate(own) if name in told],
            "names": told,
            "read": chosen,
            **{
                field: [float(np.mean([getattr(one, field) for one in found[name]])) for name in told]
                for field in ("value", "biased", "null", "p")
            },
        },
    )  # fmt: skip


def _chosen(layer: str, known: Sequence[str], told: Sequence[str], name: str) -> list[str]:
    """The layers whose mean is the value."""
    if layer != "mean" and layer not in known:
        raise InputError(
            f"cka: there is no layer {layer!r}{did_you_mean(layer, known)}; mean, or of {', '.join(known)}."
        )
    chosen = [one for one in told if layer in ("mean", one)]
    if not chosen:
        which = "no layer tells" if layer == "mean" else f"the layer {layer} does not tell"
        raise InputError(f"cka: {which} the records of the set {name!r} apart; give records that differ.")
    return chosen
