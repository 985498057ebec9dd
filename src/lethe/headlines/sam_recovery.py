"""What relearning a few forgotten items brings back of the others, after NPO and after NPO with SAM."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from lethe.descent.terms import own_loss
from lethe.gradients import displaced, length
from lethe.losses import preference
from lethe.methods.npo import npo
from lethe.models.base import Model, per_example
from lethe.models.classifier import Classifier
from lethe.registry import headline
from lethe.request import Record, Request
from lethe.scoring.intervals import bootstrap
from lethe.train import Recipe, Term, train

RUNS, FORGET, RETAIN, INPUTS, WIDTH, CLASSES, HELD, BETA = 20, 24, 48, 32, 96, 8, 6, 0.5
RULES = {"NPO": "plain", "SAM, rho 0.3": "sam:rho=0.3", "SAM, rho 0.6": "sam:rho=0.6"}


@headline(
    paper="2502.05374",
    expects={
        "items known before, least of all runs": (">=", 1.0),
        "recovery after NPO less what was left": (">=", 0.05),
        "recovery after NPO less that after SAM, rho 0.3": (">=", 0.0),
        "recovery after NPO less that after SAM, rho 0.6": (">=", 0.0),
    },
)
def sam_recovery(*, seed: int) -> dict[str, float]:
    """Relearning a few items brings back less of the others where NPO went with SAM, at equal forgetting and utility.

    A tanh network (32-96-8) learns random labels of 24 items to forget and 48 to keep, all right; it unlearns (150
    steps, beta 0.5, retain weight 3) and relearns 6 of the 24 by plain descent (40 steps). Recovery is the accuracy on
    the other 18 after each of these steps, on average (the area under its curve; chance is 0.125); what was left is the
    accuracy on all 24 before. Sharpness is the largest rise of the forget loss within 0.3 of the weights. Means over 20
    runs; the lower ends are those of bootstrap intervals (95 %) of the paired difference over the runs.
    """
    runs = [run(RUNS * seed + number) for number in range(RUNS)]
    figures = {"items known before, least of all runs": min(known for known, _ in runs)}
    told = {name: [results[name] for _, results in runs] for name in RULES}
    for name, results in told.items():
        for field in ("recovery", "left", "kept", "sharpness"):
            figures[f"{field}, {name}"] = statistics.mean(getattr(result, field) for result in results)
    base = told["NPO"]
    figures["recovery after NPO less what was left"] = statistics.mean(r.recovery - r.left for r in base)
    for name in list(RULES)[1:]:
        pairs = list(zip(base, told[name], strict=True))
        gains = [plain.recovery - smooth.recovery for plain, smooth in pairs]
        figures[f"recovery after NPO over that after {name}"] = figures["recovery, NPO"] / figures[f"recovery, {name}"]
        figures[f"recovery after NPO less that after {name}"] = statistics.mean(gains)
        figures[f"lower end of that difference, {name}"] = bootstrap(gains, seed=seed, draws=4000).low
        rises = [plain.recovery - plain.left - smooth.recovery + smooth.left for plain, smooth in pairs]
        figures[f"rise after NPO less that after {name}"] = statistics.mean(rises)
    return figures


@dataclass(frozen=True)
class Result:
    """One unlearned model: accuracies from 0 to 1, sharpness in units of the loss (nats / beta)."""

    recovery: float
    left: float
    kept: float
    sharpness: float


def run(seed: int) -> tuple[float, dict[str, Result]]:
    """How much the model knew, and what became of it under each rule."""
    model, request = setting(seed)
    everything = [*request.forget, *request.retain]
    recipe = Recipe(lr=0.02, steps=600, batch_size=len(everything), clip=None, seed=seed)
    train(model, [Term("learn", model.encode(everything), own_loss)], recipe)
    options: dict[str, Any] = {"lr": 0.005, "steps": 150, "batch_size": RETAIN, "clip": None, "retain_weight": 3.0}
    results = {}
    for name, rule in RULES.items():
        made = npo(model, request, beta=BETA, step=rule, **options)
        left, kept = accuracy(made, request.forget), accuracy(made, request.retain)
        sharp = sharpness(made, model, request.forget)
        results[name] = Result(recovery(made, request.forget), left, kept, sharp)
    return accuracy(model, everything), results


def setting(seed: int) -> tuple[Classifier, Request]:
    """Items around two opposite offsets with random labels, and a network that has seen none of them."""
    rng = np.random.default_rng(seed)
    offset = rng.normal(size=INPUTS)
    inputs = np.concatenate([rng.normal(size=(FORGET, INPUTS)) + offset, rng.normal(size=(RETAIN, INPUTS)) - offset])
    labels = rng.integers(CLASSES, size=FORGET + RETAIN)
    layers = nn.Linear(INPUTS, WIDTH, bias=False), nn.Linear(WIDTH, CLASSES, bias=False)
    with torch.no_grad():
        for layer in layers:
            drawn = rng.normal(size=(layer.in_features, layer.out_features)) / layer.in_features**0.5
            layer.weight.copy_(torch.from_numpy(drawn.T))
    features = (inputs * 3 / INPUTS**0.5).astype(np.float32)
    records = [{"id": str(i), "features": features[i], "label": int(label)} for i, label in enumerate(labels)]
    net = nn.Sequential(layers[0], nn.Tanh(), layers[1])
    return Classifier(net.eval()), Request(records[:FORGET], records[FORGET:], seed=seed)


def accuracy(model: Model, records: Sequence[Record]) -> float:
    """Share of the records whose label the model gives."""
    batch = model.collate(model.encode(records), range(len(records)))
    with model.evaluating():
        return float((model.logits(batch).argmax(-1) == batch.labels).float().mean())


def recovery(model: Model, forget: Sequence[Record]) -> float:
    """Mean accuracy on what the attacker does not hold, over the steps of relearning what it holds."""
    curve: list[float] = []

    def look(current: Model) -> float:
        curve.append(accuracy(current, forget[HELD:]))
        return 0.0

    attacked = model.copy()
    term = Term("relearn", attacked.encode(forget[:HELD]), own_loss)
    recipe = Recipe(lr=0.2, steps=40, batch_size=HELD, optimizer="sgd", momentum=0, clip=None, evaluate_every=1)
    train(attacked, [term], recipe, evaluate=look)
    return statistics.mean(curve)


def sharpness(
    model: Model, original: Model, forget: Sequence[Record], radius: float = 0.3, ascents: int = 5, beta: float = BETA
) -> float:
    """Largest rise of the forget loss found at a distance, by following its gradient over the sphere."""
    examples = model.encode(forget)
    reference = per_example(original, examples)
    batch = model.collate(examples, range(len(examples)))
    parameters = list(model.module.parameters())

    def slope() -> tuple[float, Sequence[torch.Tensor]]:
        loss = preference.npo(model.loss(batch), reference, beta=beta).mean()
        return loss.item(), torch.autograd.grad(loss, parameters)

    start, direction = slope()
    highest = start
    for _ in range(ascents):
        with displaced(parameters, direction, radius / length(direction)):
            value, direction = slope()
        highest = max(highest, value)
    return highest - start
