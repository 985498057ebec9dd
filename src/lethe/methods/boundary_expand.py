"""A class of its own for what is to be forgotten, then pruned."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from lethe.descent.terms import own_loss
from lethe.errors import InputError
from lethe.models.base import Model
from lethe.registry import method
from lethe.request import Request, classes_of
from lethe.train import Recipe, Term, train


@method(
    families={"classifier"}, needs={"logits"}, intent="removal", level="parameter", paper="2303.11570",
    requires={"forget"},
)  # fmt: skip
def boundary_expand(
    model: Model, request: Request, *, lr: float = 1e-4, epochs: int = 10, batch_size: int = 32, seed: int | None = None
) -> Model:
    """Boundary expand: train the forget set on an extra class, and take that class away again.

    Args:
        lr: Learning rate (AdamW).
        epochs: Passes over the forget set.
        batch_size: Records per step.
        seed: Seed of the order and of the extra class; the request's where none is given.

    Raises:
        InputError: If the network has no linear head, or records have several labels.
    """
    seed = request.seed if seed is None else seed
    classes_of(request.forget, "boundary_expand")
    expanded = model.copy()
    linear = [(name, one) for name, one in expanded.module.named_modules() if isinstance(one, nn.Linear)]
    if not linear:
        raise InputError(f"boundary_expand: {type(model.module).__name__} has no linear head to give a class to.")
    name, head = linear[-1]
    bias = cast("Tensor | None", head.bias)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        wider: Any = nn.Linear(head.in_features, head.out_features + 1, bias is not None).to(head.weight.device)
    with torch.no_grad():
        wider.weight[:-1] = head.weight
        if bias is not None:
            wider.bias[:-1] = bias
    owner = expanded.module.get_submodule(name.rpartition(".")[0])
    setattr(owner, name.rpartition(".")[2], wider)
    away = [{**record, "label": head.out_features} for record in request.forget]
    recipe = Recipe(lr=lr, epochs=epochs, batch_size=batch_size, seed=seed, weight_decay=0.0)
    train(expanded, [Term("forget", expanded.encode(away), own_loss, role="forget")], recipe)
    with torch.no_grad():
        head.weight.copy_(wider.weight[:-1])
        if bias is not None:
            bias.copy_(wider.bias[:-1])
    setattr(owner, name.rpartition(".")[2], head)
    return expanded
