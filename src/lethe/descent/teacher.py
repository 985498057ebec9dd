"""A student that leaves its teacher on the forget set and obeys it on the rest: what SCRUB and its rewind share."""

from __future__ import annotations

from torch import Tensor

from lethe.gradients import Term
from lethe.losses.classification import kl_temperature
from lethe.losses.tokens import sequence_nll
from lethe.models.base import Batch, Model
from lethe.request import Request


def leaving(epoch: int, forget_epochs: int) -> bool:
    """Whether an epoch is one of those that leave the teacher: every other one, until there have been enough."""
    return epoch % 2 == 0 and epoch < 2 * forget_epochs


def alternate(
    model: Model, request: Request, alpha: float, gamma: float, temperature: float, forget_epochs: int
) -> tuple[Term, Term]:
    """The two terms of SCRUB (arXiv 2302.09880), active in turn.

    Args:
        model: The model; a frozen copy of it is the teacher.
        request: What to forget and what to keep.
        alpha: Weight of the KL to the teacher on the retain set.
        gamma: Weight of the training loss on the retain set.
        temperature: Softmax temperature of both KL terms.
        forget_epochs: Epochs that maximise the KL to the teacher on the forget set.
    """
    teacher = model.copy()
    teacher.module.requires_grad_(False)

    def distance(logits: Tensor, batch: Batch) -> Tensor:
        with teacher.evaluating():
            taught = teacher.logits(batch)
        return kl_temperature(taught, logits, temperature).sum(-1)  # over the labels of a record

    def leave(model: Model, batch: Batch) -> Tensor:
        return -distance(model.logits(batch), batch)

    def obey(model: Model, batch: Batch) -> Tensor:
        logits = model.logits(batch)
        return alpha * distance(logits, batch) + gamma * sequence_nll(logits, batch.labels)

    return (
        Term("forget", model.encode(request.forget), leave, role="forget", active=lambda e: leaving(e, forget_epochs)),
        Term("retain", model.encode(request.retain), obey, active=lambda e: not leaving(e, forget_epochs)),
    )
