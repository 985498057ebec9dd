"""Arithmetic on state dicts: differences of models as vectors that can be added, scaled and subtracted.

Integer buffers (position ids, counters) are no part of a vector, and a tensor that a vector lacks stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

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
        InputError: If a tensor has two shapes, or the vector holds one that the weights lack.
    """
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
