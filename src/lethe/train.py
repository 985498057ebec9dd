"""The one training loop: worlds, unlearning, relearning and retraining all run through `train`.

A step sums `weight * loss` over the active terms. Losses arrive per example and are divided by the token or example
count of the whole effective batch, so the update does not depend on how that batch is cut into micro-batches or spread
over processes. Data order and every random draw are functions of (seed, step), so a run that was killed continues from
its last checkpoint to the same bits.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lethe.checkpoint import Checkpoint
from lethe.distributed import Replicas, like
from lethe.errors import InputError
from lethe.models.base import Batch, Example, Model
from lethe.tracking import Log

LossFunction = Callable[[Model, Batch], Tensor]


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
    weight: float = 1.0
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
        checkpoint_every: Steps between checkpoints; 0 writes none.
        evaluate_every: Steps between evaluations; 0 evaluates never.
        keep: last, or best (lowest evaluated value).
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
        positive = {"epochs": self.epochs, "batch_size": self.batch_size, "accumulate": self.accumulate}
        for name, value in positive.items():
            if value < 1:
                raise InputError(f"{name} is {value}; it must be at least 1.")
        if self.lr < 0 or not math.isfinite(self.lr):
            raise InputError(f"lr is {self.lr}; it must be a finite number >= 0.")
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
    """Which weights move. `mask` (True = may move) is per tensor; `finish` folds adapters back in."""

    parameters: Mapping[str, nn.Parameter]
    mask: Mapping[str, Tensor] = field(default_factory=dict)
    finish: Callable[[], None] = lambda: None


@dataclass
class History:
    """What a run leaves beside the weights: losses per step (term name -> values) and the steps' order."""

    losses: list[dict[str, float]] = field(default_factory=list)
    evaluations: list[tuple[int, float]] = field(default_factory=list)
    steps: int = 0
    best_step: int | None = None


