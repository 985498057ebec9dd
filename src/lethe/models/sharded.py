"""Ensembles whose constituents have each seen a part of the records, as ordinary networks that save and load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lethe.errors import InputError
from lethe.models.graphs import Graph

Part = nn.Module | Mapping[str, Any]  # a network, or what `described` says of one


def described(module: nn.Module) -> dict[str, Any]:
    """What rebuilds a network without its weights: the architecture's name and arguments, or its configuration."""
    anything: Any = module
    if hasattr(module, "save_pretrained"):
        return {"transformers": anything.config.to_dict()}
    return {"name": type(module).__name__, "arguments": anything.arguments}


def built(part: Part) -> nn.Module:
    """The network that `described` described, with weights of its own making."""
    if isinstance(part, nn.Module):
        return part
    if "transformers" in part:
        from transformers import AutoConfig, AutoModelForImageClassification

        return AutoModelForImageClassification.from_config(AutoConfig.for_model(**part["transformers"])).eval()
    from lethe.models import nets

    return nets.ARCHITECTURES[part["name"]](**part["arguments"])


def _redraw(parts: nn.ModuleList) -> None:
    from lethe.models import nets

    for part, seed in zip(parts, torch.randint(2**31, (len(parts),)).tolist(), strict=True):
        nets.reset(part, seed)


class ShardedClassifier(nn.Module):
    """Constituents that each decide alone; the output is the logarithm of their mean probability, or of their vote.

    Args:
        parts: Constituents, or their descriptions.
        combine: mean (of the probabilities), or vote: the share of the constituents that decide so, ties broken by the
            mean, as (votes + mean) / (constituents + 1), which no row of mean probabilities can overturn.
        keys: A hash of all that each constituent is a function of, empty where nobody keeps one.
        voting: Which constituents have seen a record at all and so take part; all by default.
    """

    voting: Tensor
    by_vote: Tensor  # `combine` as a tensor: what decides differently has another fingerprint

    def __init__(
        self,
        parts: Sequence[Part],
        combine: Literal["mean", "vote"] = "mean",
        keys: Sequence[str] = (),
        voting: Sequence[bool] = (),
        **told: Any,  # size and multi_label: repeated in the folder for its readers, read from the constituents here
    ) -> None:
        super().__init__()
        self.constituents = nn.ModuleList(built(part) for part in parts)
        self.combine, self.keys = combine, list(keys)
        self.register_buffer("voting", torch.tensor([*voting] or [True] * len(parts)))
        self.register_buffer("by_vote", torch.tensor(combine == "vote"))

    @property
    def arguments(self) -> dict[str, Any]:
        """What rebuilds this ensemble."""
        own: Any = self.constituents[0]
        single = getattr(own, "arguments", {})
        told = {"size": single["size"]} if "size" in single else {}
        problem = getattr(getattr(own, "config", None), "problem_type", None)
        if "multi_label" in single or problem == "multi_label_classification":
            told["multi_label"] = True
        return {"parts": [described(part) for part in self.constituents], "combine": self.combine,
                "keys": self.keys, **told}  # fmt: skip

    def reset_parameters(self) -> None:
        """Draw every constituent anew."""
        _redraw(self.constituents)

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> log-probabilities (B, classes); of yes-or-no decisions the log-odds (B, A)."""
        outputs: list[Any] = [part(x) for part, votes in zip(self.constituents, self.voting, strict=True) if votes]
        scores = torch.stack([getattr(output, "logits", output) for output in outputs])
        if "multi_label" in self.arguments:
            scores = torch.stack([torch.zeros_like(scores), scores], -1)
            decided = self._combined(scores)
            return decided[..., 1] - decided[..., 0]
        return self._combined(scores)

    def _combined(self, scores: Tensor) -> Tensor:
        """Log-probabilities (..., V) out of every constituent's scores (S, ..., V)."""
        mean = torch.logsumexp(scores.log_softmax(-1), 0) - torch.tensor(float(len(scores))).log()
        if self.combine == "mean":
            return mean
        votes = F.one_hot(scores.argmax(-1), scores.shape[-1]).sum(0)
        return ((votes + mean.exp()) / (len(scores) + 1)).log()


