"""What relearning a few forgotten facts brings back of the others in a transformer, after NPO with and without SAM."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import LlamaForCausalLM

from lethe.descent.terms import own_loss
from lethe.headlines.sam_recovery import sharpness
from lethe.methods.npo import npo
from lethe.models.base import IGNORED, Model
from lethe.models.language import LanguageModel
from lethe.registry import headline
from lethe.request import Record, Request
from lethe.train import Recipe, Term, train
from lethe.worlds import facts

FACTS, FORGET, HELD = 64, 32, 4
LEARNING = Recipe(lr=3e-3, steps=400, batch_size=64, schedule="cosine")
BETA, RATE, STEPS, RETAIN_WEIGHT = 0.1, 1e-3, 80, 3.0
RELEARNING = Recipe(lr=1e-3, steps=20, batch_size=HELD, evaluate_every=1)
FORGOTTEN, KEPT = 0.1, 0.98  # accuracies at which both are compared
RHO = 0.1
RULES = {"NPO": "plain", "SAM": f"sam:rho={RHO}"}


@headline(
    paper="2502.05374",
    expects={
        "facts known before, accuracy": (">=", 1.0),
        "forget accuracy, the larger of both": ("<=", FORGOTTEN),
        "retain accuracy, difference between both": ("<=", 0.02),
        "recovery after NPO beyond the control's": (">=", 0.05),
        "recovery after NPO less that after SAM": (">=", 0.0),
        "sharpness, NPO over SAM": (">=", 1.0),
    },
)
def sam_transformer(*, seed: int) -> dict[str, float]:
    """Relearning four facts brings back less of the others where NPO went with SAM, at equal forgetting and utility.

    A Llama of three blocks knows 64 random facts by heart and forgets 32 (NPO, beta 0.1, retain weight 3, all facts in
    every step) up to the first step at which at most 0.1 of the forgotten values are the likeliest and at least 0.98 of
    the kept ones. Each eighth of the 32 is then relearned in turn (AdamW, 20 steps); recovery is the accuracy on the
    other 28 after each step, on average over steps and eighths, 0 to 1. The control never met the 32 and relearns the
    same: where NPO's recovery is the control's, nothing came back that SAM could have kept away. Sharpness is the
    largest rise of the forget loss within rho (0.1) of the weights.
    """
    records = facts.records("full", seed)[:FACTS]
    request = Request(records[:FORGET], records[FORGET:], seed=seed)
    target, control = learnt(records, seed), learnt(request.retain, seed)
    results = {name: unlearnt(target, request, rule) for name, rule in RULES.items()}
    floor = recovery(control, request.forget)
    plain, smooth = results["NPO"], results["SAM"]
    figures = {
        "facts known before, accuracy": accuracy(target, records),
        "forget accuracy of the control": accuracy(control, request.forget),
        "recovery of the control": floor,
        "forget accuracy, the larger of both": max(plain.left, smooth.left),
        "retain accuracy, difference between both": abs(plain.kept - smooth.kept),
        "recovery after NPO beyond the control's": plain.recovery - floor,
        "recovery after SAM beyond the control's": smooth.recovery - floor,
        "recovery after NPO less that after SAM": plain.recovery - smooth.recovery,
        "rise after NPO less that after SAM": plain.recovery - plain.left - smooth.recovery + smooth.left,
        "sharpness, NPO over SAM": plain.sharpness / smooth.sharpness,
    }
    for name, result in results.items():
        figures |= {f"{field}, {name}": getattr(result, field) for field in ("steps", "left", "kept", "recovery")}
    return figures


@dataclass(frozen=True)
class Result:
    """One unlearned model: steps taken, accuracies from 0 to 1, sharpness in units of the loss (nats / beta)."""

    steps: int
    left: float
    kept: float
    recovery: float
    sharpness: float


def learnt(records: Sequence[Record], seed: int) -> LanguageModel:
    """A model that knows these facts and no others."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LanguageModel(LlamaForCausalLM(facts.config()), facts.tokenizer())
    train(model, [Term("learn", model.encode(records), own_loss, per="token")], LEARNING)
    return model


def unlearnt(target: LanguageModel, request: Request, rule: str) -> Result:
    """NPO under a step rule, up to the first step at which enough is forgotten and enough kept; else to its end."""
    reached: list[tuple[int, Model]] = []
    done = 0

    def look(model: Model) -> float:
        nonlocal done
        done += 1
        there = accuracy(model, request.forget) <= FORGOTTEN and accuracy(model, request.retain) >= KEPT
        if there and not reached:
            reached.append((done, model.copy()))
        return 0.0

    last = npo(
        target, request, beta=BETA, step=rule, lr=RATE, steps=STEPS, batch_size=FORGET, retain_weight=RETAIN_WEIGHT,
        evaluate=look, evaluate_every=1,
    )  # fmt: skip
    steps, made = reached[0] if reached else (STEPS, last)
    left, kept = accuracy(made, request.forget), accuracy(made, request.retain)
    sharp = sharpness(made, target, request.forget, RHO, beta=BETA)
    return Result(steps, left, kept, recovery(made, request.forget), sharp)


def recovery(model: Model, forget: Sequence[Record]) -> float:
    """Mean accuracy on what the attacker does not hold, over the steps of relearning and what it may hold."""
    curve: list[float] = []
    for start in range(0, len(forget), HELD):
        held, others = forget[start : start + HELD], [*forget[:start], *forget[start + HELD :]]

        def look(current: Model, others: Sequence[Record] = others) -> float:
            curve.append(accuracy(current, others))
            return 0.0

        attacked = model.copy()
        train(attacked, [Term("relearn", attacked.encode(held), own_loss, per="token")], RELEARNING, evaluate=look)
    return statistics.mean(curve)


def accuracy(model: Model, records: Sequence[Record]) -> float:
    """Share of the answers' values, without the end token, that are the likeliest."""
    assert isinstance(model, LanguageModel)
    with model.evaluating():
        batch = model.collate(model.encode(records), range(len(records)))
        scored = (batch.labels != IGNORED) & (batch.labels != model.eos)
        return float((model.logits(batch).argmax(-1) == batch.labels)[scored].float().mean())
