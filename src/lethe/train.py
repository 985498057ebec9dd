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
from contextlib import nullcontext
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_type_hints

import torch
from torch import Tensor, nn

from lethe.checkpoint import Checkpoint, fingerprint
from lethe.data.order import mix, plan, shares
from lethe.distributed import Replicas, like
from lethe.errors import InputError
from lethe.losses.tokens import wide
from lethe.models.base import Batch, Example, Model
from lethe.registry import convert
from lethe.tracking import Log

LossFunction = Callable[[Any, Batch], Tensor]  # the model is of the family that the term is for


@dataclass(frozen=True)
class Term:
    """One summand of the training loss.

    `loss` returns one value per example, (B,). With `per="token"` the sum of the values is divided by the number of
    scored tokens of the effective batch (a token mean), with "example" by the number of examples. "batch" is for
    losses that are no sum over examples: they return one number and admit neither accumulation nor several processes.
    """

    name: str
    examples: Sequence[Example]
    loss: LossFunction
    per: Literal["token", "example", "batch"] = "example"
    weight: float = 1.0  # at 0 the loss is logged and moves nothing
    role: Literal["forget", "retain"] = "retain"
    active: Callable[[int], bool] = lambda epoch: True
    pool: str = ""  # terms of one pool share one denominator: the count over all of them


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


