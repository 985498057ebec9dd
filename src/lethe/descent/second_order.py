"""Gradients and curvature of a model over flat vectors of some of its weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lethe.losses.curvature import softmax_product
from lethe.losses.newton import Product
from lethe.models.base import IGNORED, Example, Model


class Weights:
    """Some tensors of a model as one flat vector (P,), float64."""

    def __init__(self, named: Mapping[str, nn.Parameter]) -> None:
        self.tensors = list(named.values())

    def flat(self, parts: Sequence[Tensor]) -> Tensor:
        """One tensor per weight as (P,)."""
        return torch.cat([part.detach().flatten().double() for part in parts])

    def parts(self, vector: Tensor) -> list[Tensor]:
        """(P,) as one tensor per weight, of its shape and type."""
        pieces = vector.split([tensor.numel() for tensor in self.tensors])
        return [piece.view_as(tensor).to(tensor.dtype) for piece, tensor in zip(pieces, self.tensors, strict=True)]

    def slope(
        self, output: Tensor | Sequence[Tensor], along: Tensor | Sequence[Tensor] | None = None, graph: bool = False
    ) -> tuple[Tensor, ...]:
        """Gradient of an output (times `along`), or of several together; zeros for what they do not depend on."""
        return torch.autograd.grad(
            output,
            self.tensors,
            along,
            create_graph=graph,
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )

    def add(self, vector: Tensor) -> None:
        """Move the weights by a vector (P,), in place."""
        with torch.no_grad():
            for tensor, part in zip(self.tensors, self.parts(vector), strict=True):
                tensor.add_(part)

    @contextmanager
    def differentiable(self, model: Model) -> Iterator[None]:
        """Eval mode with gradients of these weights, whatever was frozen; all is as before afterwards."""
        before = [tensor.requires_grad for tensor in self.tensors]
        try:
            with model.evaluating(), torch.enable_grad():
                for tensor in self.tensors:
                    tensor.requires_grad_(True)
                yield
        finally:
            for tensor, wanted in zip(self.tensors, before, strict=True):
                tensor.requires_grad_(wanted)


def summed_gradient(model: Model, examples: Sequence[Example], weights: Weights) -> Tensor:
    """Sum over examples of the gradient of their loss, (P,)."""
    total = torch.zeros(sum(tensor.numel() for tensor in weights.tensors), dtype=torch.float64, device=model.device)
    with weights.differentiable(model):
        for batch in model.batches(examples):
            total += weights.flat(weights.slope(model.loss(batch).sum()))
    return total


def single_gradients(model: Model, examples: Sequence[Example], weights: Weights) -> Iterator[Tensor]:
    """The gradient of each example's loss, (P,) float64, in their order."""
    with weights.differentiable(model):
        for row, example in enumerate(examples):
            batch = model.collate([example], [row]).to(model.device)
            yield weights.flat(weights.slope(model.loss(batch).sum()))


def gauss_newton(model: Model, examples: Sequence[Example], weights: Weights, damping: float) -> Product:
    """The product with the mean over examples of J^T H J, plus damping: the Hessian without the network's own, (P,).

    J is the Jacobian of the logits, H the Hessian of the loss in them, so that the matrix is never indefinite. J v is
    the slope of J^T u along u (double backward).
    """
    batches = list(model.batches(examples))

    def product(vector: Tensor) -> Tensor:
        along, total = weights.parts(vector), torch.zeros_like(vector)
        with weights.differentiable(model):
            for batch in batches:
                logits = model.logits(batch)[batch.labels != IGNORED]
                u = torch.zeros_like(logits, requires_grad=True)
                pulled = weights.slope(logits, u, graph=True)
                (pushed,) = torch.autograd.grad(pulled, u, along)
                total += weights.flat(weights.slope(logits, softmax_product(logits, pushed).detach()))
        return total / len(examples) + damping * vector

    return product


def jacobian(model: Model, examples: Sequence[Example], weights: Weights) -> Tensor:
    """Gradients of every logit of every example's one token, (N V, P) float32, record by record."""
    rows: list[Tensor] = []
    with weights.differentiable(model):
        for row, example in enumerate(examples):
            logits = model.logits(model.collate([example], [row]).to(model.device))[0, 0]
            each = torch.eye(len(logits), device=logits.device)
            slopes = torch.autograd.grad(
                logits, weights.tensors, each, is_grads_batched=True, allow_unused=True, materialize_grads=True
            )
            rows.append(torch.cat([slope.detach().flatten(1).float() for slope in slopes], 1))
    return torch.cat(rows)
