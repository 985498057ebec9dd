"""Retain terms: what keeps the rest of the model where it is."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lethe.descent.terms import own_loss
from lethe.descent.tokenwise import frozen_logits
from lethe.losses.divergence import kl
from lethe.models.base import Batch, Example, Model
from lethe.request import Request
from lethe.train import Term


def nll(model: Model, request: Request, weight: float) -> Term:
    """The model's own training loss on the retain set, per token."""
    return Term("retain", model.encode(request.retain), own_loss, per="token", weight=weight)


def kl_to_original(model: Model, request: Request, weight: float) -> Term:
    """KL(original || model) in nats per token on the retain set; holds a frozen copy of the model."""
    original = frozen_logits(model)

    def loss(model: Model, batch: Batch) -> Tensor:
        return kl(original(batch), model.logits(batch), batch.labels).sum(1)

    return Term("retain", model.encode(request.retain), loss, per="token", weight=weight)


def kl_everywhere(model: Model, request: Request, weight: float) -> Term:
    """KL(original || model) in nats per position on the retain set, prompt and padding included (a frozen copy)."""
    return divergence_everywhere("retain", model, model.encode(request.retain), weight)


def divergence_everywhere(name: str, model: Model, examples: Sequence[Example], weight: float) -> Term:
    """KL(original || model), the mean over all positions of the batch: prompt and padding count like the answers.

    The form in the released code of TOFU (arXiv 2401.06121), NPO (arXiv 2404.05868) and LLMU (arXiv 2310.10683), whose
    value depends on the padding; there the last position of a row, which predicts no token, counts as well. All rows of
    an effective batch are padded to one length before it is cut, so the mean of the rows' means is the mean over the
    positions, also under accumulation and data parallelism. Holds a frozen copy of the model.
    """
    original = frozen_logits(model)

    def loss(model: Model, batch: Batch) -> Tensor:
        return kl(original(batch), model.logits(batch), batch.labels, compat="reference").mean(1)

    return Term(name, examples, loss, per="example", weight=weight)


TERMS = {"nll": nll, "kl": kl_to_original, "kl_all": kl_everywhere}
