"""Fine-tuning towards sparse weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lethe.descent.objective import objective
from lethe.descent.terms import own_loss
from lethe.errors import InputError
from lethe.models.base import Batch, Model
from lethe.recipe import Recipe
from lethe.request import Request
from lethe.train import Done, Term


@objective(needs={"loss"}, paper="2304.04934", retain=None, requires={"retain"})
def l1_sparse(model: Model, request: Request, *, gamma: float = 5e-4, plain_epochs: int = 0) -> list[Term]:
    """L1-sparse: fine-tune on the retain set with an l1 penalty on all weights that fades from epoch to epoch.

    Args:
        gamma: Weight of the sum of |weights| in the first epoch; 0 is fine-tuning.
        plain_epochs: Epochs at the end without penalty.

    Raises:
        InputError: If either is negative.
    """
    if gamma < 0 or plain_epochs < 0:
        raise InputError(f"l1_sparse: gamma={gamma:g} and plain_epochs={plain_epochs} must be 0 or more.")
    retain = model.encode(request.retain)

    def penalty(model: Model, batch: Batch) -> Tensor:
        norm = torch.stack([weight.abs().sum() for weight in model.module.parameters() if weight.requires_grad]).sum()
        return norm.expand(len(batch))  # the same for each example, so that its mean over any batch is the norm

    fading = Fading(gamma, plain_epochs)
    return [Term("retain", retain, own_loss, per="token"), Term("l1", retain, penalty, weight=fading)]


@dataclass(eq=False)
class Fading:
    """A weight that falls to 0 in equal steps: `gamma (1 - t / (T - plain))` in epoch t of T."""

    gamma: float
    plain_epochs: int
    state: dict[str, Tensor] = field(default_factory=lambda: {"step": torch.zeros((), dtype=torch.long)})
    steps: int = 0
    epochs: int = 1

    def __float__(self) -> float:
        epoch = int(self.state["step"]) * self.epochs // max(self.steps, 1)
        return self.gamma * max(0.0, 1 - epoch / max(self.epochs - self.plain_epochs, 1))

    def begin(self, moving: Mapping[str, Tensor], recipe: Recipe, steps: int) -> None:
        """Start at the first step; a recipe in steps fades as one in as many epochs."""
        self.steps, self.epochs = steps, steps if recipe.steps else max(int(recipe.epochs), 1)
        self.state["step"].zero_()

    def after(self, done: Done) -> None:
        """Count the step."""
        self.state["step"].fill_(done.step)

    def end(self) -> None:
        """Nothing is left to do."""
