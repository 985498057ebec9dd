"""How to optimise: the options that every run of the training loop shares."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_type_hints

from lethe.errors import InputError
from lethe.registry import convert


@dataclass(frozen=True)
class Recipe:
    """How to optimise.

    Args:
        lr: Peak learning rate.
        epochs: Passes over the leading term (the forget set where there is one).
        steps: Optimiser steps; overrides epochs where given.
        batch_size: Examples of each term per optimiser step, over all processes.
        accumulate: Micro-batches per step (same update, less memory).
        optimizer: adamw or sgd.
        weight_decay: Decoupled weight decay per step, times the learning rate (AdamW) or L2 (SGD).
        momentum: SGD momentum.
        schedule: constant, linear (to 0) or cosine (to 0).
        warmup: Share of the steps with rising learning rate, 0 to 1.
        clip: Largest gradient norm; none switches clipping off.
        precision: fp32, or bf16 autocast with fp32 weights.
        parallel: none, ddp (replicated) or fsdp (FSDP2, sharded); takes effect under torchrun.
        seed: Seed of data order and every draw.
        checkpoint_every: Steps between checkpoints, which need a folder; 0 writes none.
        evaluate_every: Steps between evaluations; 0 evaluates never. The last step is evaluated, too.
        keep: last, or best (the weights of the lowest evaluated value, the earlier ones of equals).
    """

    lr: float = 1e-3
    epochs: int = 5
    steps: int | None = None
    batch_size: int = 32
    accumulate: int = 1
    optimizer: Literal["adamw", "sgd"] = "adamw"
    weight_decay: float = 0.0
    momentum: float = 0.9
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup: float = 0.0
    clip: float | None = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"
    parallel: Literal["none", "ddp", "fsdp"] = "none"
    seed: int = 0
    checkpoint_every: int = 0
    evaluate_every: int = 0
    keep: Literal["last", "best"] = "last"

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(Recipe).items():
            object.__setattr__(self, name, convert(getattr(self, name), kind, f"Recipe option {name!r}"))
        counts = dict.fromkeys(("epochs", "steps", "batch_size", "accumulate"), 1)
        others = ("lr", "weight_decay", "momentum", "warmup", "checkpoint_every", "evaluate_every")
        for name, least in {**counts, **dict.fromkeys(others, 0)}.items():
            value = getattr(self, name)
            if value is not None and not least <= value < math.inf:
                raise InputError(f"{name} is {value}; it must be a finite number of at least {least}.")
        if self.warmup > 1:
            raise InputError(f"warmup is {self.warmup}; it is a share of the steps, 0 to 1.")
        if self.clip is not None and not self.clip > 0:
            raise InputError(f"clip is {self.clip}; it must be above 0, or none to switch clipping off.")
        if self.keep == "best" and not self.evaluate_every:
            raise InputError("keep=best needs evaluate_every > 0, the steps between two evaluations.")

    def rate(self, step: int, total: int) -> float:
        """Learning rate of a step, counted from 0."""
        warm = round(self.warmup * total)
        if step < warm:
            return self.lr * (step + 1) / warm
        progress = (step - warm) / max(1, total - warm)
        shape = {"constant": 1.0, "linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2}
        return self.lr * shape[self.schedule]
