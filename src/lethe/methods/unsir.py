"""Impair with error-maximising noise, then repair."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lethe.descent.terms import own_loss
from lethe.errors import InputError
from lethe.losses.tokens import sequence_nll
from lethe.models.base import Batch, Model
from lethe.registry import method
from lethe.request import Record, Request, classes_of
from lethe.train import Recipe, Term, train


@method(
    families={"classifier"}, needs={"logits"}, intent="removal", level="parameter", paper="2111.08947",
    requires={"forget", "retain"},
)  # fmt: skip
def unsir(
    model: Model,
    request: Request,
    *,
    lr: float = 1e-4,
    epochs: int = 1,
    batch_size: int = 32,
    repair_lr: float = 0.0,
    repair_epochs: int = 1,
    copies: int = 80,
    noise_lr: float = 0.1,
    noise_steps: int = 25,
    penalty: float = 0.1,
    per_class: int = 500,
    seed: int | None = None,
) -> Model:
    """UNSIR: learn noise that the model takes least for the forgotten classes, train on it, then repair.

    No forget record is read, only its label: the method is for whole classes.

    Args:
        lr: Learning rate of the impairing epochs.
        epochs: Impairing epochs, on noise labelled as the forgotten classes and on retain records.
        batch_size: Records per step, and noise inputs per forgotten class.
        repair_lr: Learning rate of the repairing epochs; 0 takes `lr`.
        repair_epochs: Repairing epochs, on retain records.
        copies: How often each noise input is shown in an impairing epoch.
        noise_lr: Learning rate of the noise.
        noise_steps: Steps in which the noise is learnt.
        penalty: Weight of the noise's squared norm.
        per_class: Most retain records of each class.
        seed: Seed of noise and order; the request's where none is given.

    Raises:
        InputError: If a forgotten class stands in the retain set, records have several labels, or a number is out of
            range.
    """
    if min(epochs, repair_epochs, copies, noise_steps, per_class, batch_size) < 1 or penalty < 0 or lr < 0:
        raise InputError("unsir: epochs, copies, steps, records and batches must be at least 1, rates 0 or more.")
    seed = request.seed if seed is None else seed
    gone = sorted(set(classes_of(request.forget, "unsir")))
    kept = defaultdict(list)
    for record in request.retain:
        kept[int(record["label"])].append(record)
    if shared := sorted(set(gone) & set(kept)):
        raise InputError(
            f"unsir forgets whole classes, but class {shared[0]} stands in the forget and in the retain set; use it "
            "for class forgetting only."
        )
    retain = [record for records in kept.values() for record in records[:per_class]]
    impaired = model.copy()
    learnt = noise(impaired, request.retain[0], gone, batch_size, noise_lr, noise_steps, penalty, seed)
    shown = impaired.encode([*(learnt * copies), *retain])
    settings: dict[str, Any] = {"batch_size": batch_size, "seed": seed, "weight_decay": 0.0}
    train(impaired, [Term("impair", shown, own_loss)], Recipe(lr=lr, epochs=epochs, **settings))
    repair = Recipe(lr=repair_lr or lr, epochs=repair_epochs, **settings)
    train(impaired, [Term("repair", impaired.encode(retain), own_loss)], repair)
    return impaired


def noise(
    model: Model, like: Record, labels: list[int], count: int, lr: float, steps: int, penalty: float, seed: int
) -> list[Record]:
    """Inputs of the form of a record that the model takes least for the labels, `count` for each."""
    field = "image" if "image" in like else "features"
    rng = torch.Generator().manual_seed(seed)
    found: list[Record] = []
    for label in labels:
        x = torch.randn((count, *np.shape(like[field])), generator=rng).to(model.device).requires_grad_(True)
        wanted = torch.full((count, 1), label, device=model.device)
        optimizer = torch.optim.Adam([x], lr=lr)
        with model.evaluating(), torch.enable_grad():
            for _ in range(steps):
                logits = model.logits(Batch(torch.arange(count), {"x": x}, wanted))
                loss = -sequence_nll(logits, wanted).mean() + penalty * _squared(x).mean()
                (x.grad,) = torch.autograd.grad(loss, [x])
                optimizer.step()
        made = x.detach().cpu().numpy()
        found += [{"id": f"noise-{label}-{row}", field: made[row], "label": label} for row in range(count)]
    return found


def _squared(x: Tensor) -> Tensor:
    return x.flatten(1).square().sum(-1)
