"""Second-order unlearning of recommenders: gradients and curvature of the ranking loss over the embedding tables.

Every interaction is held against negatives that are drawn once. A pair of scores has the margin m = u.(i - j); with
the aim y, the share of cases in which i should win, its loss is y softplus(-m) + (1 - y) softplus(m), BPR for y = 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lethe.descent.second_order import Weights
from lethe.errors import InputError
from lethe.losses.newton import Product
from lethe.models.base import Model
from lethe.models.recommender import Recommender
from lethe.request import Record, Request

CHUNK = 1 << 18  # pairs whose embeddings are looked up at once
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
    """Every record with negatives drawn by the model's own rule, (negatives * records) pairs."""
    examples, rng = model.encode(records), torch.Generator().manual_seed(seed)
    batches = [model.collate(examples, range(len(examples)), rng).to(model.device) for _ in range(negatives)]
    users, items, others = (torch.cat([b.inputs[name] for b in batches]) for name in ("users", "items", "negatives"))
    return Pairs(users, items, others, 1 / negatives)


def parted(model: Recommender, request: Request, negatives: int, seed: int | None) -> tuple[Pairs, Pairs, Recommender]:
    """Forget and retain pairs under one seed (the request's where none is given), and the model without the edges."""
    seed = request.seed if seed is None else seed
    forget, retain = (paired(model, part, negatives, seed) for part in (request.forget, request.retain))
    moved = model.copy()
    moved.without(request.forget)
    return forget, retain, moved


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
    users, items = _embedded(model)
    return (users[pairs.users] * (items[pairs.items] - items[pairs.negatives])).sum(-1)


def ranking_gradient(model: Model, pairs: Pairs, aims: Tensor | None = None) -> Tensor:
    """Gradient of the summed loss over the tables, (P,) float64; `aims` (M,) are y, 1 where none are given."""
    weights = tables(model)
    with weights.differentiable(model):
        embedded = _embedded(model)
        pulls = _Pulls(embedded)
        for rows, users, difference in pulls.chunks(pairs):
            y = 1.0 if aims is None else aims[rows].to(users)
            pulls.add(pairs, rows, users, difference, pairs.share * ((users * difference).sum(-1).sigmoid() - y))
        return weights.flat(weights.slope(embedded, pulls.totals))


def withdrawn(model: Recommender, moved: Recommender, forget: Pairs, retain: Pairs, structural: bool) -> Tensor:
    """Gradient of what leaves with the forgotten pairs, (P,) float64; `structural`: and of what their edges carried.

    Args:
        model: The recommender with the edges.
        moved: The same without them.
        forget: Pairs that are to be forgotten.
        retain: Pairs that stay.
        structural: Count what deleted edges carried to pairs that stay (arXiv 2304.02835).
    """
    own = ranking_gradient(model, forget)
    return own + ranking_gradient(model, retain) - ranking_gradient(moved, retain) if structural else own


def ranking_curvature(model: Model, pairs: Pairs, damping: float, moving: Tensor | None = None) -> Product:
    """The product with the sum over pairs of J^T s (1 - s) J, s = sigmoid(m), plus damping: Gauss-Newton for any aims.

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
            embedded = _embedded(model)
            dummies = [torch.zeros_like(one, requires_grad=True) for one in embedded]
            along = torch.autograd.grad(weights.slope(embedded, dummies, graph=True), dummies, weights.parts(inside))
            pulls = _Pulls(embedded)
            for rows, users, difference in pulls.chunks(pairs):
                s = (users * difference).sum(-1).sigmoid()
                moved = along[1][pairs.items[rows]] - along[1][pairs.negatives[rows]]
                pushed = (along[0][pairs.users[rows]] * difference + users * moved).sum(-1)
                pulls.add(pairs, rows, users, difference, pairs.share * s * (1 - s) * pushed)
            total = weights.flat(weights.slope(embedded, pulls.totals))
        return (total if moving is None else total * moving) + damping * vector

    return product


class _Pulls:
    """What margins pull at the embeddings, summed in chunks: no tensor has a row of embeddings per pair of all."""

    def __init__(self, embedded: Sequence[Tensor]) -> None:
        self.users, self.items = (one.detach() for one in embedded)
        self.totals = [torch.zeros_like(self.users), torch.zeros_like(self.items)]

    def chunks(self, pairs: Pairs) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Positions of some pairs, their users' embeddings and the difference of their items', (m, D) each."""
        for rows in torch.arange(len(pairs), device=self.users.device).split(CHUNK):
            yield rows, self.users[pairs.users[rows]], self.items[pairs.items[rows]] - self.items[pairs.negatives[rows]]

    def add(self, pairs: Pairs, rows: Tensor, users: Tensor, difference: Tensor, slopes: Tensor) -> None:
        """Slopes (m,) of a loss in these pairs' margins."""
        self.totals[0].index_add_(0, pairs.users[rows], slopes[:, None] * difference)
        pull = slopes[:, None] * users
        self.totals[1].index_add_(0, pairs.items[rows], pull).index_add_(0, pairs.negatives[rows], -pull)


def _embedded(model: Model) -> tuple[Tensor, Tensor]:
    module: Any = model.module
    return module.embed()


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