class Gradients:
    """The gradients of one step, on demand. Step rules ask for them as often as they like; the data stay fixed."""

    def __init__(self, loop: _Loop, step: int, rows: Mapping[str, list[int]]) -> None:
        self._loop, self._step, self._rows = loop, step, rows
        self.parameters = list(loop.parameters.values())
        self.losses: dict[str, float] = {}

    def has(self, role: str) -> bool:
        """Whether a term of this role takes part in the step."""
        return any(term.role == role for term in self._terms())

    def add(self, role: str | None = None) -> None:
        """Add the gradients of the terms with this role (all without one) to `.grad`, summed over processes."""
        counts = {term.name: self._count(term) for term in self._terms()}
        for term in self._terms(role):
            pool = [other for other in self._terms() if other is term or (term.pool and other.pool == term.pool)]
            total = sum(counts[other.name] for other in pool)
            self.losses[term.name] = self._loop.backward(self._step, term, self._rows[term.name], total)
        self._loop.replicas.reduce(self.parameters)

    def clear(self) -> None:
        """Drop all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def _count(self, term: Term) -> int:
        rows = self._rows[term.name]
        return sum(term.examples[row].size for row in rows) if term.per == "token" else len(rows)

    def _terms(self, role: str | None = None) -> list[Term]:
        return [term for term in self._loop.terms if term.name in self._rows and role in (None, term.role)]


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
) -> History:
    """Train `model` in place on the sum of the terms.

    Args:
        model: Any Lethe model; its module is changed.
        terms: Summands; the first that is active in an epoch leads (one epoch = one pass over it), the others are
            drawn in step from shuffled cycles.
        recipe: How to optimise.
        selection: Which weights move; all by default.
        step_rule: How a step's gradients are formed (plain, sam, ...).
        folder: Where checkpoints and the metrics log go. If it holds a checkpoint of the same run, that is resumed.
        evaluate: Called every `recipe.evaluate_every` steps; lower is better for keep=best.
        log: Receives one row per step.

    Raises:
        InputError: If there is nothing to train on, or a loss becomes NaN.
    """
    if not terms or not all(term.examples for term in terms):
        raise InputError("Nothing to train on: every term needs at least one example.")
    if len({term.name for term in terms}) < len(terms):
        raise InputError("Two training terms share a name; names must differ.")
    chosen = selection or Selection(dict(model.module.named_parameters()))
    if not chosen.parameters:
        raise InputError("No weight is selected for training.")
    wanted = {id(parameter) for parameter in chosen.parameters.values()}
    before = [(parameter, parameter.requires_grad) for parameter in model.module.parameters()]
    for parameter, _ in before:
        parameter.requires_grad_(id(parameter) in wanted)
    replicas = Replicas(recipe.parallel)
    working = copy.copy(model)
    working.module = replicas.working_module(model.module)
    try:
        log = log or Log(folder if replicas.rank == 0 else None)
        history = _Loop(working, list(terms), recipe, chosen, step_rule, replicas, folder, evaluate, log).run()
        replicas.write_back(working.module, model.module)
    finally:
        log = log or Log()
        log.finish()
        for parameter, required in before:
            parameter.requires_grad_(required)
        model.module.eval()
    return history


class _Loop:
    def __init__(
        self,
        model: Model,
        terms: list[Term],
        recipe: Recipe,
        selection: Selection,
        step_rule: StepRule,
        replicas: Replicas,
        folder: str | Path | None,
        evaluate: Callable[[Model], float] | None,
        log: Log,
    ) -> None:
        self.model, self.terms, self.recipe, self.step_rule = model, terms, recipe, step_rule
        self.evaluate, self.log, self.replicas = evaluate, log, replicas
        own = dict(model.module.named_parameters())  # the sharded ones where the module is sharded
        self.parameters = {name: own[name] for name in selection.parameters}
        self.masks = {name: like(mask, own[name]) for name, mask in selection.mask.items()}
        whole = recipe.accumulate == 1 and replicas.count == 1
        if not whole and any(term.per == "batch" for term in terms):
            raise InputError("A loss over the whole batch admits neither accumulate > 1 nor several processes.")
        parameters = list(self.parameters.values())
        if recipe.optimizer == "adamw":
            self.optimizer: torch.optim.Optimizer = torch.optim.AdamW(
                parameters, lr=recipe.lr, weight_decay=recipe.weight_decay
            )
        else:
            self.optimizer = torch.optim.SGD(
                parameters, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
            )
        self.before = {name: self.parameters[name].detach().clone() for name in self.masks}
        self.plan = list(self._plan())
        identity = repr([(f.name, getattr(recipe, f.name)) for f in fields(recipe) if f.name != "checkpoint_every"])
        identity += repr([(t.name, t.weight, t.per, t.role, len(t.examples)) for t in terms])
        self.checkpoint = Checkpoint(folder, identity, self.replicas) if folder and recipe.checkpoint_every else None

    def _plan(self) -> Iterator[tuple[int, dict[str, list[int]]]]:
        """(epoch, {term name: rows}) of every step; a pure function of the seed."""
        size, seed = self.recipe.batch_size, self.recipe.seed
        drawn = {term.name: _cycle(len(term.examples), seed, number) for number, term in enumerate(self.terms)}
        produced, epoch = 0, 0
        while epoch < self.recipe.epochs or self.recipe.steps is not None:
            active = [term for term in self.terms if term.active(epoch)]
            if not active and epoch > 1000:
                raise InputError("No training term is ever active.")
            lengths = [example.length for example in active[0].examples] if active else []
            for rows in bucketed(lengths, size, mix(seed, 7, epoch)):
                if self.recipe.steps is not None and produced == self.recipe.steps:
                    return
                others = {t.name: [next(drawn[t.name]) for _ in range(min(size, len(t.examples)))] for t in active[1:]}
                yield epoch, {active[0].name: rows, **others}
                produced += 1
            epoch += 1

    def run(self) -> History:
        history, start = History(), 0
        if self.checkpoint is not None:
            start = self.checkpoint.load(self.model.module, self.parameters, self.optimizer, history)
        self.log.start(len(self.plan), start)
        self.model.module.train()
        for step in range(start, len(self.plan)):
            self._step(step, history)
            done = step + 1
            if self.evaluate is not None and self.recipe.evaluate_every and done % self.recipe.evaluate_every == 0:
                self._evaluate(done, history)
            if self.checkpoint is not None and (done % self.recipe.checkpoint_every == 0 or done == len(self.plan)):
                self.checkpoint.save(self.model.module, self.parameters, self.optimizer, history)
        if self.recipe.keep == "best" and self.checkpoint is None and self._best is not None:
            self.model.module.load_state_dict(self._best)
        elif self.recipe.keep == "best" and self.checkpoint is not None:
            self.checkpoint.load_best(self.model.module, self.parameters)
        return history

    def _step(self, step: int, history: History) -> None:
        epoch, rows = self.plan[step]
        rate = self.recipe.rate(step, len(self.plan))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        gradients = Gradients(self, step, rows)
        gradients.clear()
        self.step_rule(gradients)
        parameters = self.parameters
        for name, mask in self.masks.items():
            gradient = parameters[name].grad
            if gradient is not None:
                gradient.mul_(mask)
        norm = None if self.recipe.clip is None else self.replicas.clip(list(parameters.values()), self.recipe.clip)
        self.optimizer.step()
        # Momentum and weight decay also move coordinates whose gradient is zero: put the masked ones back exactly.
        with torch.no_grad():
            for name, mask in self.masks.items():
                parameters[name].copy_(torch.where(mask, parameters[name], self.before[name]))
        for name, value in gradients.losses.items():
            if not math.isfinite(value):
                raise InputError(f"The loss {name!r} became {value} at step {step + 1}; lower lr (now {rate:g}).")
        history.losses.append(gradients.losses)
        history.steps = step + 1
        row = {"step": step + 1, "epoch": epoch, "lr": rate, **gradients.losses}
        self.log.row(row if norm is None else {**row, "gradient_norm": norm})

    def backward(self, step: int, term: Term, rows: list[int], total: int) -> float:
        """Add one term's gradient, divided by the whole batch's count; returns the term's value."""
        seed = mix(self.recipe.seed, 11, step, self.replicas.rank, self.terms.index(term))
        torch.manual_seed(seed)  # dropout and the like: a function of the step, so a resumed run draws the same
        rng = torch.Generator().manual_seed(seed)
        bf16 = self.recipe.precision == "bf16"
        value = 0.0
        for micro, real in _split(rows, self.recipe.accumulate, self.replicas.rank, self.replicas.count):
            batch = self.model.collate([term.examples[row] for row in micro], micro, rng).to(self.model.device)
            with torch.autocast(batch.labels.device.type, torch.bfloat16) if bf16 else nullcontext():
                values = term.loss(self.model, batch)
            share = values if term.per == "batch" else values.float().sum() / total
            (share * (term.weight * self.replicas.loss_scale * real)).backward()
            value += float(share.detach()) * real
        return self.replicas.sum(value)

    _best: dict[str, Tensor] | None = None

    def _evaluate(self, done: int, history: History) -> None:
        assert self.evaluate is not None
        self.model.module.eval()
        value = float(self.evaluate(self.model))
        self.model.module.train()
        best = min((v for _, v in history.evaluations), default=math.inf)
        history.evaluations.append((done, value))
        self.log.row({"step": done, "evaluation": value})
        if value < best:
            history.best_step = done
            if self.recipe.keep == "best":
                if self.checkpoint is not None:
                    self.checkpoint.save_best(self.model.module, self.parameters)
                else:
                    self._best = {k: v.detach().clone() for k, v in self.model.module.state_dict().items()}


