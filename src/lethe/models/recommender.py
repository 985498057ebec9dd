"""Recommenders over implicit feedback: user and item embeddings, with or without a graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self, overload

import numpy as np
import torch
from torch import Tensor

from lethe.data.atomic import folder as atomic_folder
from lethe.errors import InputError
from lethe.losses.ranking import agreement, bpr
from lethe.models import guard, nets
from lethe.models.base import Batch, Example, Model, check_weights
from lethe.registry import did_you_mean

TRIES = 20  # rounds of drawing negatives blindly, before the items of the few users that are left are looked through


class Interactions(Sequence[Example]):
    """Examples held as two rows of numbers: of millions, an object each would take most of the memory and time.

    Args:
        users: (N,) int64.
        items: (N,) int64.
    """

    def __init__(self, users: np.ndarray, items: np.ndarray) -> None:
        self.users, self.items = users, items

    def __len__(self) -> int:
        return len(self.users)

    @overload
    def __getitem__(self, row: int) -> Example: ...
    @overload
    def __getitem__(self, row: slice) -> Interactions: ...
    def __getitem__(self, row: int | slice) -> Example | Interactions:
        if isinstance(row, slice):
            return Interactions(self.users[row], self.items[row])
        return Example({"user": int(self.users[row]), "item": int(self.items[row])}, size=1)

    @property
    def lengths(self) -> Sequence[int]:
        """Length of every example, (N,)."""
        return [1] * len(self)

    def at(self, rows: Sequence[int]) -> Interactions:
        """The interactions at these positions."""
        places = np.array(rows, dtype=np.int64)
        return Interactions(self.users[places], self.items[places])


class Recommender(Model):
    """Ranks items for users. Records are interactions `{"user", "item"}` with 0-based ids.

    The module offers `embed() -> (U, D), (I, D)` and carries the training interactions as the buffer `edges` (2, E):
    they are its graph, and what negatives are drawn against. The training loss is BPR, a ranking loss in nats; `logits`
    is the softmax over the catalogue that the scores imply.
    """

    family: ClassVar[str] = "recommender"
    abilities: frozenset[str] = frozenset({"loss", "logits", "scores"})
    loss_kind: ClassVar[str] = "ranking"
    record_fields: ClassVar[tuple[str, ...]] = ("user", "item")
    _held: list[Any] | None = None  # within `evaluating`: the weights with their versions, and their embeddings

    @property
    def net(self) -> Any:
        """The module, for attributes that nn.Module does not declare."""
        return self.module

    @classmethod
    def load(cls, source: str | Path, *, trust_remote_code: bool = False) -> Self:
        """A folder that `save` wrote (no code is ever loaded from it).

        Raises:
            InputError: If it is no recommender folder, or its weights are not finite.
        """
        module = nets.load(source)
        if not hasattr(module, "embed"):
            raise InputError(f"{source} holds a {type(module).__name__}, which is not a recommender.")
        check_weights(module, str(source))
        model = cls(module.eval())
        model.guard = guard.read(source)
        return model

    def save(self, folder: str | Path) -> Path:
        """Write the folder, whole or not at all."""
        with atomic_folder(folder) as temporary:
            nets.save(self.module, temporary)
            if self.guard is not None:
                self.guard.write(temporary)
        return Path(folder)

    def fresh(self, seed: int) -> Self:
        """The same architecture with newly drawn embeddings."""
        twin = self.copy()
        nets.reset(twin.module, seed)
        return twin

    def without(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Take interactions out of the graph: a deleted edge would go on carrying what it carried.

        A record with the field "modality" (image, text) keeps its edge; what it takes away is that content of its item.

        Raises:
            InputError: If the model reads no such modality.
        """
        content: dict[str, list[int]] = {}
        gone: list[int] = []
        for record in records:
            if "modality" in record:
                content.setdefault(str(record["modality"]), []).append(int(record["item"]))
            else:
                gone.append(int(record["user"]) * self.net.items + int(record["item"]))
        for modality, items in content.items():
            if modality not in self.net.modalities:
                near = did_you_mean(modality, self.net.modalities) if self.net.modalities else "; it reads none"
                raise InputError(f"The model reads no content called {modality!r}{near}.")
            self.net.blank(modality, torch.tensor(sorted(set(items)), device=self.device))
        if gone:
            edges = self.net.edges
            left = ~torch.isin(edges[0] * self.net.items + edges[1], torch.tensor(gone, device=edges.device))
            self.net.set_edges(edges[:, left])

    @contextmanager
    def evaluating(self) -> Iterator[Self]:
        """Eval mode without gradients, in which unchanged weights are propagated over the graph once."""
        before = self._held
        try:
            with super().evaluating():
                self._held = []
                yield self
        finally:
            self._held = before

    def embed(self) -> tuple[Tensor, Tensor]:
        """Final embeddings of all users (U, D) and items (I, D)."""
        if self._held is None or torch.is_grad_enabled():
            return self.net.embed()
        tensors = [*self.module.parameters(), *self.module.buffers()]
        state = [(tensor, tensor._version) for tensor in tensors]
        if not self._held or not _same(self._held[0], state):
            self._held[:] = [state, self.net.embed()]
        return self._held[1]

    def encode(self, records: Sequence[Mapping[str, Any]]) -> Sequence[Example]:
        """User and item numbers.

        Raises:
            InputError: If an id is missing or lies outside the model's tables, or a record is about an item's content.
        """
        for row, record in enumerate(records):
            if "modality" in record:  # trained on as it stands, the purchase itself would be forgotten
                raise InputError(
                    f"record {record.get('id', row)!r} withdraws the {record['modality']} of item {record['item']}, no "
                    "interaction; methods that serve this are retrain, finetune and mmrecun."
                )
        users, items = (np.array([int(record.get(side, -1)) for record in records], dtype=np.int64)
                        for side in ("user", "item"))  # fmt: skip
        outside = (users < 0) | (users >= self.net.users) | (items < 0) | (items >= self.net.items)
        if outside.any():
            row = int(outside.argmax())
            raise InputError(
                f"record {records[row].get('id', row)!r}: user {users[row]}, item {items[row]} lies outside the "
                f"model's {self.net.users} users x {self.net.items} items; ids are 0-based."
            )
        return Interactions(users, items)

    def picked(self, examples: Sequence[Example], rows: Sequence[int]) -> Sequence[Example]:
        """The examples at these positions."""
        return examples.at(rows) if isinstance(examples, Interactions) else super().picked(examples, rows)

    def collate(self, examples: Sequence[Example], index: Sequence[int], rng: torch.Generator | None = None) -> Batch:
        """Users, items and one negative each (B,), drawn from the items that the user has not in the graph."""
        if not isinstance(examples, Interactions):
            sides = ([example.inputs[side] for example in examples] for side in ("user", "item"))
            examples = Interactions(*(np.array(side, dtype=np.int64) for side in sides))
        users, items = torch.from_numpy(examples.users), torch.from_numpy(examples.items)
        rng = rng or torch.Generator().manual_seed(0)
        negatives = self._negatives(users, items, rng)
        inputs = {"users": users, "items": items, "negatives": negatives}
        if hasattr(self.net, "views"):
            inputs["draw"] = torch.randint(2**62, (1,), generator=rng).expand(len(users))
        return Batch(torch.from_numpy(np.array(index, dtype=np.int64)), inputs, items[:, None])

    def _negatives(self, users: Tensor, items: Tensor, rng: torch.Generator) -> Tensor:
        """Uniform over the items that are neither the user's nor the batch's own; any item where there is no such."""
        negatives = torch.empty_like(items)
        rows, tries = torch.arange(len(users)), 0
        while len(rows) and tries < TRIES:
            drawn = torch.randint(self.net.items, (len(rows),), generator=rng)
            negatives[rows] = drawn
            known = self.net.graph.holds(users[rows].to(self.device), drawn.to(self.device)).cpu()
            rows, tries = rows[known | (drawn == items[rows])], tries + 1
        for row in rows.tolist():  # whoever has nearly everything: draw from the list of what is left
            free = torch.ones(self.net.items, dtype=torch.bool)
            free[self.net.graph.of(int(users[row])).cpu()] = False
            free[items[row]] = False
            left = free.nonzero().squeeze(1) if free.any() else torch.arange(self.net.items)
            negatives[row] = left[torch.randint(len(left), (1,), generator=rng)]
        return negatives

    def margins(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Scores of the batch's items and of its negatives, (B,) each."""
        users, items = self.embed()
        user = users[batch.inputs["users"]]
        return (user * items[batch.inputs["items"]]).sum(-1), (user * items[batch.inputs["negatives"]]).sum(-1)

    def loss(self, batch: Batch) -> Tensor:
        """BPR against one sampled negative, (B,); in training mode with the network's own term, two views that agree.

        Each row of one view is told from the others of the batch, so that this term depends on how large a batch is.
        """
        values = bpr(*self.margins(batch))
        if not (self.module.training and hasattr(self.net, "views")):
            return values
        views = zip(*self.net.views(int(batch.inputs["draw"][0])), strict=True)  # of the users, then of the items
        rows = batch.inputs["users"], batch.inputs["items"]
        parts = [agreement(one[at], two[at], self.net.temperature) for at, (one, two) in zip(rows, views, strict=True)]
        return values + self.net.agreement_weight * (parts[0] + parts[1])

    def logits(self, batch: Batch) -> Tensor:
        """(B, 1, I): the user's score of every item."""
        return self.scores(batch.inputs["users"])[:, None]

    def scores(self, users: Tensor) -> Tensor:
        """Scores (B, I) of all items for the users (B,)."""
        user_table, item_table = self.embed()
        scores = user_table[users] @ item_table.T
        return scores if self.guard is None else self.guard.ranking(users, scores)


def _same(one: Sequence[tuple[Tensor, int]], other: Sequence[tuple[Tensor, int]]) -> bool:
    return len(one) == len(other) and all(a is b and v == w for (a, v), (b, w) in zip(one, other, strict=True))
