"""Selections of value vectors: single columns of the MLPs' output projections, all else frozen."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lethe.errors import InputError
from lethe.models.base import Model
from lethe.models.language import LanguageModel
from lethe.models.projections import layer_number, output_projections
from lethe.request import Request
from lethe.train import Selection


def value_masks(model: LanguageModel, places: Sequence[tuple[int, int]], who: str) -> Selection:
    """A selection of these (layer, dimension) alone: every other coordinate stays bit-identical.

    Raises:
        InputError: If a layer or dimension does not exist.
    """
    projections = output_projections(model)
    parameters: dict[str, nn.Parameter] = {}
    mask: dict[str, Tensor] = {}
    for layer, dim in places:
        projection = projections[layer_number(layer, len(projections), who)]
        width = projection.matrix.shape[1]
        if not 0 <= dim < width:
            near = min(max(dim, 0), width - 1)
            raise InputError(
                f"{who}: layer {layer} has no dimension {dim}; it has 0 to {width - 1}, nearest is {near}."
            )
        parameters[projection.name] = projection.weight
        chosen = mask.setdefault(projection.name, torch.zeros_like(projection.weight, dtype=torch.bool))
        (chosen.T if projection.transposed else chosen)[:, dim] = True
    return Selection(parameters, mask)


def vectors(model: Model, request: Request, *, layer: tuple[int, ...], dim: tuple[int, ...]) -> Selection:
    """Single value vectors (ConceptVectors' Needle, arXiv 2406.11614), all else bit-identical.

    Args:
        layer: Number of the decoder block of each vector, from 0; one number holds for all.
        dim: Dimension of each vector in that block's MLP, as layer=3,3,dim=17,200.

    Raises:
        InputError: If the model is no language model, the two lists do not pair up, or a place does not exist.
    """
    if not isinstance(model, LanguageModel):
        raise InputError(f"where=vectors: value vectors are a language model's; this is a {model.family} model.")
    layers = layer * len(dim) if len(layer) == 1 else layer
    if not dim or len(layers) != len(dim):
        raise InputError(f"where=vectors: {len(layer)} layers and {len(dim)} dimensions do not pair up.")
    return value_masks(model, list(zip(layers, dim, strict=True)), "where=vectors")