def mix(*parts: int) -> int:
    """One 63-bit seed out of several integers."""
    state = 0x9E3779B97F4A7C15
    for part in parts:
        state = ((state ^ (part & (2**64 - 1))) * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) & (2**64 - 1)
        state ^= state >> 29
    return state >> 1


def bucketed(lengths: Sequence[int], size: int, seed: int) -> list[list[int]]:
    """All rows once, shuffled, in batches of similar length (sorted within pools of eight batches)."""
    rng = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(lengths), generator=rng).tolist()
    pool = size * 8
    batches = []
    for start in range(0, len(order), pool):
        rows = sorted(order[start : start + pool], key=lambda row: lengths[row])
        batches += [rows[i : i + size] for i in range(0, len(rows), size)]
    return [batches[i] for i in torch.randperm(len(batches), generator=rng).tolist()]


def _cycle(count: int, seed: int, number: int) -> Iterator[int]:
    """Rows without end: one shuffled pass after the other, so that no example is drawn much more often than another."""
    turn = 0
    while True:
        yield from torch.randperm(count, generator=torch.Generator().manual_seed(mix(seed, 13, number, turn))).tolist()
        turn += 1


def _split(rows: list[int], accumulate: int, rank: int, count: int) -> list[tuple[list[int], bool]]:
    """This process's rows in micro-batches; as many on every process, since sharded forward passes are collective.

    A process without a row of its own takes part with a borrowed one (False) whose loss counts nothing.
    """
    pieces = min(accumulate, math.ceil(len(rows) / count))
    own = rows[rank::count]
    cut = [own[piece::pieces] for piece in range(pieces)]
    return [(piece, True) if piece else (rows[:1], False) for piece in cut]


def with_options(recipe: Recipe, **given: Any) -> Recipe:
    """The recipe with some fields replaced."""
    return replace(recipe, **given)
