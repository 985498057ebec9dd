"""The step rule that averages weights over the last part of a run."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lethe.errors import InputError
from lethe.gradients import Gradients, StepRule, plain
from lethe.losses.tokens import wide
from lethe.recipe import Recipe
from lethe.train import Done


def wa(*, start: int = 100, every: int = 5) -> StepRule:
    """Weight averaging: plain steps, and what ends up in the model is a running mean of the weights on the way.

    The mean is over the weights after step `start` and every `every` steps from then on: 100, 105, ... 125 of 125 steps
    are 6 snapshots (arXiv 2502.05374). It is kept in float32 at least, over the floating-point tensors that move
    (running statistics included, counters not; of adapters both factors), and is part of every checkpoint. Evaluations
    on the way look at the weights of their step. Cost: one forward and backward pass per term, as plain; memory for one
    copy of the moving weights.

    Args:
        start: Optimiser steps after which the first snapshot is taken, at least 1.
        every: Steps between snapshots; 0 averages nothing and is the plain step.

    Raises:
        InputError: If start is below 1 or every below 0; when training begins, if the run ends before `start`, or
            keep=best asks for other weights than the mean.
    """
    if start < 1 or every < 0:
        raise InputError(f"wa: start is {start} and every is {every}; start must be at least 1, every at least 0.")
    return _Average(start, every) if every else plain


class _Average:
    """Plain steps and a running mean beside them; one that the training loop carries (see `lethe.train.Carried`)."""

    def __init__(self, start: int, every: int) -> None:
        self.start, self.every = start, every
        self.state: dict[str, Tensor] = {}
        self._moving: dict[str, Tensor] = {}

    def __call__(self, gradients: Gradients) -> None:
        plain(gradients)

    def begin(self, moving: Mapping[str, Tensor], recipe: Recipe, steps: int) -> None:
        """Nothing is averaged yet.

        Raises:
            InputError: If the run ends before the first snapshot, or keep=best contradicts the mean.
        """
        if steps < self.start:
            raise InputError(
                f"wa: the first snapshot is due after step {self.start}, but the run has {steps}; lower start."
            )
        if recipe.keep == "best":
            raise InputError("wa puts averaged weights into the model, keep=best those of one step; use keep=last.")
        self._moving = {name: tensor.detach() for name, tensor in moving.items() if tensor.is_floating_point()}
        self.state = {f"mean.{name}": torch.zeros_like(wide(tensor)) for name, tensor in self._moving.items()}
        self.state["snapshots"] = torch.zeros((), dtype=torch.long)

    def after(self, done: Done) -> None:
        """Take a snapshot where one is due."""
        if done.step < self.start or (done.step - self.start) % self.every:
            return
        self.state["snapshots"] += 1
        share = 1 / int(self.state["snapshots"])
        for name, tensor in self._moving.items():
            self.state[f"mean.{name}"].lerp_(wide(tensor), share)  # weights that never moved keep their bits

    def end(self) -> None:
        """Put the mean into the model."""
        for name, tensor in self._moving.items():
            tensor.copy_(self.state[f"mean.{name}"])
