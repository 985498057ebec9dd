"""Taking back what single training steps did."""

from __future__ import annotations

from typing import Any, Literal

import torch

from lethe.descent.terms import own_loss
from lethe.descent.updates import Ledger, updates_of
from lethe.errors import InputError
from lethe.models.base import Model
from lethe.registry import method
from lethe.request import Request
from lethe.train import Recipe, Term, train


@method(
    families={"classifier"}, needs={"loss"}, intent="removal", level="retraining", paper="2010.10981",
    requires={"forget", "retain"},
)  # fmt: skip
def amnesiac(
    model: Model,
    request: Request,
    *,
    updates: str = "",
    lr: float = 1e-3,
    epochs: int = 20,
    batch_size: int = 32,
    optimizer: Literal["adamw", "sgd"] = "adamw",
    weight_decay: float = 0.0,
    schedule: Literal["constant", "linear", "cosine"] = "constant",
    warmup: float = 0.0,
    clip: float | None = 1.0,
    repair_lr: float = 0.0,
    repair_epochs: int = 1,
    seed: int | None = None,
) -> Model:
    """Amnesiac unlearning: subtract what the training steps did in which forget records took part, then repair.

    Those changes must have been kept while the model was trained (`lethe.descent.updates.Ledger`, option `updates`).
    Where none were, the model is trained again from fresh weights on both sets with this recipe, and its changes are
    kept: that costs more than retraining, and is here to compare with. Steps in which forget records took part hold
    other records as well: the more such steps, the more the repair has to teach again. What later steps owe to the
    ones taken back stays in the weights.

    Args:
        updates: Folder of the steps that were kept when this model was trained; empty trains it again.
        lr: Learning rate of that training.
        epochs: Its epochs.
        batch_size: Its records per step, and the repair's.
        optimizer: Its optimiser: adamw or sgd.
        weight_decay: Its weight decay.
        schedule: Its schedule of the learning rate: constant, linear (to 0) or cosine (to 0).
        warmup: Its share of steps with rising learning rate, 0 to 1.
        clip: Largest gradient norm; none switches clipping off.
        repair_lr: Learning rate of the repair on retain records; 0 takes `lr`.
        repair_epochs: Epochs of the repair; 0 repairs nothing.
        seed: Seed of weights and order; the request's where none is given.

    Raises:
        InputError: If the folder's steps are not those of this model's training.
    """
    if repair_epochs < 0:
        raise InputError(f"amnesiac: repair_epochs is {repair_epochs}; give 0 or more.")
    seed = request.seed if seed is None else seed
    if updates:
        unlearned = model.copy()
        taken, _, _ = updates_of(updates, [str(record["id"]) for record in request.forget], model)
    else:
        unlearned = model.fresh(seed)
        records = [*request.retain, *request.forget]
        ledger = Ledger("train", records, only=[str(record["id"]) for record in request.forget])
        recipe: dict[str, Any] = {"lr": lr, "epochs": epochs, "optimizer": optimizer, "weight_decay": weight_decay}
        recipe |= {"schedule": schedule, "warmup": warmup, "clip": clip, "batch_size": batch_size, "seed": seed}
        train(unlearned, [Term("train", unlearned.encode(records), own_loss)], Recipe(**recipe), step_rule=ledger)
        taken = ledger.kept()
    own = unlearned.module.state_dict()
    with torch.no_grad():
        for name, change in taken.items():
            own[name] -= change.to(own[name])
    if repair_epochs:
        repair = Recipe(lr=repair_lr or lr, epochs=repair_epochs, batch_size=batch_size, seed=seed)
        train(unlearned, [Term("repair", unlearned.encode(request.retain), own_loss)], repair)
    unlearned.module.eval()
    return unlearned
