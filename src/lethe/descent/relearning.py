"""Relearn time: how soon fine-tuning on the forget set brings a model back to where the original was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lethe.descent.terms import own_loss
from lethe.models.base import Model, per_example
from lethe.recipe import Recipe
from lethe.request import Record
from lethe.scoring.recovery import Steps
from lethe.train import Term, train

MARGIN = 1.05  # of the original's loss: 5 % above it counts as being back


class _BackError(Exception):
    """Ends a run whose model is back."""


def mean_loss(model: Model, records: Sequence[Record]) -> float:
    """Mean loss per record in nats, in eval mode."""
    return float(per_example(model, model.encode(records), 512).mean())


def relearn_time(
    model: Model, records: Sequence[Record], bound: float, *, cap: int, seed: int, recipe: Mapping[str, Any]
) -> Steps:
    """Optimiser steps on the records until their mean loss is at most `bound`; `censored` where `cap` were too few.

    The unlearned model and the retrained one are to be asked with one seed, so that both see one order of records.
    Their ratio is the anamnesis index (arXiv 2201.05629): 1 is the ideal, and far below 1 the model remembers.

    Args:
        model: Any model; it stays as it is.
        records: The forget set.
        bound: Mean loss in nats, the original's times `MARGIN`.
        cap: Most steps.
        seed: Seed of the order.
        recipe: Fields of `lethe.recipe.Recipe` such as lr and batch_size, without a schedule.
    """
    if mean_loss(model, records) <= bound:
        return Steps(0, False)
    twin, done = model.copy(), 0

    def watch(current: Model) -> float:
        nonlocal done
        done += 1
        if mean_loss(current, records) <= bound:
            raise _BackError
        return 0.0

    term = Term("relearn", twin.encode(records), own_loss, role="forget")
    try:
        train(twin, [term], Recipe(**recipe, steps=cap, seed=seed, evaluate_every=1), evaluate=watch)
    except _BackError:
        return Steps(done, False)
    return Steps(cap, True)
