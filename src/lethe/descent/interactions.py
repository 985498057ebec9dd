"""Second-order unlearning of recommenders: gradients and curvature of the ranking loss over the embedding tables.

Every interaction is held against negatives that are drawn once. A pair of scores has the margin m = u.(i - j); with
the aim y, the share of cases in which i should win, its loss is y softplus(-m) + (1 - y) softplus(m), BPR for y = 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lethe.descent.second_order import Weights
from lethe.errors import InputError
from lethe.losses.newton import Product
from lethe.models.base import Model
from lethe.request import Record

TABLES = ("user_table.weight", "item_table.weight")


@dataclass(frozen=True)
class Pairs:
    """Interactions, each against as many negatives; `share` (1 / negatives) makes a pair's losses one interaction's."""

    users: Tensor  # (M,)
    items: Tensor
    negatives: Tensor
    share: float

    def __len__(self) -> int:
        return len(self.users)

    def joined(self, other: Pairs) -> Pairs:
        """These and others, drawn as often."""
        parts = zip((self.users, self.items, self.negatives), (other.users, other.items, other.negatives), strict=True)
        users, items, negatives = (torch.cat(part) for part in parts)
        return Pairs(users, items, negatives, self.share)


def paired(model: Model, records: Sequence[Record], negatives: int, seed: int) -> Pairs:
    """Every record with negatives drawn by the model's own rule, (records * negatives) pairs."""
    examples = [example for example in model.encode(records) for _ in range(negatives)]
    batch = model.collate(examples, range(len(examples)), torch.Generator().manual_seed(seed)).to(model.device)
    return Pairs(batch.inputs["users"], batch.inputs["items"], batch.inputs["negatives"], 1 / negatives)


def tables(model: Model) -> Weights:
    """The embedding tables of a recommender.

    Raises:
        InputError: If it has none of these names.
    """
    named = dict(model.module.named_parameters())
    if missing := [name for name in TABLES if name not in named]:
        raise InputError(f"{type(model.module).__name__} has no table {missing[0]}; take another method.")
    return Weights({name: named[name] for name in TABLES})


def margins(model: Model, pairs: Pairs) -> Tensor:
    """Score of the item less that of the negative, (M,)."""
    module: Any = model.module
    users, items = module.embed()
    return (users[pairs.users] * (items[pairs.items] - items[pairs.negatives])).sum(-1)


def ranking_gradient(model: Model, pairs: Pairs, aims: Tensor | None = None) -> Tensor:
    """Gradient of the summed loss over the tables, (P,) float64; `aims` (M,) are y, 1 where none are given."""
    weights = tables(model)
    if not len(pairs):
        return torch.zeros_like(weights.flat(weights.tensors))
    with weights.differentiable(model):
        m = margins(model, pairs)
        y = torch.ones_like(m) if aims is None else aims.to(m)
        loss = pairs.share * (y * F.softplus(-m) + (1 - y) * F.softplus(m)).sum()
        return weights.flat(weights.slope(loss))


def ranking_curvature(model: Model, pairs: Pairs, damping: float, moving: Tensor | None = None) -> Product:
    """V -> (sum over pairs of J^T s (1 - s) J + damping) v, s = sigmoid(m): Gauss-Newton, whatever the aims.

    Args:
        model: A recommender.
        pairs: The pairs of the objective.
        damping: Weight of ||theta||^2 / 2 beside the sum; it does not grow with the records.
        moving: Coordinates (P,) bool that the product is restricted to; all others are left out.
    """
    weights = tables(model)

    def product(vector: Tensor) -> Tensor:
        inside = vector if moving is None else vector * moving
        with weights.differentiable(model):
            m = margins(model, pairs)
            u = torch.zeros_like(m, requires_grad=True)
            (pushed,) = torch.autograd.grad(weights.slope(m, u, graph=True), u, weights.parts(inside))
            s = m.detach().sigmoid()
            total = pairs.share * weights.flat(weights.slope(m, s * (1 - s) * pushed))
        return (total if moving is None else total * moving) + damping * vector

    return product


def rows_of(model: Model, users: Tensor, items: Tensor) -> Tensor:
    """Which coordinates of the tables belong to the chosen rows, (U,) and (I,) bool: (P,) bool."""
    pairs = zip((users, items), tables(model).tensors, strict=True)
    return torch.cat([chosen[:, None].expand_as(table).flatten() for chosen, table in pairs])


def importance(edges: Tensor, deleted: Tensor, users: int, items: int, hops: int) -> tuple[Tensor, Tensor]:
    """How much of what a node knows comes from deleted edges, in [0, 1]: users (U,) and items (I,) (IFRU).

    w_0 is the share of a node's edges that is deleted, its degree counting a loop of its own; w_{k+1}(j) is the sum
    over its neighbours of w_k / degree(j). A node's importance is the largest of its w.

    Args:
        edges: All interactions before the deletion (2, E).
        deleted: Those that are deleted (2, F).
        users: Number of users.
        items: Number of items.
        hops: Steps over the graph; 0 is the nodes of deleted edges alone.
    """
    nodes = users + items
    ends = torch.stack([edges[0], edges[1] + users])
    degree = torch.ones(nodes, dtype=torch.float64, device=edges.device)
    degree.index_add_(0, ends.flatten(), torch.ones(ends.numel(), dtype=torch.float64, device=edges.device))
    gone = torch.cat([deleted[0], deleted[1] + users])
    weight = torch.bincount(gone, minlength=nodes).double() / degree
    best = weight
    for _ in range(hops):
        sent = torch.zeros_like(weight).index_add_(0, ends[0], weight[ends[1]]).index_add_(0, ends[1], weight[ends[0]])
        weight = sent / degree
        best = torch.maximum(best, weight)
    return best[:users], best[users:]


def pairs_of(records: Sequence[Record], device: torch.device) -> Tensor:
    """Users and items of records, (2, N)."""
    return torch.tensor([[record["user"] for record in records], [record["item"] for record in records]], device=device)
