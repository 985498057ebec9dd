"""Moving the decision boundary over the forget set."""

from __future__ import annotations

import torch
from torch import Tensor

from lethe.descent.objective import objective
from lethe.errors import InputError
from lethe.losses.tokens import sequence_nll
from lethe.models.base import Batch, Model
from lethe.request import Request
from lethe.train import Term

LEVELS = 255  # of a stored image


@objective(families={"classifier"}, needs={"logits"}, paper="2303.11570", retain="none")
def boundary_shrink(model: Model, request: Request, *, radius: float = 0.1) -> Term:
    """Boundary shrink: train each forget record on the class that lies nearest across the boundary.

    That class is what the original model says of the record after one step against its own label (FGSM). Where that
    step does not cross the boundary, the published code trains on the true label, which forgets nothing; here the
    likeliest of the wrong classes stands in.

    Args:
        radius: Length of the step in every pixel (of images in 0 to 1) or feature.

    Raises:
        InputError: If the radius is not positive.
    """
    if not radius > 0:
        raise InputError(f"boundary_shrink: radius is {radius:g}; give the length of a step, above 0.")
    examples = model.encode(request.forget)
    nearest = torch.zeros((len(examples), examples[0].size), dtype=torch.long)
    for batch in model.batches(examples):
        nearest[batch.index.cpu()] = neighbours(model, batch, radius).cpu()

    def loss(model: Model, batch: Batch) -> Tensor:
        return sequence_nll(model.logits(batch), nearest[batch.index.cpu()].to(batch.labels.device))

    return Term("forget", examples, loss, role="forget")


def neighbours(model: Model, batch: Batch, radius: float) -> Tensor:
    """The class across the nearest boundary for each label (B, T), never its own."""
    image = batch.inputs["x"].dim() == 4
    with model.evaluating(), torch.enable_grad():
        x = batch.inputs["x"].detach().clone().requires_grad_(True)
        logits = model.logits(Batch(batch.index, {**batch.inputs, "x": x}, batch.labels))
        slope = torch.autograd.grad(sequence_nll(logits, batch.labels).sum(), x)[0]
        moved = x.detach() + radius * slope.sign()
        if image:
            moved = (moved.clamp(0, 1) * LEVELS).round() / LEVELS
        crossed = model.logits(Batch(batch.index, {**batch.inputs, "x": moved}, batch.labels))
    own = batch.labels
    wrong = logits.detach().scatter(-1, own[..., None], -torch.inf).argmax(-1)
    found = crossed.detach().argmax(-1)
    return torch.where(found == own, wrong, found)
