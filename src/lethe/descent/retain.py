"""Retain terms: what keeps the rest of the model where it is."""

from __future__ import annotations

from torch import Tensor

from lethe.descent.terms import own_loss
from lethe.losses.divergence import kl
from lethe.models.base import Batch, Model
from lethe.request import Request
from lethe.train import Term


def nll(model: Model, request: Request, weight: float) -> Term:
    """The model's own training loss on the retain set, per token."""
    return Term("retain", model.encode(request.retain), own_loss, per="token", weight=weight)


def kl_to_original(model: Model, request: Request, weight: float) -> Term:
    """KL(original || model) in nats per token on the retain set; holds a frozen copy of the model."""
    original = model.copy()
    original.module.requires_grad_(False)

    def loss(model: Model, batch: Batch) -> Tensor:
        with original.evaluating():
            reference = original.logits(batch)
        return kl(reference, model.logits(batch), batch.labels).sum(-1)

    return Term("retain", model.encode(request.retain), loss, per="token", weight=weight)


TERMS = {"nll": nll, "kl": kl_to_original}