class ShardedRecommender(nn.Module):
    """Recommenders that each know a part of the interactions; the score is their mean, or one of their weighted sum.

    Args:
        parts: Constituents, or their descriptions; all have the same users, items and width D.
        combine: mean: embeddings side by side, so that the inner product is the mean score. attention: as in RecEraser
            (arXiv 2201.06820), every constituent's embeddings are carried over by a matrix of its own and summed with
            weights that each user and each item has for the constituents.
        keys: As in `ShardedClassifier`.
        voting: As in `ShardedClassifier`.
    """

    forward_methods = ("embed",)  # what stands in for `forward`
    voting: Tensor

    def __init__(
        self,
        parts: Sequence[Part],
        combine: Literal["mean", "attention"] = "mean",
        keys: Sequence[str] = (),
        voting: Sequence[bool] = (),
    ) -> None:
        super().__init__()
        self.constituents = nn.ModuleList(built(part) for part in parts)
        self.combine, self.keys = combine, list(keys)
        self.register_buffer("voting", torch.tensor([*voting] or [True] * len(parts)))
        if combine == "attention":
            with torch.no_grad():
                widths = [side.shape[1] for side in self._first.embed()]
            self.user_attention, self.item_attention = (Attention(len(parts), width) for width in widths)
        self._join()

    def reset_parameters(self) -> None:
        """Draw every constituent anew, and start the attention where it starts."""
        _redraw(self.constituents)
        if self.combine == "attention":
            self.user_attention.reset_parameters()
            self.item_attention.reset_parameters()

    @property
    def _first(self) -> Any:
        return self.constituents[0]

    @property
    def users(self) -> int:
        """Number of users."""
        return self._first.users

    @property
    def items(self) -> int:
        """Number of items."""
        return self._first.items

    @property
    def modalities(self) -> tuple[str, ...]:
        """What the constituents read of an item's content."""
        return getattr(self._first, "modalities", ())

    @property
    def arguments(self) -> dict[str, Any]:
        """What rebuilds this ensemble."""
        return {"parts": [described(part) for part in self.constituents], "combine": self.combine, "keys": self.keys}

    @property
    def edges(self) -> Tensor:
        """The interactions of all constituents, one constituent's after the other's: (2, E)."""
        own: list[Any] = list(self.constituents)
        return torch.cat([part.edges for part in own], 1)

    def set_edges(self, edges: Tensor) -> None:
        """Leave every constituent those of its interactions that are among these (2, E).

        Raises:
            InputError: If one of them is nobody's: an ensemble cannot tell whose shard it would belong to.
        """
        wanted, own = edges[0] * self.items + edges[1], self.edges[0] * self.items + self.edges[1]
        if foreign := int((~torch.isin(wanted, own)).sum()):
            raise InputError(f"{foreign} interactions are in no shard of the ensemble; train one on all of them.")
        part: Any
        for part in self.constituents:
            part.set_edges(part.edges[:, torch.isin(part.edges[0] * self.items + part.edges[1], wanted)])
        self._join()

    def blank(self, modality: str, items: Tensor) -> None:
        """Take the content of these items away from every constituent."""
        part: Any
        for part in self.constituents:
            part.blank(modality, items)

    def _join(self) -> None:
        self.graph = Graph(self.users, self.items, self.edges)  # of all, whatever each constituent knows of it

    def parts(self) -> tuple[Tensor, Tensor]:
        """The embeddings of every constituent that takes part: (S, U, D) and (S, I, D)."""
        own: list[Any] = [part for part, votes in zip(self.constituents, self.voting, strict=True) if votes]
        users, items = zip(*(part.embed() for part in own), strict=True)
        return torch.stack(users), torch.stack(items)

    def embed(self) -> tuple[Tensor, Tensor]:
        """Embeddings of all users and items whose inner product is the ensemble's score; (U, D), (I, D)."""
        users, items = self.parts()
        if self.combine == "attention":
            return self.user_attention(users, self.voting), self.item_attention(items, self.voting)
        scale = len(users) ** -0.5
        return scale * users.movedim(0, 1).flatten(1), scale * items.movedim(0, 1).flatten(1)


class Attention(nn.Module):
    """RecEraser's sum of one side: alpha_j e'_j over j, e'_j = W_j e_j + b_j, alpha = softmax h^T relu(W e' + b).

    Starts as the plain mean (W_j the identity, h zero) so that training can only add to it.
    """

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.carry = nn.Parameter(torch.empty(count, width, width))
        self.shift = nn.Parameter(torch.empty(count, width))
        self.hidden = nn.Linear(width, max(1, width // 2))
        self.ask = nn.Parameter(torch.empty(max(1, width // 2)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The plain mean of the constituents."""
        with torch.no_grad():
            self.carry.copy_(torch.eye(self.carry.shape[1]).expand_as(self.carry))
            self.shift.zero_()
            self.ask.zero_()
        self.hidden.reset_parameters()

    def forward(self, parts: Tensor, voting: Tensor) -> Tensor:
        """(S, N, D) of the constituents that take part -> (N, D)."""
        carried = torch.einsum("snd,sde->sne", parts, self.carry[voting]) + self.shift[voting][:, None]
        alpha = (F.relu(self.hidden(carried)) @ self.ask).softmax(0)
        return (alpha[..., None] * carried).sum(0)
