"""Recommenders that also read what an item shows and says: VBPR, MMGCN and MGCN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lethe.errors import InputError
from lethe.models.graphs import LightGCN, rows_of
from lethe.models.sparse import Sparse
from lethe.registry import did_you_mean

MODALITIES = ("image", "text")
NEIGHBOURS = 10  # of an item in each modality, itself among them
BLOCK = 1024  # items compared at a time


class Modal(LightGCN):
    """Base of the recommenders with item content, held as the buffers `content_image` (I, Dv), `content_text` (I, Dt).

    An item's row of zeros is one without that content, and adds nothing: what reads the content has no bias.

    Args:
        users: Number of users.
        items: Number of items.
        image: Width of the image features; 0 without any.
        text: Width of the text features; 0 without any.
        dim: Width of the embeddings.
        layers: Propagation steps on the user-item graph.
        edge_count: Number of interactions in a stored model.
    """

    def __init__(
        self, users: int, items: int, image: int = 0, text: int = 0, dim: int = 32, layers: int = 2, edge_count: int = 0
    ) -> None:
        super().__init__(users, items, dim, layers, edge_count)
        self.widths = {name: width for name, width in zip(MODALITIES, (image, text), strict=True) if width}
        if not self.widths:
            raise InputError(f"{type(self).__name__} reads item content; give image or text features (or both).")
        for name, width in self.widths.items():
            self.register_buffer(f"content_{name}", torch.zeros(items, width))
        self.modalities = tuple(self.widths)

    @property
    def arguments(self) -> dict[str, Any]:
        """What rebuilds this architecture."""
        shape = {"users": self.users, "items": self.items, "dim": self.dim, "layers": self.layers}
        return shape | self.widths | {"edge_count": self.edges.shape[1]}

    def content(self, modality: str) -> Tensor:
        """The items' raw features (I, D)."""
        return self.get_buffer(f"content_{modality}")

    def set_content(self, features: Mapping[str, Tensor]) -> None:
        """Make these the items' raw features, modality -> (I, D).

        Raises:
            InputError: If the model reads no such modality, or has another number of items or features.
        """
        for modality, given in features.items():
            if modality not in self.modalities:
                near = did_you_mean(modality, self.modalities)
                raise InputError(f"{type(self).__name__} reads no content called {modality!r}{near}.")
            held = self.content(modality)
            if given.shape != held.shape:
                raise InputError(
                    f"The {modality} features are {tuple(given.shape)}, the model's {tuple(held.shape)}: give one row "
                    "per item."
                )
            setattr(self, f"content_{modality}", given.detach().to(held).clone())
        self.set_edges(self.edges)  # what is built of the content is built again

    def blank(self, modality: str, items: Tensor) -> None:
        """Take the content of these items (N,) away: their rows become 0."""
        features = self.content(modality).clone()
        features[items] = 0
        self.set_content({modality: features})


def _projection(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=False)


class VBPR(Modal):
    """Visual BPR (arXiv 1510.01784): y_ui = p_u . [q_i; W x_i], a user's vector being twice as long as an item's."""

    def __init__(
        self, users: int, items: int, image: int = 0, text: int = 0, dim: int = 32, edge_count: int = 0
    ) -> None:
        super().__init__(users, items, image, text, dim, 0, edge_count)
        self.user_table = nn.Embedding(users, 2 * dim)
        self.project = nn.ModuleDict({name: _projection(width, dim) for name, width in self.widths.items()})
        self.reset_parameters()

    @property
    def arguments(self) -> dict[str, Any]:
        """What rebuilds this architecture."""
        return {name: value for name, value in super().arguments.items() if name != "layers"}

    def embed(self) -> tuple[Tensor, Tensor]:
        """Final embeddings of all users (U, 2D) and items (I, 2D)."""
        users, items = self.tables()
        shown = torch.stack([self.project[name](self.content(name)) for name in self.modalities]).sum(0)
        return users, torch.cat([items, shown], dim=1)


class MMGCN(Modal):
    """MMGCN (Wei et al., ACM MM 2019): in each modality a graph convolution of its own, joined by the ID embeddings.

    Users have a preference vector per modality in place of features. In each layer h = leaky(mean over neighbours of
    W1 x) and x' = leaky(W3 h + leaky(W2 x) + id); the last layers' outputs of all modalities are averaged.
    """

    def __init__(
        self, users: int, items: int, image: int = 0, text: int = 0, dim: int = 32, layers: int = 2, edge_count: int = 0
    ) -> None:
        super().__init__(users, items, image, text, dim, layers, edge_count)
        self.project = nn.ModuleDict({name: _projection(width, dim) for name, width in self.widths.items()})
        self.preferences = nn.ModuleDict({name: nn.Embedding(users, dim) for name in self.widths})
        kinds = ("neighbours", "own", "joined")
        self.convolutions = nn.ModuleDict(
            {f"{name}_{kind}": nn.ModuleList(_projection(dim, dim) for _ in range(layers))
             for name in self.widths for kind in kinds}
        )  # fmt: skip
        self.reset_parameters()

    def embed(self) -> tuple[Tensor, Tensor]:
        """Final embeddings of all users (U, D) and items (I, D)."""
        both = torch.stack([self._channel(name) for name in self.modalities]).mean(0)
        users, items = both.split([self.users, self.items])
        return users, items

    def _channel(self, name: str) -> Tensor:
        """One modality's (U + I, D)."""
        ids = torch.cat(self.tables())
        own = self.project[name](self.content(name))
        rows = F.normalize(torch.cat([rows_of(self.preferences[name]), own]), dim=-1)
        parts = [self.convolutions[f"{name}_{kind}"] for kind in ("neighbours", "own", "joined")]
        roots = torch.cat(self.graph.degrees).clamp(min=1).sqrt()[:, None]  # they turn the graph's weights into a mean
        for neighbours, alone, joined in zip(*parts, strict=True):
            users, items = (neighbours(rows) * roots).split([self.users, self.items])
            met = torch.cat([self.graph.to_users(items), self.graph.to_items(users)]) / roots
            rows = F.leaky_relu(joined(F.leaky_relu(met)) + F.leaky_relu(alone(rows)) + ids)
        return rows


