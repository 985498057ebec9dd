"""Recommenders on the user-item graph: the sparse propagation, and the networks that are trained by it."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import torch
from torch import Tensor, nn

INITIAL_STD = 0.1  # of embeddings

with warnings.catch_warnings():  # torch says once per process that its CSR tensors are young
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
    torch.sparse_csr_tensor(torch.tensor([0, 0]), torch.tensor([0])[:0], torch.ones(0), (1, 1), check_invariants=False)


class _Spread(torch.autograd.Function):
    """A fixed sparse matrix times a dense one, differentiable as often as is asked: its transpose lies ready."""

    @staticmethod
    def forward(ctx: Any, dense: Tensor, there: Tensor, back: Tensor) -> Tensor:
        ctx.there, ctx.back = there, back
        with torch.autocast(dense.device.type, enabled=False):  # there is no half-precision product on a CPU
            return (there @ dense.to(there.dtype)).to(dense.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, None]:
        return _Spread.apply(gradients[0], ctx.back, ctx.there), None, None


class Graph(nn.Module):
    """Interactions as one sparse operator, rows of users to rows of items and back; nothing here is users x items.

    An edge weighs 1 / sqrt(degree of the user x degree of the item), by the degrees of this graph; who has no edge
    receives 0. Repeated interactions are one edge. Both directions are stored, in int32 where they fit.
    """

    keys: Tensor  # (E,) user * items + item of every edge, ascending
    user_rows: Tensor  # CSR of (users, items): columns are keys % items
    user_columns: Tensor
    user_weights: Tensor
    item_rows: Tensor  # CSR of (items, users)
    item_columns: Tensor
    item_weights: Tensor
    order: Tensor  # (E,) the edges, as positions in `keys`, in the order of the second CSR

    def __init__(self, users: int, items: int, edges: Tensor) -> None:
        super().__init__()
        self.users, self.items = users, items
        keys = torch.unique(edges[0] * items + edges[1])
        user, item = keys // items, keys % items
        order = item.argsort(stable=True)
        short = torch.int32 if max(users, items, len(keys)) < 2**31 else torch.int64
        parts = {
            "keys": keys, "order": order.to(short),
            "user_rows": _starts(user, users).to(short), "user_columns": item.to(short),
            "item_rows": _starts(item, items).to(short), "item_columns": user[order].to(short),
        }  # fmt: skip
        for name, part in parts.items():
            self.register_buffer(name, part, persistent=False)
        self.register_buffer("user_weights", torch.empty(0), persistent=False)
        self.register_buffer("item_weights", torch.empty(0), persistent=False)
        self._weigh(torch.ones(len(keys), device=keys.device))

    def _weigh(self, present: Tensor) -> None:
        user, item = self.keys // self.items, self.keys % self.items
        degrees = [
            present.new_zeros(count).index_add_(0, ends, present).clamp(min=1).rsqrt()
            for count, ends in ((self.users, user), (self.items, item))
        ]
        self.user_weights = present * degrees[0][user] * degrees[1][item]
        self.item_weights = self.user_weights[self.order]

    @property
    def edges(self) -> Tensor:
        """Every edge once, by user and item: (2, E)."""
        return torch.stack([self.keys // self.items, self.keys % self.items])

    def thinned(self, kept: Tensor) -> Graph:
        """The graph of the edges that are kept, (E,) bool in the order of `edges`, by the degrees that are left."""
        twin = Graph.__new__(Graph)
        nn.Module.__init__(twin)
        twin.users, twin.items = self.users, self.items
        for name, part in self.named_buffers():
            twin.register_buffer(name, part, persistent=False)
        twin._weigh(kept.to(self.user_weights.dtype))
        return twin

    def holds(self, users: Tensor, items: Tensor) -> Tensor:
        """Which of the pairs (B,), (B,) are edges: (B,) bool."""
        wanted = users * self.items + items
        if not len(self.keys):
            return torch.zeros_like(wanted, dtype=torch.bool)
        place = torch.searchsorted(self.keys, wanted).clamp(max=len(self.keys) - 1)
        return self.keys[place] == wanted

    def of(self, user: int) -> Tensor:
        """The items of one user, ascending."""
        return self.user_columns[int(self.user_rows[user]) : int(self.user_rows[user + 1])].long()

    def to_users(self, items: Tensor) -> Tensor:
        """What the users' items send them: (I, D) -> (U, D)."""
        return self._send(items, 0)

    def to_items(self, users: Tensor) -> Tensor:
        """What the items' users send them: (U, D) -> (I, D)."""
        return self._send(users, 1)

    def steps(self, users: Tensor, items: Tensor, count: int) -> list[tuple[Tensor, Tensor]]:
        """The embeddings before and after every one of `count` propagation steps."""
        found = [(users, items)]
        for _ in range(count):
            users, items = self.to_users(items), self.to_items(users)
            found.append((users, items))
        return found

    def _send(self, dense: Tensor, direction: int) -> Tensor:
        weights = torch.promote_types(self.user_weights.dtype, torch.float32)
        matrices = (
            _csr(self.user_rows, self.user_columns, self.user_weights.to(weights), (self.users, self.items)),
            _csr(self.item_rows, self.item_columns, self.item_weights.to(weights), (self.items, self.users)),
        )
        sent = _Spread.apply(dense, matrices[direction], matrices[1 - direction])
        assert isinstance(sent, Tensor)
        return sent


def _starts(sorted_or_not: Tensor, count: int) -> Tensor:
    """Where each row of a CSR matrix starts, (count + 1,)."""
    counts = torch.bincount(sorted_or_not, minlength=count).cumsum(0)
    return torch.cat([counts.new_zeros(1), counts])


def _csr(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    return torch.sparse_csr_tensor(rows, columns, values, shape, check_invariants=False)


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
        """Draw every weight anew."""
        for table in (self.user_table, self.item_table):
            nn.init.normal_(table.weight, std=INITIAL_STD)

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
        """The users' and the items' rows before any propagation, with what an adapter adds to them."""
        return _rows(self.user_table), _rows(self.item_table)


def _rows(table: nn.Module) -> Tensor:
    weight = table.weight
    assert isinstance(weight, Tensor)
    if type(table) is nn.Embedding:
        return weight
    return table(torch.arange(len(weight), device=weight.device))  # an adapter takes part in the forward pass alone
