"""What every family's model can be asked, in one vocabulary.

An output is always a sequence of categorical distributions: a language model scores the tokens of an answer, a
classifier is the case of one token out of `classes`, a recommender that of one item out of the catalogue. Losses,
membership scores and the distance to the control are therefore written once.
"""

from __future__ import annotations

import copy
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from lethe.errors import InputError
from lethe.losses.tokens import sequence_nll, wide
from lethe.models.guard import Guard

IGNORED = -100


@dataclass(frozen=True)
class Example:
    """One record made ready for its model: tensors without a batch dimension."""

    inputs: Mapping[str, Any]
    size: int  # number of scored tokens
    length: int = 1  # cost of a forward pass, for length-bucketed batches


@dataclass(frozen=True)
class Batch:
    """Examples stacked for one forward pass.

    `index` (B,) is the position of each example in the list it was encoded from, so that values computed once per
    example (reference log-probabilities) can be looked up. `labels` (B, T) hold -100 where nothing is scored.
    """

    index: Tensor
    inputs: Mapping[str, Tensor]
    labels: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        moved = {name: value.to(device) for name, value in self.inputs.items()}
        return Batch(self.index.to(device), moved, self.labels.to(device))

    def take(self, positions: Sequence[int]) -> Batch:
        """The examples at these positions."""
        rows = torch.tensor(positions)
        return Batch(self.index[rows], {name: value[rows] for name, value in self.inputs.items()}, self.labels[rows])

    def __len__(self) -> int:
        return len(self.index)


