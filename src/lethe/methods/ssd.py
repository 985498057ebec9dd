"""Selective synaptic dampening."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lethe.errors import InputError
from lethe.losses.weights import dampen
from lethe.models.base import Example, Model
from lethe.registry import method
from lethe.request import Request


@method(
    families={"classifier"}, needs={"loss"}, intent="removal", level="parameter", paper="2308.07707",
    requires={"forget", "retain"},
)  # fmt: skip
def ssd(model: Model, request: Request, *, alpha: float = 10.0, dampening: float = 1.0, batch_size: int = 1) -> Model:
    """SSD: shrink the weights that matter more to the forget set than to all data, in two passes and no training.

    Args:
        alpha: How many times more a weight must matter to the forget set; 10 for a class, other values for rows.
        dampening: Lambda of the paper: factor on what is left of a weight, never more than all of it.
        batch_size: Examples whose gradients are averaged before they are squared. 1 is the diagonal of the Fisher
            information; the released code has a whole batch, and its alpha belongs to that.

    Raises:
        InputError: If alpha or dampening is not positive, or the batch size below 1.
    """
    if not (alpha > 0 and dampening > 0 and batch_size >= 1):
        raise InputError(
            f"ssd: alpha={alpha:g} and dampening={dampening:g} must be above 0, batch_size={batch_size} at least 1."
        )
    forget = model.encode(request.forget)
    everything = [*forget, *model.encode(request.retain)]
    dampened = model.copy()
    of_all, of_forget = (importance(dampened, examples, batch_size) for examples in (everything, forget))
    with torch.no_grad():
        for name, weight in dampened.module.named_parameters():
            weight.copy_(dampen(weight, of_all[name], of_forget[name], alpha, dampening))
    return dampened


def importance(model: Model, examples: Sequence[Example], batch_size: int) -> dict[str, Tensor]:
    """Mean over batches of the squared gradient of the batch's mean loss, per weight, in eval mode."""
    named = {name: weight for name, weight in model.module.named_parameters() if weight.is_floating_point()}
    total = {name: torch.zeros_like(weight) for name, weight in named.items()}
    batches = 0
    with model.evaluating(), torch.enable_grad():
        for start in range(0, len(examples), batch_size):
            rows = range(start, min(start + batch_size, len(examples)))
            batch = model.collate([examples[row] for row in rows], rows).to(model.device)
            loss = model.loss(batch).sum() / model.sizes(batch).sum()
            slopes = torch.autograd.grad(loss, list(named.values()), allow_unused=True, materialize_grads=True)
            for name, slope in zip(named, slopes, strict=True):
                total[name] += slope.square()
            batches += 1
    return {name: value / batches for name, value in total.items()}
