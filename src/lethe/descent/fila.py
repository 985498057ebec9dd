"""FILA: low-rank adapters that start on what the forget set needs and the retain set does not (arXiv 2408.06621)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice, pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lethe.data.order import mix
from lethe.descent.adapters import adapted, aimed
from lethe.errors import InputError
from lethe.models.base import Batch, Model
from lethe.request import Record, Request
from lethe.train import Selection

BATCH = 2  # records per squared gradient, as released
FLOOR = 1e-5  # of the retain Fisher and of the row weights, as released


def fila(
    model: Model,
    request: Request,
    *,
    rank: int = 8,
    alpha: float = 16.0,
    targets: tuple[str, ...] = (),
    fisher: Literal["batch", "example"] = "batch",
    svd: Literal["exact", "randomised"] = "exact",
) -> Selection:
    """Low-rank adapters with Fisher-weighted initialisation (LoKU's FILA, arXiv 2408.06621), merged in at the end.

    A weight matrix is split into the rank-r part that matters most to the forget set relative to the retain set, which
    becomes the adapter, and the residue, which is frozen: the model is unchanged before the first step. Costs one
    forward and backward pass over the forget set and as many retain records, and one decomposition per matrix. What is
    saved is the merged model; adapters alone would not fit the weights that they were split off.

    Args:
        rank: Rank of the adapters.
        alpha: Scale; the update is alpha / rank times B A.
        targets: Ends of the names of the modules to adapt, e.g. mlp.up_proj; empty adapts every linear and convolution
            layer but the output head and whatever shares its weight.
        fisher: batch squares the gradient of two records' mean loss (the released code), example that of each record.
        svd: exact, or randomised (the released code: as many columns as the rank, two power iterations; for matrices
            of thousands of rows).

    Raises:
        InputError: If there are no retain records, a target does not exist or shares its weight, rank is below 1 or
            above a dimension of a matrix, or alpha is not above 0.
    """
    if not request.retain:
        raise InputError("where=fila compares with the retain set, which is empty; give retain records or use lora.")
    if rank < 1:
        raise InputError(f"where=fila: rank is {rank}; it must be at least 1.")
    names = aimed(model.module, targets, "where=fila", matrices=True)
    layers: dict[str, Any] = {name: model.module.get_submodule(name) for name in names}
    _check_rank(rank, layers)
    weights = {name: layer.weight for name, layer in layers.items()}
    size = BATCH if fisher == "batch" else 1
    paired = _paired(request)
    importance = relative(
        empirical_fisher(model, weights, request.forget, size), empirical_fisher(model, weights, paired, size)
    )
    selection = adapted(model, names, rank, alpha, request.seed, "where=fila")
    scaling = alpha / rank
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(devices=devices):
        for number, name in enumerate(names):
            torch.manual_seed(mix(request.seed, 23, number))  # the randomised decomposition draws from the global state
            layer: Any = model.module.get_submodule(f"base_model.model.{name}")
            _initialise(layer, row_weights(_upright(layers[name], importance[name])), scaling, svd)
    return selection


def empirical_fisher(
    model: Model, weights: Mapping[str, Tensor], records: Sequence[Record], size: int
) -> dict[str, Tensor]:
    """Squared gradients of the mean loss over `size` records at a time, weighted by scored tokens: shaped as weights.

    Size 1 is the empirical Fisher information of each record; a larger one squares sums, in which records may cancel.
    Source: arXiv 2408.06621, released code.
    """
    total, found = 0, {name: torch.zeros_like(weight) for name, weight in weights.items()}
    trainable = [(parameter, parameter.requires_grad) for parameter in model.module.parameters()]
    model.module.eval()  # running statistics stay as they are
    try:
        for parameter, _ in trainable:
            parameter.requires_grad_(any(parameter is weight for weight in weights.values()))
        for batch in _batches(model, records, size):
            count = int(model.sizes(batch).sum())
            loss = model.loss(batch).sum() / count
            gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True, materialize_grads=True)
            for name, gradient in zip(weights, gradients, strict=True):
                found[name] += gradient.square() * count
            total += count
    finally:
        for parameter, required in trainable:
            parameter.requires_grad_(required)
    return {name: value / total for name, value in found.items()}


def relative(forget: Mapping[str, Tensor], retain: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """How much more a weight matters to the forget set than to the retain set, elementwise."""
    return {name: forget[name] / (FLOOR + retain[name]) for name in forget}


def row_weights(importance: Tensor) -> Tensor:
    """Importance of each output row: the root of its sum, (d_out,), float64."""
    return importance.flatten(1).double().sum(1).sqrt()


def factors(
    weight: Tensor, rows: Tensor, rank: int, scaling: float, svd: Literal["exact", "randomised"] = "exact"
) -> tuple[Tensor, Tensor]:
    """A (k, d_in) and B (d_out, k), k <= rank, float64: scaling * B A is the part of `weight` that the rows weigh most.

    The singular vectors V of diag(rows) W give A = sqrt(S) V'. Where the paper divides U sqrt(S) by the row weights,
    this multiplies W by V / sqrt(S), which is the same matrix and stays exact where a row's weight is next to 0: there,
    rounding errors of U would be divided by it. Directions without weight are left out.

    Args:
        weight: Matrix (d_out, d_in), or a convolution's kernel with its last axes taken as one.
        rows: Row weights (d_out,), at least 0.
        rank: Largest number of directions.
        scaling: Factor of B A in the adapter.
        svd: exact or randomised (draws from torch's global state).
    """
    matrix = weight.flatten(1).double()
    rows = rows.double().to(matrix.device)
    weighted = rows[:, None] * matrix
    if svd == "randomised":
        _, values, right = torch.svd_lowrank(weighted, q=min(rank, *weighted.shape), niter=2)
    else:
        _, values, right = torch.linalg.svd(weighted, full_matrices=False)
        right = right.T
    values, right = values[:rank], right[:, :rank]
    kept = values > values.max() * torch.finfo(torch.float32).eps
    values, right = values[kept] / scaling, right[:, kept]
    down = (right * values.sqrt()).T
    up = (rows / (rows + FLOOR))[:, None] * (matrix @ right) / (scaling * values.sqrt())
    return down, up


def _initialise(layer: Any, rows: Tensor, scaling: float, svd: Literal["exact", "randomised"]) -> None:
    weight = _upright(layer.base_layer, layer.base_layer.weight)
    down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    a, b = factors(weight, rows, down.shape[0], scaling, svd)
    # Directions that the forget set does not weigh stay as plain LoRA starts them: with zeros on both sides no gradient
    # would ever reach them.
    down.flatten(1)[: len(a)] = a.to(down)
    up.flatten(1)[:, : len(a)] = b.to(up)
    # Taken from the rounded factors, so that what is subtracted here is what the adapter adds.
    weight -= scaling * (up.flatten(1) @ down.flatten(1)).view_as(weight)


def _upright(layer: nn.Module, weight: Tensor) -> Tensor:
    """A view of the weight with its outputs along the first axis; GPT-2's Conv1D keeps them along the second."""
    from transformers.pytorch_utils import Conv1D

    return weight.T if isinstance(layer, Conv1D) else weight


def _check_rank(rank: int, layers: Mapping[str, Any]) -> None:
    """Refuse a rank that a matrix cannot have: the further directions would have nothing to start on."""
    shapes = {name: tuple(_upright(layer, layer.weight).flatten(1).shape) for name, layer in layers.items()}
    name = min(shapes, key=lambda name: min(shapes[name]))
    if rank > min(shapes[name]):
        raise InputError(
            f"where=fila: rank is {rank}, but {name} is a matrix of {' x '.join(map(str, shapes[name]))}, whose rank "
            f"is at most {min(shapes[name])}; give a rank up to that, or larger layers as targets."
        )


def _paired(request: Request) -> list[Record]:
    """As many retain records as there are forget records, drawn by the seed."""
    draw = torch.Generator().manual_seed(mix(request.seed, 29))
    order = torch.randperm(len(request.retain), generator=draw).tolist()
    return [request.retain[row] for row in islice(cycle(order), len(request.forget))]


def _batches(model: Model, records: Sequence[Record], size: int) -> Iterator[Batch]:
    examples = model.encode(records)
    edges = [*range(0, len(examples), size), len(examples)]
    for start, stop in pairwise(edges):
        rng = torch.Generator().manual_seed(start)
        yield model.collate(examples[start:stop], range(start, stop), rng).to(model.device)