class Model(ABC):
    """A thin wrapper around the ecosystem's own module. Subclasses: one per family."""

    family: ClassVar[str]
    abilities: frozenset[str]  # of loss, nll (the loss is an exact likelihood), logits, hidden, generate, experts, ...
    loss_kind: ClassVar[str] = "nats"  # "nats" (exact), "bound" or "ranking"
    record_fields: ClassVar[tuple[str, ...]]

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.guard: Guard | None = None  # rules at the output, kept in the model's folder

    @abstractmethod
    def encode(self, records: Sequence[Mapping[str, Any]]) -> Sequence[Example]:
        """Records as examples; text is tokenised here, once."""

    def picked(self, examples: Sequence[Example], rows: Sequence[int]) -> Sequence[Example]:
        """The examples at these positions."""
        return [examples[row] for row in rows]

    @abstractmethod
    def collate(self, examples: Sequence[Example], index: Sequence[int], rng: torch.Generator | None = None) -> Batch:
        """Examples as one batch; `rng` drives whatever the family must sample (negatives)."""

    @abstractmethod
    def logits(self, batch: Batch) -> Tensor:
        """Scores (B, T, V), aligned with the labels: position t predicts `batch.labels[:, t]`."""

    @abstractmethod
    def save(self, folder: str | Path) -> Path:
        """Write an ordinary folder of the ecosystem (safetensors), whole or not at all."""

    @abstractmethod
    def fresh(self, seed: int) -> Self:
        """The same architecture with newly drawn weights."""

    @property
    def loading(self) -> tuple[str, ...]:
        """The lines of Python that load what `save` wrote; FOLDER stands for the folder."""
        return ("from lethe.models import load", 'model = load("FOLDER")')

    @property
    def inner(self) -> nn.Module:
        """The network whose weights are the model's own, without what is wrapped around it."""
        return self.module

    def without(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Take records out of whatever the model stores beside its weights (a recommender's graph); nothing here."""
        return

    def loss(self, batch: Batch) -> Tensor:
        """Per-example loss (B,), summed over the scored tokens, in nats unless `loss_kind` says otherwise."""
        return sequence_nll(self.logits(batch), batch.labels)

    def sizes(self, batch: Batch) -> Tensor:
        """Number of scored tokens (B,)."""
        return (batch.labels != IGNORED).sum(-1)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.module.parameters()).device

    def batches(self, examples: Sequence[Example], size: int = 64) -> Iterator[Batch]:
        """All examples in batches of similar length, on the model's device; `Batch.index` tells the order."""
        order = sorted(range(len(examples)), key=lengths(examples).__getitem__)
        for start in range(0, len(order), size):
            index = order[start : start + size]
            rng = torch.Generator().manual_seed(start)
            yield self.collate(self.picked(examples, index), index, rng).to(self.device)

    def copy(self) -> Self:
        """An independent model with equal weights; tokenizers and other frozen parts are shared."""
        twin = copy.copy(self)
        twin.module = copy.deepcopy(self.module)
        return twin

    def fingerprint(self) -> str:
        """SHA-256 of every weight and buffer with its name, type and shape, and of the guard where there is one."""
        digest = hashlib.sha256(b"" if self.guard is None else repr(self.guard).encode())
        for name, tensor in sorted(self.module.state_dict().items()):
            digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()

    def behaviour(self) -> str:
        """SHA-256 of all that decides what is observed of the model: the fingerprint, and what stands beside it."""
        return self.fingerprint()

    @contextmanager
    def evaluating(self) -> Iterator[Self]:
        """Eval mode without gradients; the former mode of every layer is restored."""
        before = [(layer, layer.training) for layer in self.module.modules()]
        self.module.eval()
        try:
            with torch.no_grad():
                yield self
        finally:
            for layer, training in before:
                layer.training = training

    def require(self, needs: frozenset[str], who: str) -> None:
        """Refuse, before any compute, what this family cannot do.

        Raises:
            InputError: Naming the abilities that are missing.
        """
        if missing := needs - self.abilities:
            raise InputError(
                f"{who} needs {', '.join(sorted(missing))}, which a {self.family} model does not offer; "
                f"it offers {', '.join(sorted(self.abilities))}."
            )


def check_weights(module: nn.Module, where: str) -> None:
    """Refuse weights that are not finite.

    Raises:
        InputError: Naming the first tensor that holds NaN or infinity.
    """
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{where}: tensor {name!r} holds NaN or infinite weights; use an intact checkpoint.")


def check_complete(report: Mapping[str, Any], where: str) -> None:
    """Refuse a checkpoint without some of its weights, which transformers would draw at random.

    Raises:
        InputError: Naming the first tensor that is missing.
    """
    if missing := sorted(report["missing_keys"]):
        raise InputError(
            f"{where} lacks {len(missing)} of the model's tensors ({missing[0]}); they would be random: "
            "use a complete checkpoint."
        )


def lengths(examples: Sequence[Example]) -> Sequence[int]:
    """Length of every example; a sequence that holds no objects says it by itself."""
    own = getattr(examples, "lengths", None)
    return [example.length for example in examples] if own is None else own


def per_example(model: Model, examples: Sequence[Example], size: int = 8) -> Tensor:
    """`model.loss` of every example, once, without gradient: (N,) on the CPU, in the order of the examples.

    Objectives that compare with the model before unlearning call this once and then hold one model in memory. The
    batches are small so that this pass needs no more memory than the training step that follows.
    """
    order: list[Tensor] = []
    values: list[Tensor] = []
    with model.evaluating():
        for batch in model.batches(examples, size):
            order.append(batch.index.cpu())
            values.append(wide(model.loss(batch)).cpu())
    return torch.cat(values)[torch.cat(order).argsort()]


def gradient_norms(model: Model, examples: Sequence[Example]) -> dict[str, np.ndarray]:
    """Gradient norms of the mean token loss of every example, by p ("2", "inf"): (N, P) over P parameter tensors.

    One backward pass per example, in eval mode: dropout would add noise. Shared tensors count once.
    """
    weights = [weight for weight in model.module.parameters() if weight.is_floating_point()]
    before = [weight.requires_grad for weight in weights]
    rows: dict[str, list[list[float]]] = {"2": [], "inf": []}
    try:
        with model.evaluating(), torch.enable_grad():
            for weight in weights:
                weight.requires_grad_(True)
            for example in examples:
                batch = model.collate([example], [0]).to(model.device)
                loss = (model.loss(batch) / model.sizes(batch)).sum()
                slopes = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
                for p, found in rows.items():
                    found.append([float(torch.linalg.vector_norm(slope.float(), float(p))) for slope in slopes])
    finally:
        for weight, wanted in zip(weights, before, strict=True):
            weight.requires_grad_(wanted)
    return {p: np.array(found) for p, found in rows.items()}