class Gradients:
    """The gradients of one step, on demand. Step rules ask for them as often as they like; the data stay fixed."""

    def __init__(self, loop: _Loop, step: int, rows: Mapping[str, list[int]]) -> None:
        self._loop, self._step = loop, step
        self._terms = [term for term in loop.terms if term.name in rows]
        self._batches = {term.name: loop.batch(step, term, rows[term.name]) for term in self._terms}
        self._counts = {term.name: _count(term, rows[term.name]) for term in self._terms}
        self.parameters = list(loop.parameters.values())
        self.losses: dict[str, float] = {}  # of the first pass: at the weights that the step starts from

    def has(self, role: str) -> bool:
        """Whether a term of this role takes part in the step."""
        return any(term.role == role for term in self._terms)

    def add(self, role: str | None = None) -> None:
        """Add the gradients of the terms with this role (all without one) to `.grad`; 0 where a mask forbids moving."""
        with self._loop.replicas.summed(self.parameters):
            for term in self._terms:
                if role in (None, term.role):
                    value = self._loop.backward(self._step, term, self._batches[term.name], self._total(term))
                    self.losses.setdefault(term.name, value)
        for name, mask in self._loop.masks.items():
            gradient = self._loop.parameters[name].grad
            if gradient is not None:
                gradient.mul_(mask)

    def clear(self) -> None:
        """Drop all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def _total(self, term: Term) -> int:
        return sum(self._counts[t.name] for t in self._terms if t is term or (term.pool and t.pool == term.pool))


def _count(term: Term, rows: list[int]) -> int:
    return sum(term.examples[row].size for row in rows) if term.per == "token" else len(rows)


StepRule = Callable[[Gradients], None]


def plain(gradients: Gradients) -> None:
    """The ordinary step: the gradient of the sum of all terms."""
    gradients.add()


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
        recipe = self.recipe
        own = dict(self.model.module.named_parameters())  # the sharded ones where the module is sharded
        self.parameters = {name: own[name] for name in selection.parameters}
        self.masks = {name: like(mask, own[name]) for name, mask in selection.mask.items()}
        self.before = {name: own[name].detach().clone() for name in self.masks}
        lengths = {term.name: [example.length for example in term.examples] for term in self.terms}
        self.plan = plan(lengths, self._active, recipe.batch_size, recipe.seed, recipe.epochs, recipe.steps)
        self.numbers = {term.name: number for number, term in enumerate(self.terms)}
        lr, decay, weights = recipe.lr, recipe.weight_decay, list(self.parameters.values())
        if recipe.optimizer == "adamw":
            self.optimizer: torch.optim.Optimizer = torch.optim.AdamW(weights, lr=lr, weight_decay=decay)
        else:
            self.optimizer = torch.optim.SGD(weights, lr=lr, momentum=recipe.momentum, weight_decay=decay)

    def _active(self, epoch: int) -> list[str]:
        return [term.name for term in self.terms if term.active(epoch)]

    def run(self) -> History:
        module, history, total = self.model.module, History(), len(self.plan)
        start = self.checkpoint.load(module, self.parameters, self.optimizer, history)
        self.log.start(total, start)
        module.train()
        for step in range(start, total):
            self._step(step, history)
            done = step + 1
            if _due(self.recipe.evaluate_every, done, total):
                self._evaluate(done, history)
            if _due(self.recipe.checkpoint_every, done, total):
                self.checkpoint.save(module, self.parameters, self.optimizer, history)
        if self.recipe.keep == "best" and history.best_step is not None:
            self.checkpoint.load_best(module, self.parameters)
        return history

    def _step(self, step: int, history: History) -> None:
        epoch, rows = self.plan[step]
        rate = self.recipe.rate(step, len(self.plan))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        gradients = Gradients(self, step, rows)
        gradients.clear()
        self.step_rule(gradients)
        numbers = dict(gradients.losses)
        if self.recipe.clip is not None:
            numbers["gradient_norm"] = self.replicas.clip(gradients.parameters, self.recipe.clip)
        for name, value in numbers.items():  # before the weights take it in
            if not math.isfinite(value):
                raise InputError(f"{name!r} became {value} at step {step + 1}; lower lr (now {rate:g}).")
        self.optimizer.step()
        # Momentum and weight decay also move coordinates whose gradient is zero: put the masked ones back exactly.
        with torch.no_grad():
            for name, mask in self.masks.items():
                self.parameters[name].copy_(torch.where(mask, self.parameters[name], self.before[name]))
        history.losses.append(gradients.losses)
        history.steps = step + 1
        self.log.row({"step": step + 1, "epoch": epoch, "lr": rate, **numbers})

    def batch(self, step: int, term: Term, rows: list[int]) -> Batch:
        """The whole batch of a term, the same on every process, so that what is sampled with it is the same, too."""
        rng = torch.Generator().manual_seed(mix(self.recipe.seed, 17, step, self.numbers[term.name]))
        return self.model.collate([term.examples[row] for row in rows], rows, rng)

    def backward(self, step: int, term: Term, batch: Batch, total: int) -> float:
        """Add one term's gradient, divided by the whole batch's count; returns the term's value."""
        rank, processes = self.replicas.rank, self.replicas.count
        # Dropout and the like are a function of the step, so that a resumed run, and SAM's second pass, draw the same.
        _seed(mix(self.recipe.seed, 11, step, rank, self.numbers[term.name]), self.replicas.device)
        bf16 = self.recipe.precision == "bf16"
        moves = term.weight != 0
        value = 0.0
        for positions, real in shares(len(batch), self.recipe.accumulate, rank, processes):
            part = (batch if len(positions) == len(batch) else batch.take(positions)).to(self.replicas.device)
            with (
                torch.set_grad_enabled(moves),
                torch.autocast(part.labels.device.type, torch.bfloat16) if bf16 else nullcontext(),
            ):
                values = term.loss(self.model, part)
            share = values.mean() if term.per == "batch" else wide(values).sum() / total
            if moves:
                if not share.requires_grad:
                    raise InputError(
                        f"The loss {term.name!r} depends on no weight that may move; choose other weights."
                    )
                (share * (term.weight * self.replicas.loss_scale * real)).backward()
            else:
                self.replicas.reshard(self.model.module)
            value += float(share.detach()) * real
        return self.replicas.sum(value)

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
                self.checkpoint.save_best(module, self.parameters)


def _seed(seed: int, device: torch.device) -> None:
    """`torch.manual_seed` for the devices in use; for each that is not there it would spend a quarter millisecond."""
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


def _due(every: int, done: int, total: int) -> bool:
    return every > 0 and (done % every == 0 or done == total)
