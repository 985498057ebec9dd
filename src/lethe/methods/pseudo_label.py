"""Relabelling by what the model itself would say instead."""

import torch
from torch import Tensor

from lethe.descent.objective import objective
from lethe.errors import InputError
from lethe.losses.tokens import sequence_nll
from lethe.models.base import Batch, Model
from lethe.request import Request, classes_of
from lethe.train import Term


@objective(families={"classifier"}, needs={"logits"}, paper="2503.06991", retain="none")
def pseudo_label(model: Model, request: Request) -> Term:
    """Pseudo-label: train each forget record on the class that the original model would name next to its own.

    A class that is forgotten as a whole (none of its records stays) is nobody's pseudo-label.

    Raises:
        InputError: If no class is left to name.
    """
    examples = model.encode(request.forget)
    stay = set(classes_of(request.retain, "pseudo_label"))
    gone = set(classes_of(request.forget, "pseudo_label")) - stay if stay else set()
    targets = torch.zeros(len(examples), dtype=torch.long)
    with model.evaluating():
        for batch in model.batches(examples):
            logits = model.logits(batch)[:, 0].scatter(1, batch.labels, -torch.inf)
            logits[:, sorted(gone)] = -torch.inf
            if bool(torch.isneginf(logits).all(-1).any()):
                raise InputError("pseudo_label: every class of the model is to be forgotten; keep at least one.")
            targets[batch.index.cpu()] = logits.argmax(-1).cpu()

    def loss(model: Model, batch: Batch) -> Tensor:
        return sequence_nll(model.logits(batch), targets[batch.index.cpu()].to(batch.labels.device)[:, None])

    return Term("forget", examples, loss, role="forget")
