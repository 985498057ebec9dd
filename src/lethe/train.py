"""The one training loop: worlds, unlearning, relearning and retraining all run through `train`.

A step sums `weight * loss` over the active terms. Losses arrive per example and are divided by the token or example
count of the whole effective batch, so the update does not depend on how that batch is cut into micro-batches or spread
over processes. Data order and every random draw are functions of (seed, step), so a run that was killed continues from
its last checkpoint to the same bits.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from lethe.checkpoint import Checkpoint, State, fingerprint
from lethe.data.order import plan
from lethe.distributed import Replicas, like
from lethe.errors import InputError
from lethe.gradients import Gradients, Setting, StepRule, Term, plain
from lethe.models.base import Model, lengths
from lethe.recipe import Recipe
from lethe.tracking import Log

# How many weights may move, of every run of the loop; a list only where somebody counts (`lethe.runs.environment`).
TRAINED: ContextVar[list[int] | None] = ContextVar("TRAINED", default=None)


@dataclass
class Selection:
    """Which weights move. `mask` (True = may move) is per tensor; `finish` folds adapters back in.

    `terms` are what the choice adds to the objective's own (the anchor of a chosen expert).
    """

    parameters: Mapping[str, nn.Parameter]
    mask: Mapping[str, Tensor] = field(default_factory=dict)
    finish: Callable[[], None] = lambda: None
    terms: Sequence[Term] = ()


@dataclass
class History:
    """What a run leaves beside the weights."""

    losses: list[dict[str, float]] = field(default_factory=list)  # one row per step: term name -> value
    evaluations: list[tuple[int, float]] = field(default_factory=list)  # (steps done, value)
    steps: int = 0
    best_step: int | None = None


@dataclass(frozen=True)
class Done:
    """A step that was made."""

    step: int  # steps done
    epoch: int
    losses: Mapping[str, float]  # term name -> value


@runtime_checkable
class Carried(Protocol):
    """What a run carries from step to step beside its weights: an average of them, the dual variable of a constraint.

    A step rule or a term's weight that offers these is one. `state` is written with every checkpoint and filled again,
    in place, when the run is resumed.
    """

    state: Mapping[str, Tensor]

    def begin(self, moving: Mapping[str, Tensor], recipe: Recipe, steps: int) -> None:
        """Set `state` to its start; `moving` are the weights and buffers as the loop will change them."""
        ...

    def after(self, done: Done) -> None:
        """Take in a step."""
        ...

    def end(self) -> None:
        """Do to the weights what is to be done after the last step."""
        ...


def train(
    model: Model,
    terms: Sequence[Term],
    recipe: Recipe,
    *,
    selection: Selection | None = None,
    step_rule: StepRule = plain,
    folder: str | Path | None = None,
    evaluate: Callable[[Model], float] | None = None,
    log: Log | None = None,
    identity: str = "",
) -> History:
    """Train `model` in place on the sum of the terms.

    Args:
        model: Any Lethe model; its module is changed and left in eval mode.
        terms: Summands; the first that is active in an epoch leads (one epoch = one pass over it), the others are
            drawn in step from shuffled cycles.
        recipe: How to optimise.
        selection: Which weights move; all by default.
        step_rule: How a step's gradients are formed (plain, sam, ...).
        folder: Where checkpoints and the metrics log go. If it holds a checkpoint of the same run, that is resumed.
        evaluate: Called every `recipe.evaluate_every` steps and after the last; lower is better for keep=best.
        log: Receives one row per step.
        identity: What distinguishes this run beside weights, data and recipe (options of losses and step rule): a
            checkpoint is resumed only where this is the same.

    Raises:
        InputError: If there is nothing to train on, options contradict each other, a loss or gradient becomes NaN or
            infinite, or the folder's checkpoint belongs to another run.
    """
    _check(terms, recipe, folder, evaluate)
    chosen = selection or Selection(dict(model.module.named_parameters()))
    if not chosen.parameters:
        raise InputError("No weight is selected for training.")
    replicas = Replicas(recipe.parallel, model.device)
    if replicas.count * recipe.accumulate > 1 and any(term.per == "batch" for term in terms):
        raise InputError("A loss over the whole batch admits neither accumulate > 1 nor several processes.")
    log = log if log and replicas.rank == 0 else Log(folder if replicas.rank == 0 else None)
    run = ""
    if recipe.checkpoint_every or replicas.count > 1:
        run = fingerprint(model, terms, recipe, chosen, identity)
        replicas.agree(run)
    checkpoint = Checkpoint(folder if recipe.checkpoint_every else None, run, replicas)
    if (counts := TRAINED.get()) is not None:
        moving = ((p, chosen.mask.get(name)) for name, p in chosen.parameters.items())
        counts.append(sum(p.numel() if mask is None else int(mask.sum()) for p, mask in moving))
    wanted = {id(parameter) for parameter in chosen.parameters.values()}
    before = [(parameter, parameter.requires_grad) for parameter in model.module.parameters()]
    generators = [model.device] if model.device.type == "cuda" else []
    try:
        for parameter, _ in before:
            parameter.requires_grad_(id(parameter) in wanted)
        working = copy.copy(model)
        working.module = replicas.working_module(model.module)
        with torch.random.fork_rng(devices=generators):
            loop = _Loop(working, terms, recipe, chosen, step_rule, replicas, checkpoint, evaluate, log)
            history = loop.run()
        replicas.write_back(working.module, model.module)
    finally:
        log.finish()
        for parameter, required in before:
            parameter.requires_grad_(required)
            parameter.grad = None
        model.module.eval()
    return history


def _check(
    terms: Sequence[Term], recipe: Recipe, folder: str | Path | None, evaluate: Callable[[Model], float] | None
) -> None:
    if not terms or not all(term.examples for term in terms):
        raise InputError("Nothing to train on: every term needs at least one example.")
    if len({term.name for term in terms}) < len(terms):
        raise InputError("Two training terms share a name; names must differ.")
    for term in terms:
        if not 0 <= float(term.weight) < math.inf:  # a negative one would undo what the term is for
            raise InputError(
                f"The weight of the {term.name} term is {float(term.weight):g}; it must be a finite number, 0 or more."
            )
    for pool in {term.pool for term in terms if term.pool}:
        if len({term.per for term in terms if term.pool == pool}) > 1:
            raise InputError(f"The terms of pool {pool!r} count different things; give all the same `per`.")
    if recipe.evaluate_every and evaluate is None:
        raise InputError("evaluate_every is set, but there is no function to evaluate; give `evaluate`.")
    if recipe.checkpoint_every and folder is None:
        raise InputError("checkpoint_every is set, but there is no folder to write to; give `folder`.")


@dataclass
class _Loop:
    model: Model
    terms: Sequence[Term]
    recipe: Recipe
    selection: InitVar[Selection]
    step_rule: StepRule
    replicas: Replicas
    checkpoint: Checkpoint
    evaluate: Callable[[Model], float] | None
    log: Log

    def __post_init__(self, selection: Selection) -> None:
        recipe, module = self.recipe, self.model.module
        own = dict(module.named_parameters())  # the sharded ones where the module is sharded
        parameters = {name: own[name] for name in selection.parameters}
        masks = {name: like(mask, own[name]) for name, mask in selection.mask.items()}
        self.setting = Setting(self.model, self.terms, recipe, self.replicas, parameters, masks)
        self.before = {name: own[name].detach().clone() for name in masks}
        long = {term.name: lengths(term.examples) for term in self.terms}
        self.plan = plan(long, self._active, recipe.batch_size, recipe.seed, recipe.epochs, recipe.steps)
        lr, decay, weights = recipe.lr, recipe.weight_decay, list(parameters.values())
        if recipe.optimizer == "adamw":
            self.optimizer: torch.optim.Optimizer = torch.optim.AdamW(weights, lr=lr, weight_decay=decay)
        else:
            self.optimizer = torch.optim.SGD(weights, lr=lr, momentum=recipe.momentum, weight_decay=decay)
        owners = {"step": self.step_rule} | {f"weight.{term.name}": term.weight for term in self.terms}
        self.carried = {name: owner for name, owner in owners.items() if isinstance(owner, Carried)}
        self.adaptive = {term.name: term.weight for term in self.terms if isinstance(term.weight, Carried)}
        self.state = State(module, parameters, self.optimizer)
        for name, owner in self.carried.items():
            owner.begin(self.state.moving, recipe, len(self.plan))
            self.state.carried |= {f"{name}.{key}": tensor for key, tensor in owner.state.items()}

    def _active(self, epoch: int) -> list[str]:
        return [term.name for term in self.terms if term.active(epoch)]

    def run(self) -> History:
        module, history, total = self.model.module, History(), len(self.plan)
        start = self.checkpoint.load(self.state, history)
        self.log.start(total, start)
        _training_mode(module)
        for step in range(start, total):
            self._step(step, history)
            done = step + 1
            if _due(self.recipe.evaluate_every, done, total):
                self._evaluate(done, history)
            if _due(self.recipe.checkpoint_every, done, total):
                self.checkpoint.save(self.state, history)
        if self.recipe.keep == "best" and history.best_step is not None:
            self.checkpoint.load_best(self.state)
        for carried in self.carried.values():
            carried.end()
        return history

    def _step(self, step: int, history: History) -> None:
        epoch, rows = self.plan[step]
        rate = self.recipe.rate(step, len(self.plan))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        gradients = Gradients(self.setting, step, rows)
        gradients.clear()
        self.step_rule(gradients)
        numbers = gradients.losses | {f"weight of {name}": float(weight) for name, weight in self.adaptive.items()}
        # Also where nothing is clipped: a gradient that is not a number must not reach the weights.
        limit = math.inf if self.recipe.clip is None else self.recipe.clip
        numbers["gradient_norm"] = self.replicas.clip(gradients.parameters, limit)
        for name, value in numbers.items():  # before the weights take it in
            if not math.isfinite(value):
                raise InputError(f"{name!r} became {value} at step {step + 1}; lower lr (now {rate:g}).")
        self.optimizer.step()
        # Momentum and weight decay also move coordinates whose gradient is zero: put the masked ones back exactly.
        with torch.no_grad():
            for name, mask in self.setting.masks.items():
                weight = self.setting.parameters[name]
                weight.copy_(torch.where(mask, weight, self.before[name]))
        for carried in self.carried.values():
            carried.after(Done(step + 1, epoch, gradients.losses))
        history.losses.append(gradients.losses)
        history.steps = step + 1
        self.log.row({"step": step + 1, "epoch": epoch, "lr": rate, **numbers})

    def _evaluate(self, done: int, history: History) -> None:
        assert self.evaluate is not None
        module = self.model.module
        with self.model.evaluating():
            value = self.replicas.first(float(self.evaluate(self.model)))
        self.replicas.reshard(module)
        best = min((v for _, v in history.evaluations if not math.isnan(v)), default=math.inf)
        history.evaluations.append((done, value))
        self.log.row({"step": done, "evaluation": value})
        if value < best:
            history.best_step = done
            if self.recipe.keep == "best":
                self.checkpoint.save_best(self.state)


def _training_mode(module: nn.Module) -> None:
    """Training mode, but not for layers whose weights are all frozen: their running statistics are frozen as well."""
    module.train()
    for layer in module.modules():
        own = list(layer.parameters(recurse=False))
        if own and not any(parameter.requires_grad for parameter in own):
            layer.training = False  # of this layer alone: its children may move


def _due(every: int, done: int, total: int) -> bool:
    return every > 0 and (done % every == 0 or done == total)
