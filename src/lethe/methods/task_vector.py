"""Negated task vectors."""

from pathlib import Path
from typing import Literal

from lethe.descent.terms import own_loss
from lethe.errors import InputError
from lethe.losses.weights import difference, shift
from lethe.models import load
from lethe.models.base import Model
from lethe.registry import method
from lethe.request import Request
from lethe.train import Recipe, Term, train


@method(
    needs={"loss"}, intent="removal", level="parameter", paper="2212.04089", requires={"forget"},
    presets={"paper": {"alpha": 5.0, "lr": 1e-5, "epochs": 10, "batch_size": 32}},
)  # fmt: skip
def task_vector(
    model: Model,
    request: Request,
    *,
    alpha: float = 1.0,
    start: Literal["target", "base"] = "target",
    base: str = "",
    lr: float = 1e-3,
    epochs: int = 5,
    batch_size: int = 32,
    seed: int | None = None,
    folder: Path | None = None,
    checkpoint_every: int = 0,
) -> Model:
    """Task vector: fine-tune on the forget set, then subtract from the model what that changed.

    The preset paper is that of MUSE (arXiv 2407.06460), found at 7 billion weights.

    Args:
        alpha: How many times the change is subtracted.
        start: What is fine-tuned: target (the model itself, as in MUSE) or base (a model from before it learnt).
        base: Folder of that base model, of the same architecture; what it lacks stays as it is.
        lr: Learning rate of the fine-tuning.
        epochs: Passes over the forget set.
        batch_size: Examples per step.
        seed: Seed of the fine-tuning; the request's where none is given.
        folder: Where checkpoints and the training log go.
        checkpoint_every: Steps between checkpoints, which need a folder; 0 writes none.

    Raises:
        InputError: If start=base comes without a base, the other way round, or the base has another architecture.
    """
    if (start == "base") != bool(base):
        raise InputError("task_vector: start=base and the folder of the base belong together; give both or neither.")
    origin = load(base, family=model.family, device=str(model.device)) if base else model
    tuned = origin.copy()
    recipe = Recipe(
        lr=lr, epochs=epochs, batch_size=batch_size, seed=request.seed if seed is None else seed,
        checkpoint_every=checkpoint_every,
    )  # fmt: skip
    learn = Term("forget", tuned.encode(request.forget), own_loss, per="token")
    train(tuned, [learn], recipe, folder=folder, identity="task_vector")
    unlearned = model.copy()
    vector = difference(tuned.module.state_dict(), origin.module.state_dict())
    unlearned.module.load_state_dict(shift(model.module.state_dict(), vector, -alpha))
    return unlearned
