"""Loss terms that more than one method is made of."""

from __future__ import annotations

import torch
from torch import Tensor

from lethe.losses import ascent
from lethe.losses.classification import random_labels
from lethe.losses.tokens import sequence_nll
from lethe.models.base import Batch, Model
from lethe.request import Request
from lethe.train import Term


def own_loss(model: Model, batch: Batch) -> Tensor:
    """The loss that the family trains on, (B,)."""
    return model.loss(batch)


def ascend(model: Model, request: Request, weight: float = 1.0) -> Term:
    """Gradient ascent on the forget set, per scored token."""

    def loss(model: Model, batch: Batch) -> Tensor:
        return ascent.ga(model.loss(batch))

    return Term("forget", model.encode(request.forget), loss, per="token", role="forget", weight=weight)


def relabel(model: Model, request: Request, exclude_true: bool = False) -> Term:
    """The forget set with labels drawn anew at every step."""

    def loss(model: Model, batch: Batch) -> Tensor:
        logits = model.logits(batch)
        drawn = random_labels(batch.labels.cpu(), logits.shape[-1], torch.default_generator, exclude_true)
        return sequence_nll(logits, drawn.to(logits.device))

    return Term("forget", model.encode(request.forget), loss, role="forget")
