"""Arithmetic on state dicts: differences of models as vectors that can be added, scaled and subtracted.

Integer buffers (position ids, counters) are no part of a vector, and a tensor that a vector lacks stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lethe.errors import InputError
from lethe.losses.tokens import wide

Weights = Mapping[str, Tensor]


def difference(end: Weights, start: Weights) -> dict[str, Tensor]:
    """The vector `end - start` over the floating-point tensors that both hold, in float32 at least.

    Raises:
        InputError: If a tensor has two shapes.
    """
    shared = [name for name in end if name in start and end[name].is_floating_point()]
    for name in shared:
        _check_shape(name, end[name], start[name])
    return {name: wide(end[name].detach()) - wide(start[name].detach()) for name in shared}


def shift(weights: Weights, vector: Weights, scale: float) -> dict[str, Tensor]:
    """`weights + scale * vector`, in the types of `weights`; new tensors throughout.

    Forgetting by negation (Ilharco et al., arXiv 2212.04089) is `shift(target, difference(tuned, start), -alpha)`,
    interpolation between two models `shift(first, difference(second, first), alpha)`.

    Raises:
        InputError: If the scale is not finite, a tensor has two shapes, or the vector holds one that the weights lack.
    """
    if not math.isfinite(scale):
        raise InputError(f"The scale of a change of weights is {scale}; it must be a finite number.")
    if unknown := sorted(set(vector) - set(weights)):
        raise InputError(f"The vector holds {unknown[0]!r}, which the model lacks: both must have one architecture.")
    moved = {}
    for name, tensor in weights.items():
        moved[name] = tensor.detach().clone()
        if name in vector:
            _check_shape(name, tensor, vector[name])
            change = scale * vector[name].to(tensor.device)
            moved[name] = (wide(moved[name]) + change).to(tensor.dtype)
    return moved


def _check_shape(name: str, first: Tensor, second: Tensor) -> None:
    if first.shape != second.shape:
        raise InputError(
            f"Tensor {name!r} is {tuple(first.shape)} in one model and {tuple(second.shape)} in the other: "
            "both must have one architecture."
        )


def dampen(weight: Tensor, of_all: Tensor, of_forget: Tensor, alpha: float, dampening: float) -> Tensor:
    """SSD (arXiv 2308.07707, equations 4 and 5): `w min(lambda I_D / I_f, 1)` where `I_f > alpha I_D`, else `w`.

    Args:
        weight: Weights, any shape.
        of_all: Importance I_D of each for all data, at least 0, of that shape.
        of_forget: Importance I_f of each for the forget set.
        alpha: How many times more a weight must matter to the forget set.
        dampening: Lambda.
    """
    chosen = of_forget > alpha * of_all
    factor = (dampening * of_all / torch.where(chosen, of_forget, 1.0)).clamp(max=1)
    return torch.where(chosen, weight * factor, weight)


def fisher_spread(fisher: Tensor, alpha: float, ceiling: float) -> Tensor:
    """Variance `alpha min(1 / (F + 1e-8), ceiling)` of Fisher forgetting's noise, of the shape of F.

    Golatkar et al. (arXiv 1911.04933): the less the retain set needs a weight, the more it may be disturbed.

    Args:
        fisher: Diagonal of the retain set's Fisher information, at least 0.
        alpha: Scale of the noise.
        ceiling: Largest inverse that is believed.
    """
    return alpha * (1 / (fisher + 1e-8)).clamp(max=ceiling)


def merged(vectors: Sequence[Weights], rule: str = "linear", density: float = 1.0) -> dict[str, Tensor]:
    """Several vectors as one: their mean (task arithmetic), or TIES (arXiv 2306.01708).

    TIES keeps the `density` share of each vector with the largest magnitude (over all its tensors), elects for every
    weight the sign of the sum, and averages the kept values of that sign alone: what disagrees is left out rather than
    cancelled.

    Args:
        vectors: One or more, over the same tensors.
        rule: linear or ties.
        density: Share of each vector that TIES keeps, above 0, at most 1.

    Raises:
        InputError: If there is no vector, they differ in their tensors, or the rule or density is none.
    """
    if not vectors:
        raise InputError("There is no vector to merge.")
    if rule not in ("linear", "ties") or not 0 < density <= 1:
        raise InputError(f"merged: rule is {rule!r} and density {density}; linear or ties, above 0 and at most 1.")
    for vector in vectors[1:]:
        if odd := sorted(set(vector) ^ set(vectors[0])):
            raise InputError(f"Only some of the vectors hold {odd[0]!r}: all must have one architecture.")
        for name in vector:
            _check_shape(name, vector[name], vectors[0][name])
    if rule == "linear":
        return {name: torch.stack([vector[name] for vector in vectors]).mean(0) for name in vectors[0]}
    trimmed = [_trimmed(vector, density) for vector in vectors]
    return {name: _elected(torch.stack([vector[name] for vector in trimmed])) for name in vectors[0]}


def _trimmed(vector: Weights, density: float) -> dict[str, Tensor]:
    sizes = torch.cat([tensor.abs().flatten() for tensor in vector.values()])
    least = sizes.sort(descending=True).values[max(1, int(density * len(sizes))) - 1]
    return {name: torch.where(tensor.abs() >= least, tensor, 0.0) for name, tensor in vector.items()}


def _elected(values: Tensor) -> Tensor:
    """Mean over the first axis of the values that have the sign of their sum."""
    agree = values.sign() == values.sum(0).sign()
    return (values * agree).sum(0) / (agree & (values != 0)).sum(0).clamp(min=1)
