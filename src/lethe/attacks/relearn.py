"""Relearning: does a little of the forgotten data bring back the rest?"""

import math
from collections.abc import Iterator, Sequence

import torch

from lethe.descent.terms import own_loss
from lethe.errors import InputError
from lethe.findings import Tampered
from lethe.models.base import Model
from lethe.registry import attack
from lethe.request import Record, Request
from lethe.train import Recipe, Term, train


@attack(
    needs={"loss"}, paper="2502.05374", requires={"forget"}, check="R3", evidence_class="E3", unit="steps",
    budgets={"quick": ("",)},
)  # fmt: skip
def relearn(
    model: Model,
    request: Request,
    *,
    share: float = 0.5,
    steps: tuple[int, ...] = (5, 10, 20),
    lr: float = 1e-3,
    batch_size: int = 8,
    seed: int | None = None,
) -> Iterator[Tampered]:
    """Fine-tune on a share of the forget set, look at the other forget records.

    One run with a constant rate (AdamW, all weights), looked at after each number of steps. One rate alone certifies
    little: list the attack with several. A model that never knew the forget set learns too, hence the control.

    Args:
        share: Share of the forget records that the attacker holds, 0 to 1, drawn by the seed.
        steps: Optimiser steps after which the model is looked at.
        lr: Learning rate.
        batch_size: Records per step.
        seed: Seed of the draw and of the training; the request's where none is given.

    Raises:
        InputError: If the share leaves no record on one of the two sides, or a number of steps is below 1.
    """
    budgets = sorted(set(steps))
    if not budgets or budgets[0] < 1:
        raise InputError(f"relearn: steps are {steps}; give at least one number of steps, each 1 or more.")
    seed = request.seed if seed is None else seed
    held, others = _split(request.forget, share, seed)
    attacked = model.copy()
    snapshots: list[Model] = []
    stride = math.gcd(*budgets)
    done = 0

    def keep(current: Model) -> float:
        nonlocal done
        done += stride
        if done in budgets:
            snapshots.append(current.copy())
        return 0.0

    recipe = Recipe(lr=lr, steps=budgets[-1], batch_size=batch_size, seed=seed, evaluate_every=stride)
    terms = [Term("relearn", attacked.encode(held), own_loss, per="token", role="forget")]
    train(attacked, terms, recipe, evaluate=keep)
    for budget, snapshot in zip(budgets, snapshots, strict=True):
        yield Tampered(snapshot, float(budget), others)


def _split(records: Sequence[Record], share: float, seed: int) -> tuple[list[Record], list[Record]]:
    """The attacker's records and all others, both in their original order."""
    count = round(share * len(records))
    if not 0 < count < len(records):
        raise InputError(
            f"relearn: a share of {share:g} of {len(records)} forget records leaves {count} to the attacker and "
            f"{len(records) - count} to look at; both sides need at least one."
        )
    drawn = set(torch.randperm(len(records), generator=torch.Generator().manual_seed(seed))[:count].tolist())
    held = [record for row, record in enumerate(records) if row in drawn]
    return held, [record for row, record in enumerate(records) if row not in drawn]