class MGCN(Modal):
    """MGCN (arXiv 2308.03588): IDs on the user-item graph, IDs purified by content on item-item graphs, both agreeing.

    In each modality the ID of an item, gated by its projected content, goes one step along the graph of the items most
    alike, and from there to the users. What the modalities have in common is found by attention; what sets each apart
    is gated by the user-item view. Items that are in nobody's hands any more, or have no such content, are in no
    item-item graph: neither do they send nor receive.
    """

    forward_methods = ("embed", "views")
    temperature, agreement_weight = 0.2, 1e-2

    def __init__(
        self, users: int, items: int, image: int = 0, text: int = 0, dim: int = 32, layers: int = 2, edge_count: int = 0
    ) -> None:
        super().__init__(users, items, image, text, dim, layers, edge_count)
        self.project = nn.ModuleDict({name: _projection(width, dim) for name, width in self.widths.items()})
        self.purify = nn.ModuleDict({name: nn.Linear(dim, dim) for name in self.widths})
        self.prefer = nn.ModuleDict({name: nn.Linear(dim, dim) for name in self.widths})
        self.query = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), _projection(dim, 1))
        self.neighbours = nn.ModuleDict()
        self.set_edges(self.edges)
        self.reset_parameters()

    def set_edges(self, edges: Tensor) -> None:
        """Make these interactions (2, E) the graph, and the items in it the item-item graphs."""
        super().set_edges(edges)
        held = self.graph.degrees[1] > 0
        self.neighbours = nn.ModuleDict({name: nearest_items(self.content(name), held) for name in self.modalities})

    def embed(self) -> tuple[Tensor, Tensor]:
        """Final embeddings of all users (U, D) and items (I, D)."""
        side, content = self.views()
        return side[0] + content[0], side[1] + content[1]

    def views(self, draw: int = 0) -> list[tuple[Tensor, Tensor]]:
        """What the modalities say of all users and items, and what the user-item graph says; nothing is drawn."""
        tables = self.tables()
        content = self.combined(self.graph.steps(*tables, self.layers))
        found = [self._shown(name, tables[1]) for name in self.modalities]
        shown, present = torch.stack([rows for rows, _ in found]), torch.stack([known for _, known in found])
        attention = self.query(shown).masked_fill(~present, torch.finfo(shown.dtype).min).softmax(0)
        common = (attention * shown).sum(0)
        gates = torch.stack([torch.sigmoid(self.prefer[name](torch.cat(content))) for name in self.modalities])
        apart = (gates * (shown - common) * present).sum(0)
        users, items = ((apart + common) / (len(found) + 1)).split([self.users, self.items])
        return [(users, items), content]

    def _shown(self, name: str, ids: Tensor) -> tuple[Tensor, Tensor]:
        """One modality's rows (U + I, D), and who has any: all users, and the items of its graph (U + I, 1) bool."""
        graph = self.neighbours[name]
        assert isinstance(graph, Sparse)
        items = graph(ids * torch.sigmoid(self.purify[name](self.project[name](self.content(name)))))
        known = torch.cat([torch.ones_like(self.graph.degrees[0], dtype=torch.bool), graph.rows.diff() > 0])
        return torch.cat([self.graph.to_users(items), items]), known[:, None]


def nearest_items(features: Tensor, held: Tensor, count: int = NEIGHBOURS) -> Sparse:
    """Each item's nearest by cosine, itself among them: cosines (I, I), normalised by 1 / sqrt(row sum x row sum).

    Args:
        features: Raw features (I, D); items without any are left out.
        held: Which items take part (I,) bool.
        count: Neighbours of each item.
    """
    total = len(features)
    part = (held & (features != 0).any(1)).nonzero().squeeze(1)
    rows = F.normalize(features[part], dim=1)
    best = [(block @ rows.T).topk(min(count, len(part)), dim=1) for block in rows.split(BLOCK) if len(part)]
    if not best:
        return Sparse((total, total), part, features.new_zeros(0))
    cosines, nearest = torch.cat([top.values for top in best]).clamp(min=0), torch.cat([top.indices for top in best])
    sums = cosines.sum(1).rsqrt()
    values = cosines * sums[:, None] * sums[nearest]
    keys = (part[:, None] * total + part[nearest]).flatten()
    order = keys.argsort()
    return Sparse((total, total), keys[order], values.flatten()[order])
