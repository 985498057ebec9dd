"""RMU's terms: forget activations are steered to a random place, retain activations held where they were."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from lethe.data.order import mix
from lethe.errors import InputError
from lethe.losses import misdirection
from lethe.models.base import IGNORED, Batch
from lethe.models.language import LanguageModel
from lethe.request import Record, Request
from lethe.train import Term

OUTPUT_PROJECTIONS = "down_proj|dense_4h_to_h|fc2|c_proj|w2"  # what the paper trains, in the names of several families
EVERYWHERE = f"layers:match={OUTPUT_PROJECTIONS}"
# The paper's Zephyr runs: the output projections of the block that is read and of the two below it.
THREE_BLOCKS = r"layers:match=layers\.[567]\.mlp\.down_proj"

Tokens = Literal["scored", "all"]
Lengths = Callable[[LanguageModel, list[Record]], Tensor]  # of the targets of one topic's records, (N,)


def steer(
    model: LanguageModel,
    request: Request,
    lengths: Lengths,
    *,
    layer: int,
    alpha: float,
    tokens: Tokens,
    diagnostics: bool,
) -> list[Term]:
    """The two terms, and where asked for the six diagnostics, which are logged and move nothing.

    The target of a forget record is the random direction of its "topic" (one for all records without), as long as
    `lengths` says. A frozen copy of the model is held.
    """
    _check(model, layer, tokens)
    original = model.copy()
    original.module.requires_grad_(False)
    forget, retain = model.encode(request.forget), model.encode(request.retain)
    targets = _targets(original, request, lengths, _width(original, request, layer)).to(model.device)

    def hidden(model: LanguageModel, batch: Batch) -> Tensor:
        return model.hidden(batch, [layer])[layer]

    def frozen(batch: Batch) -> Tensor:
        with original.evaluating():
            return hidden(original, batch)

    def misdirect(model: LanguageModel, batch: Batch) -> Tensor:
        states = hidden(model, batch)
        return misdirection.rmu(states, targets[batch.index, None].expand_as(states), counted(batch, tokens))

    def hold(model: LanguageModel, batch: Batch) -> Tensor:
        return misdirection.rmu(hidden(model, batch), frozen(batch), counted(batch, tokens))

    def look(which: str) -> Callable[[LanguageModel, Batch], Tensor]:
        def loss(model: LanguageModel, batch: Batch) -> Tensor:
            return misdirection.displacement(hidden(model, batch), frozen(batch), counted(batch, tokens))[which]

        return loss

    terms = [Term("forget", forget, misdirect, role="forget"), Term("retain", retain, hold, weight=alpha)]
    if diagnostics:
        sets = (("forget", forget), ("retain", retain))
        terms += [
            Term(f"{name}_{which}", examples, look(which), weight=0.0)
            for name, examples in sets
            for which in ("cosine", "norm", "norm_before")
        ]
    return terms


def norms(model: LanguageModel, records: Sequence[Record], layer: int, tokens: Tokens) -> Tensor:
    """Mean norm of each record's token states in one block (N,)."""
    examples = model.encode(records)
    values = torch.empty(len(examples))
    with model.evaluating():
        for batch in model.batches(examples, 8):
            states = model.hidden(batch, [layer])[layer]
            values[batch.index.cpu()] = misdirection.rmu_coefficient(states, counted(batch, tokens), scale=1).cpu()
    return values


def counted(batch: Batch, tokens: Tokens) -> Tensor:
    """Which positions count (B, T): those that predict a scored token, or all, prompt and padding included."""
    return batch.labels != IGNORED if tokens == "scored" else torch.ones_like(batch.labels, dtype=torch.bool)


def _targets(model: LanguageModel, request: Request, lengths: Lengths, width: int) -> Tensor:
    targets = torch.empty(len(request.forget), width)
    topics = [str(record.get("topic", "")) for record in request.forget]
    for number, topic in enumerate(dict.fromkeys(topics)):
        rows = [row for row, own in enumerate(topics) if own == topic]
        draw = torch.Generator().manual_seed(mix(request.seed, 37, number))
        direction = misdirection.rmu_direction(width, draw)
        targets[rows] = lengths(model, [request.forget[row] for row in rows])[:, None] * direction
    return targets


def _width(model: LanguageModel, request: Request, layer: int) -> int:
    with model.evaluating():
        return model.hidden(next(model.batches(model.encode(request.forget[:1]), 1)), [layer])[layer].shape[-1]


def _check(model: LanguageModel, layer: int, tokens: Tokens) -> None:
    count = len(model.blocks())
    if not -count <= layer < count:
        raise InputError(
            f"layer is {layer}, but the model has blocks 0 to {count - 1} (or -{count} to -1 from the end)."
        )
    if tokens not in ("scored", "all"):
        raise InputError(f"tokens is {tokens!r}; it must be scored or all.")
