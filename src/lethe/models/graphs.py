"""Recommenders on the user-item graph: propagation, and the networks that are trained by it."""

from __future__ import annotations

import copy
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lethe.errors import InputError
from lethe.models.sparse import Sparse

INITIAL_STD = 0.1  # of embeddings


class Graph(nn.Module):
    """Interactions as one sparse operator, rows of users to rows of items and back; nothing here is users x items.

    An edge weighs 1 / sqrt(degree of the user x degree of the item), by the degrees of this graph; who has no edge
    receives 0. Repeated interactions are one edge.

    Args:
        users: Number of users U.
        items: Number of items I.
        edges: Users and items of the interactions (2, E).

    Raises:
        InputError: If an edge leads to nobody: the sparse product would read beside its memory.
    """

    keys: Tensor  # (E,) user * items + item of every edge, ascending

    def __init__(self, users: int, items: int, edges: Tensor) -> None:
        super().__init__()
        self.users, self.items = users, items
        if edges.numel() and (edges.min() < 0 or edges[0].max() >= users or edges[1].max() >= items):
            raise InputError(f"An interaction lies outside the model's {users} users x {items} items, counted from 0.")
        self.register_buffer("keys", torch.unique(edges[0] * items + edges[1]), persistent=False)
        present = torch.ones(len(self.keys), device=self.keys.device)
        self.operator = Sparse((users, items), self.keys, self._normalised(present))

    def _normalised(self, present: Tensor) -> Tensor:
        shares = [
            present.new_zeros(count).index_add_(0, ends, present).clamp(min=1).rsqrt()[ends]
            for count, ends in zip((self.users, self.items), self.edges, strict=True)
        ]
        return present * shares[0] * shares[1]

    @property
    def edges(self) -> Tensor:
        """Every edge once, by user and item: (2, E)."""
        return torch.stack([self.keys // self.items, self.keys % self.items])

    def thinned(self, kept: Tensor) -> Graph:
        """The graph of the edges that are kept, (E,) bool in the order of `edges`, by the degrees that are left."""
        twin = copy.copy(self)
        values = self._normalised(kept.to(self.operator.values.dtype))
        twin._modules = {"operator": self.operator.weighing(values)}
        return twin

    @property
    def degrees(self) -> tuple[Tensor, Tensor]:
        """Number of edges of every user (U,) and item (I,)."""
        return self.operator.rows.diff(), self.operator.rows_back.diff()

    def holds(self, users: Tensor, items: Tensor) -> Tensor:
        """Which of the pairs (B,), (B,) are edges: (B,) bool."""
        wanted = users * self.items + items
        if not len(self.keys):
            return torch.zeros_like(wanted, dtype=torch.bool)
        place = torch.searchsorted(self.keys, wanted).clamp(max=len(self.keys) - 1)
        return self.keys[place] == wanted

    def of(self, user: int) -> Tensor:
        """The items of one user, ascending."""
        return self.operator.of(user)

    def to_users(self, items: Tensor) -> Tensor:
        """What the users' items send them: (I, D) -> (U, D)."""
        return self.operator(items)

    def to_items(self, users: Tensor) -> Tensor:
        """What the items' users send them: (U, D) -> (I, D)."""
        return self.operator.transposed(users)

    def steps(self, users: Tensor, items: Tensor, count: int) -> list[tuple[Tensor, Tensor]]:
        """The embeddings before and after every one of `count` propagation steps."""
        found = [(users, items)]
        for _ in range(count):
            users, items = self.to_users(items), self.to_items(users)
            found.append((users, items))
        return found


class LightGCN(nn.Module):
    """LightGCN (arXiv 2002.02126): embeddings averaged over propagation steps on the user-item graph.

    With `layers=0` it is matrix factorisation. The embeddings of all steps are averaged, or summed as in the code of
    UnlearnRec (arXiv 2505.22649).
    """

    forward_methods = ("embed",)  # what stands in for `forward`
    modalities: tuple[str, ...] = ()
    edges: Tensor

    def __init__(
        self,
        users: int,
        items: int,
        dim: int = 32,
        layers: int = 2,
        edge_count: int = 0,
        combine: Literal["mean", "sum"] = "mean",
    ) -> None:
        super().__init__()
        self.users, self.items, self.dim, self.layers, self.combine = users, items, dim, layers, combine
        self.user_table = nn.Embedding(users, dim)
        self.item_table = nn.Embedding(items, dim)
        self.register_buffer("edges", torch.zeros((2, edge_count), dtype=torch.long))
        self.graph = Graph(users, items, self.edges[:, :0])
        self.reset_parameters()

    @property
    def arguments(self) -> dict[str, Any]:
        """What rebuilds this architecture."""
        return {"users": self.users, "items": self.items, "dim": self.dim, "layers": self.layers,
                "edge_count": self.edges.shape[1], "combine": self.combine}  # fmt: skip

    def reset_parameters(self) -> None:
        """Draw every weight anew, in place."""
        for name, weight in self.named_parameters():
            if weight.dim() == 1:  # a bias
                nn.init.zeros_(weight)
            elif isinstance(self.get_submodule(name.rpartition(".")[0]), nn.Embedding):
                nn.init.normal_(weight, std=INITIAL_STD)
            else:
                nn.init.xavier_uniform_(weight)

    def set_edges(self, edges: Tensor) -> None:
        """Make these interactions (2, E) the graph."""
        self.edges = edges.clone()
        self.graph = Graph(self.users, self.items, self.edges)

    def seen(self, users: Tensor | None = None) -> Tensor:
        """Which items the users (B,), all by default, have interacted with: (B, I) bool."""
        asked = torch.arange(self.users) if users is None else users
        found = torch.zeros((len(asked), self.items), dtype=torch.bool, device=self.edges.device)
        for row, user in enumerate(asked.tolist()):
            found[row, self.graph.of(user)] = True
        return found

    def embed(self) -> tuple[Tensor, Tensor]:
        """Final embeddings of all users (U, D) and items (I, D)."""
        return self.combined(self.graph.steps(*self.tables(), self.layers))

    def combined(self, steps: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """One embedding each out of those of every propagation step."""
        share = 1 / len(steps) if self.combine == "mean" else 1.0
        users, items = steps[0]
        for user, item in steps[1:]:
            users, items = users + user, items + item
        return (users * share, items * share) if share != 1 else (users, items)

    def tables(self) -> tuple[Tensor, Tensor]:
        """The users' and the items' rows before any propagation."""
        return rows_of(self.user_table), rows_of(self.item_table)


def rows_of(table: nn.Module) -> Tensor:
    """All rows of an embedding (N, D), with what an adapter adds to them."""
    weight = table.weight
    assert isinstance(weight, Tensor)
    if type(table) is nn.Embedding:
        return weight
    return table(torch.arange(len(weight), device=weight.device))  # an adapter takes part in the forward pass alone


class SGL(LightGCN):
    """Self-supervised graph learning (arXiv 2010.10783): LightGCN whose embeddings must agree on two thinned graphs."""

    forward_methods = ("embed", "views")
    temperature, agreement_weight = 0.1, 1e-2
    keep = 0.8  # share of the edges in each of the two graphs

    def views(self, draw: int) -> list[tuple[Tensor, Tensor]]:
        """Embeddings of all users and items on two graphs of a random part of the edges, as `draw` seeds it."""
        rng = torch.Generator().manual_seed(draw)
        kept = torch.rand((2, len(self.graph.keys)), generator=rng).to(self.edges.device) < self.keep
        graphs = [self.graph.thinned(part) for part in kept]
        return [self.combined(graph.steps(*self.tables(), self.layers)) for graph in graphs]


class SimGCL(LightGCN):
    """SimGCL (arXiv 2112.08679): embeddings of the steps after the first, which must agree under two draws of noise."""

    forward_methods = ("embed", "views")
    temperature, agreement_weight = 0.1, 1e-2
    noise = 0.2  # length of what is added to each row at each step, in the row's own orthant

    def combined(self, steps: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """One embedding each out of those of every step but the first."""
        return super().combined(steps[1:] or steps)

    def views(self, draw: int) -> list[tuple[Tensor, Tensor]]:
        """Embeddings of all users and items under two draws of noise, as `draw` seeds it."""
        rng = torch.Generator().manual_seed(draw)
        return [self._noisy(rng), self._noisy(rng)]

    def _noisy(self, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        steps = [self.tables()]
        for _ in range(self.layers):
            (after,) = self.graph.steps(*steps[-1], 1)[1:]
            moved = [rows + self._beside(rows, rng) for rows in after]
            steps.append((moved[0], moved[1]))
        return self.combined(steps)

    def _beside(self, rows: Tensor, rng: torch.Generator) -> Tensor:
        drawn = torch.rand(rows.shape, generator=rng).to(rows)
        return rows.detach().sign() * nn.functional.normalize(drawn, dim=-1) * self.noise
