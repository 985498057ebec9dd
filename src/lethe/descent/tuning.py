"""Fine-tuning as an attack: one run of ordinary training, looked at after each of several numbers of steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lethe.descent import where as places
from lethe.descent.objective import chosen
from lethe.descent.terms import own_loss
from lethe.errors import InputError
from lethe.models.base import Model
from lethe.recipe import Recipe
from lethe.registry import bind, parse_call
from lethe.request import Record, Request
from lethe.train import Selection, Term, train


@dataclass(frozen=True)
class Published:
    """One row of a published table of attacks."""

    data: str
    where: str
    lr: float
    batch_size: int
    examples: int
    epochs: int = 1
    warmup: float = 0.0
    clip: float | None = None

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return math.ceil(self.examples / self.batch_size) * self.epochs

    @property
    def options(self) -> Mapping[str, Any]:
        """The row as options of an attack that fine-tunes."""
        return {
            "data": self.data, "where": self.where, "lr": self.lr, "batch_size": self.batch_size,
            "examples": self.examples, "steps": (self.steps,), "warmup": self.warmup, "clip": self.clip,
        }  # fmt: skip


_LORA = "lora:rank=16,alpha=32"
# Model tampering attacks (arXiv 2502.05209), for a model of 8 billion weights; theirs had a LoRA dropout of 0.05, too.
TAMPERING = {
    "lora_1": Published("forget", _LORA, 5e-5, 8, 400),
    "lora_2": Published("forget", _LORA, 5e-5, 64, 400),
    "lora_3": Published("domain", _LORA, 5e-5, 8, 400),
    "lora_4": Published("forget", _LORA, 1e-4, 8, 64, 2),
    "lora_5": Published("domain", _LORA, 1e-4, 8, 64, 2),
    "full_1": Published("forget", "all", 2e-5, 16, 400),
    "full_2": Published("forget", "all", 2e-5, 8, 64, 2),
    "full_3": Published("domain", "all", 5e-5, 64, 64, 2),
    "full_4": Published("domain", "all", 5e-5, 64, 64),
}
BENIGN = {"benign_1": Published("retain", _LORA, 5e-5, 8, 400)}  # theirs on WikiText; name a file of it as `data`
# Smoothness-regularised unlearning (arXiv 2502.05374), for 7 billion weights: so many samples in one pass, or 20 in up
# to three; the rate rises over the first tenth of the steps.
SMOOTH = {f"sam_{count}": Published("forget", "all", 1e-5, 4, count, 1, 0.1, 1.0) for count in (20, 40, 60)}
SMOOTH |= {f"sam_20x{epochs}": Published("forget", "all", 1e-5, 4, 20, epochs, 0.1, 1.0) for epochs in (2, 3)}


def drawn(records: Sequence[Record], count: int, seed: int) -> list[Record]:
    """`count` records by the seed, in their order; all where there are no more, or count is 0."""
    if not 0 < count < len(records):
        return list(records)
    rows = torch.randperm(len(records), generator=torch.Generator().manual_seed(seed))[:count]
    return [records[row] for row in sorted(rows.tolist())]


def tuned(
    model: Model,
    request: Request,
    records: Sequence[Record],
    steps: Sequence[int],
    recipe: Recipe,
    where: str,
    who: str,
) -> Iterator[tuple[int, Model]]:
    """Copies of the model after so many optimiser steps of its own loss on the records, fewest first; 0 is the model.

    Padding is never scored; a step's loss is the mean over its scored tokens. All are snapshots of one run, that to the
    largest number of steps.

    Args:
        model: The model; it stays as it is.
        request: Whose retain records and seed a choice of weights may read. It never sees the forget set.
        records: What the attacker trains on.
        steps: After which steps to look.
        recipe: How to optimise; its steps are not read.
        where: Which weights may move, as in `lora:rank=8`.
        who: Name of the attack, for messages.

    Raises:
        InputError: If a number of steps is below 0, or `where` does not exist or does not fit the model.
    """
    budgets = sorted(set(steps))
    if not budgets or budgets[0] < 0:
        raise InputError(f"{who}: steps are {tuple(steps)}; give at least one number of steps, each 0 or more.")
    taken = {record["id"] for record in records}
    rest = [record for record in request.retain if record["id"] not in taken]
    own = replace(request, forget=records, retain=rest, holdout=(), validation=(), seed=recipe.seed, allow_overlap=True)
    with TemporaryDirectory(prefix="lethe-") as place:  # on disk: a copy for each look would outgrow the training
        if budgets[-1]:
            _train(model, own, budgets, recipe, where, Path(place), who)
        for budget in budgets:
            snapshot, selection = _opened(model, own, where)
            if budget:
                snapshot.module.load_state_dict(load_file(Path(place) / _named(budget)), strict=False)
            selection.finish()
            yield budget, snapshot


def _train(
    model: Model, request: Request, budgets: Sequence[int], recipe: Recipe, where: str, place: Path, who: str
) -> None:
    """One run on a copy, whose moving weights are written after every number of steps that is looked at."""
    attacked, selection = _opened(model, request, where)
    stride, done = math.gcd(*budgets), 0

    def keep(current: Model) -> float:
        nonlocal done
        done += stride
        if done in budgets:
            save_file(_state(current, selection), place / _named(done))
        return 0.0

    terms = [Term(who, attacked.encode(request.forget), own_loss, per="token", role="forget"), *selection.terms]
    recipe = replace(recipe, steps=budgets[-1], evaluate_every=stride)
    train(attacked, terms, recipe, selection=selection, evaluate=keep)


def _named(budget: int) -> str:
    return f"{budget}.safetensors"


def _opened(model: Model, request: Request, where: str) -> tuple[Model, Selection]:
    """A copy of the model and which of its weights may move; the same one each time, adapters and all."""
    name, given = parse_call(where)
    choice = chosen("where", name, places.CHOICES)
    twin = model.copy()
    return twin, choice(twin, request, **bind(choice, given, what=f"where={name}"))


def _state(model: Model, selection: Selection) -> dict[str, Tensor]:
    """What may have changed, in main memory."""
    wanted = set(selection.parameters)
    moving = (pair for pair in model.module.named_parameters() if pair[0] in wanted)
    return {name: tensor.detach().cpu().contiguous() for name, tensor in chain(moving, model.module.named_buffers())}
