"""A network that says how the embeddings of a recommender must change when edges are withdrawn (arXiv 2505.22649)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lethe.data.atomic import folder as atomic_folder
from lethe.errors import InputError, cause
from lethe.losses.influence_encoder import walk, withdrawal
from lethe.models.graphs import Graph
from lethe.models.recommender import Recommender

T = TypeVar("T")
SLOPE = 0.99  # of the leaky units: the network is almost linear
START = 2e-3  # share of each node's embedding that is withdrawn before training


class InfluenceEncoder(nn.Module):
    """Change of the ID embeddings, (U + I, D), from the graph of the removed edges and the final embeddings.

    change = MLP(S - eta * W): W are walks of exactly `layers` removed edges that set out from w * E, S the sum of the
    walks of 0 to `layers` edges that set out from an embedding H of the encoder's own. H starts at 0 and the MLP as the
    identity up to its leaky units, so an untrained encoder leaves a node without removed edges as it is.
    """

    def __init__(self, nodes: int, dim: int, layers: int = 3, eta: float = 0.1, depth: int = 2) -> None:
        super().__init__()
        self.arguments = {"nodes": nodes, "dim": dim, "layers": layers, "eta": eta, "depth": depth}
        self.layers, self.eta = layers, eta
        self.state = nn.Parameter(torch.zeros(nodes, dim))
        self.weight = nn.Parameter(torch.full((nodes, 1), START))
        self.mlp = nn.Sequential(*(part for _ in range(depth) for part in (nn.Linear(dim, dim), nn.LeakyReLU(SLOPE))))
        with torch.no_grad():
            for part in self.mlp:
                if isinstance(part, nn.Linear):
                    part.weight.copy_(torch.eye(dim))
                    part.bias.zero_()

    def forward(self, removed: Graph, final: Tensor) -> Tensor:
        """The change (U + I, D).

        Args:
            removed: Graph of the removed edges alone.
            final: The recommender's final embeddings before the request (U + I, D).
        """
        carried = withdrawal(_step(removed), final, self.weight, self.layers)
        return self.mlp(torch.stack(self.states(removed)).sum(0) - self.eta * carried)

    def states(self, removed: Graph) -> list[Tensor]:
        """H after 0 to `layers` steps on a graph of removed edges, each (U + I, D)."""
        return walk(_step(removed), self.state, self.layers)

    def save(self, folder: str | Path, told: Mapping[str, Any]) -> None:
        """Write the weights, and what is told of how they were made, whole or not at all."""
        from safetensors.torch import save_file

        with atomic_folder(folder) as temporary:
            config = {"lethe_encoder": type(self).__name__, "arguments": self.arguments, **told}
            (temporary / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
            tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
            save_file(tensors, temporary / "model.safetensors")

    @classmethod
    def load(cls, folder: str | Path, nodes: int, dim: int) -> tuple[Self, dict[str, Any]]:
        """What `save` wrote, and what it was told, for a recommender of that many users and items and that width.

        Raises:
            InputError: If the folder holds no encoder, a damaged one, or one of another size.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
            if config.get("lethe_encoder") != cls.__name__:
                raise InputError(f"{folder} holds no influence encoder; name a folder that unlearnrec made.")
            encoder = cls(**config["arguments"])
            encoder.load_state_dict(load_file(Path(folder) / "model.safetensors"))
        except (OSError, SafetensorError, KeyError, TypeError, RuntimeError, json.JSONDecodeError) as error:
            raise InputError(f"{folder} is no loadable influence encoder ({cause(error)}); make it again.") from error
        own = encoder.arguments["nodes"], encoder.arguments["dim"]
        if own != (nodes, dim):
            raise InputError(
                f"{folder}: the encoder is for {own[0]} users and items of width {own[1]}, the recommender has {nodes} "
                f"of width {dim}; an encoder serves the recommender that it was made for."
            )
        return encoder, dict(config.get("pretraining", {}))


class Influenced(nn.Module):
    """A recommender's network whose ID tables are moved by an encoder; what it has not itself it asks of the network.

    Args:
        model: The recommender; the weights of its network stay as they are, its graph becomes that of the request.
        encoder: What moves the tables.
        free: Whether the tables' own values may be trained, too.

    Raises:
        InputError: If final embeddings and ID tables differ in width.
    """

    forward_methods = ("embed",)  # what stands in for `forward`
    net: Any
    final: Tensor

    def __init__(self, model: Recommender, encoder: InfluenceEncoder, *, free: bool = False) -> None:
        super().__init__()
        self.net, self.encoder = model.module, encoder
        self.start = nn.Parameter(tables(model.net), requires_grad=free)
        self.register_buffer("final", finals(model))
        self.removed = Graph(model.net.users, model.net.items, model.net.edges[:, :0])

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "net":  # not there yet: a copy in the making
                raise
            return getattr(self.net, name)

    def withdraw(self, removed: Tensor, remaining: Tensor) -> None:
        """Serve this request: edges (2, E) that go, and those that stay, which become the network's graph."""
        self.removed = Graph(self.net.users, self.net.items, removed)
        self.net.set_edges(remaining)

    def moved(self) -> Tensor:
        """ID embeddings after the request (U + I, D)."""
        return self.start + self.encoder(self.removed, self.final)

    def call(self, function: Callable[[], T]) -> T:
        """What `function` gives while the network stands on the moved tables."""
        users, items = self.moved().split([self.net.users, self.net.items])
        weights = {"net.user_table.weight": users, "net.item_table.weight": items}
        return functional_call(_Standing(self.net), weights, (function,))

    def embed(self) -> tuple[Tensor, Tensor]:
        """Final embeddings of all users (U, D) and items (I, D)."""
        return self.call(self.net.embed)


class _Standing(nn.Module):
    """Calls what it is given; `functional_call` needs a module whose weights it can replace for that time."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, function: Callable[[], T]) -> T:
        return function()


def _step(graph: Graph) -> Callable[[Tensor], Tensor]:
    """One step on a graph for users and items together, (U + I, D)."""

    def step(both: Tensor) -> Tensor:
        users, items = both.split([graph.users, graph.items])
        return torch.cat([graph.to_users(items), graph.to_items(users)])

    return step


def tables(net: Any) -> Tensor:
    """The ID tables of a recommender's network as one (U + I, D), a copy.

    Raises:
        InputError: If users and items have no ID tables of one width.
    """
    user, item = (getattr(getattr(net, name, None), "weight", None) for name in ("user_table", "item_table"))
    if user is None or item is None or user.shape[1] != item.shape[1]:
        raise InputError(f"unlearnrec needs ID tables of one width for users and items; {type(net).__name__} has none.")
    return torch.cat([user.detach(), item.detach()]).clone()


def finals(model: Recommender) -> Tensor:
    """The final embeddings of a recommender as one (U + I, D), without gradient.

    Raises:
        InputError: If they are not as wide as the ID tables.
    """
    width = tables(model.net).shape[1]
    with model.evaluating():
        found = torch.cat(model.net.embed())
    if found.shape[1] != width:
        raise InputError(
            f"unlearnrec needs final embeddings as wide as the ID tables; those of {type(model.net).__name__} are "
            f"{found.shape[1]} wide, the tables {width}."
        )
    return found
