"""Which functions are losses, and what each one promises.

A loss is a function in a module of this package decorated with `@loss`; nothing lists them. Its positional arguments
are named after the quantities it reads, so that whoever holds these quantities (the training loop, the contract tests)
can call any loss without knowing it:

    logits, ref_logits        (B, T, V)  of the model being trained, and of the frozen model before unlearning
    labels                    (B, T)     -100 where nothing is scored; `logits[:, t]` predicts `labels[:, t]`
    alt_logits, alt_labels    (B, S, V), (B, S)  the same for an alternative answer (a refusal) to the same prompt
    ref_token_nll             (B, T)     of each label under the frozen model, in nats
    nll, ref_nll              (B,)       of the answer, summed over its tokens, in nats
    alt_nll, alt_ref_nll      (B,)       the same of an alternative answer (a refusal)
    baseline                  ()         mean log-ratio, model over frozen model, of the batch's alternatives, in nats
    sizes                     (B,)       number of scored tokens
    hidden, target, mask      (B, T, D), (D,) or (B, T, D), (B, T) bool
    student, teacher          (B, C)     logits over classes
    pos, neg                  (B,)       scores of an item the user took, and of one drawn at random

Every loss is to be minimised. Frozen quantities (`ref_*`, `baseline`, `target`, `teacher`) never receive a gradient.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from torch import Tensor

import lethe.losses

Kind = Literal["token", "example"]
Function = TypeVar("Function", bound=Callable[..., Tensor])


@dataclass(frozen=True)
class Promise:
    """What a loss promises; tests/contracts holds every loss to it.

    `kind` says what one value stands for: a "token" (B, T), 0 where nothing is scored, or an "example" (B,).
    `forgets` says where minimising leads: the answer becomes less likely (True) or more likely (False).
    """

    kind: Kind
    forgets: bool


def loss(*, kind: Kind, forgets: bool) -> Callable[[Function], Function]:
    """Mark a function as a loss, with its promise."""

    def attach(function: Function) -> Function:
        function.promise = Promise(kind, forgets)  # pyright: ignore[reportFunctionMemberAccess]
        return function

    return attach


def promise(function: Callable[..., Tensor]) -> Promise | None:
    """What a function promises as a loss, or None if it is not one."""
    return getattr(function, "promise", None)


def losses() -> dict[str, Callable[..., Tensor]]:
    """Every loss by name, found by reading this package's modules."""
    found: dict[str, Callable[..., Tensor]] = {}
    for entry in pkgutil.iter_modules(lethe.losses.__path__):
        module = importlib.import_module(f"lethe.losses.{entry.name}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and promise(function):
                found[name] = function
    return found
