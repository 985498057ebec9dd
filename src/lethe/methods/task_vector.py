"""Negated task vectors."""

from pathlib import Path

from lethe.descent.terms import own_loss
from lethe.losses.weights import difference, shift
from lethe.models.base import Model
from lethe.registry import method
from lethe.request import Request
from lethe.train import Recipe, Term, train


@method(needs={"loss"}, intent="removal", level="parameter", paper="2212.04089", requires={"forget"})
def task_vector(
    model: Model,
    request: Request,
    *,
    alpha: float = 1.0,
    lr: float = 1e-3,
    epochs: int = 5,
    batch_size: int = 32,
    seed: int | None = None,
    folder: Path | None = None,
) -> Model:
    """Task vector: fine-tune further on the forget set, then subtract what that changed.

    Args:
        alpha: How many times the change is subtracted.
        lr: Learning rate of the fine-tuning.
        epochs: Passes over the forget set.
        batch_size: Examples per step.
        seed: Seed of the fine-tuning; the request's where none is given.
        folder: Where the training log goes.
    """
    tuned = model.copy()
    recipe = Recipe(lr=lr, epochs=epochs, batch_size=batch_size, seed=request.seed if seed is None else seed)
    train(tuned, [Term("forget", tuned.encode(request.forget), own_loss, per="token")], recipe, folder=folder)
    unlearned = model.copy()
    start = model.module.state_dict()
    vector = difference(tuned.module.state_dict(), start)
    unlearned.module.load_state_dict(shift(start, vector, -alpha))
    return unlearned
