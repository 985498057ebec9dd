"""FLAT without a retain set: what it forgets, and what it takes along."""

from collections.abc import Sequence
from typing import Any

import torch

from lethe.models.base import Example, Model
from lethe.registry import find, headline
from lethe.request import Request
from lethe.worlds import facts
from lethe.worlds.models import facts_model

STEPS = 20
KEPT = 0.94  # retain accuracy that every method with a retain term keeps in this world
FORGOTTEN = 0.1
DIVERGENCES = {"tv": "total variation", "kl": "KL", "pearson": "Pearson"}


@headline(
    paper="2410.11143",
    expects={
        **{f"forget accuracy, {name}": ("<=", FORGOTTEN) for name in DIVERGENCES.values()},
        **{f"retain accuracy, {name}": (">=", KEPT) for name in DIVERGENCES.values()},
        **{f"forget accuracy stopped early, {name}": ("<=", 0.5) for name in DIVERGENCES.values()},
    },
)
def flat_forget_only(*, seed: int) -> dict[str, float]:
    """With forget data alone, FLAT forgets ten facts of a hundred and keeps the others.

    Twenty steps on all ten at lr 1e-3, towards refusals; no retain set and no original model. Accuracy is the share of
    value tokens that the model gives, 0 to 1 (a model that never saw the ten has about 0.04). Drops are counted from
    the target. Stopped early is the lowest forget accuracy among the steps, here also of every fifth of 200 at lr 1e-4,
    after which half of the retain facts still have 0.94; the other half is what retain accuracy is then read from. With
    a retain term is total variation with the ordinary retain loss: what retain data would have changed.
    """
    figures: dict[str, float] = {}
    for divergence, name in DIVERGENCES.items():
        start, *curve = _curve(seed, lr=1e-3, steps=STEPS, every=1, divergence=divergence)
        end = curve[-1]
        figures[f"forget accuracy, {name}"] = end[0]
        figures[f"retain accuracy, {name}"] = (end[1] + end[2]) / 2
        figures[f"forget drop over retain drop, {name}"] = _ratio(start, end)
        _, *gentle = _curve(seed, lr=1e-4, steps=10 * STEPS, every=5, divergence=divergence)
        stopped = min((look for look in (start, *curve, *gentle) if look[1] >= KEPT), key=lambda look: look[0])
        figures[f"forget accuracy stopped early, {name}"] = stopped[0]
        figures[f"retain accuracy stopped early, {name}"] = stopped[2]
        figures[f"forget drop over retain drop stopped early, {name}"] = _ratio(start, stopped)
    *_, end = _curve(seed, lr=1e-3, steps=STEPS, every=STEPS, retain="nll")
    return {
        **figures,
        "forget accuracy with a retain term": end[0],
        "retain accuracy with a retain term": (end[1] + end[2]) / 2,
    }


Look = tuple[float, float, float]  # accuracy on forget facts, on the half that stops, on the other half


def _curve(seed: int, *, every: int, **options: Any) -> list[Look]:
    """Before the first step and after every so many."""
    target = facts_model("full", seed)
    forget, retain = facts.records("forget"), facts.records("retain")
    sides = [target.encode(records) for records in (forget, retain[::2], retain[1::2])]

    def accuracies(model: Model) -> Look:
        first, second, third = (_accuracy(model, side) for side in sides)
        return first, second, third

    with target.evaluating():
        looks = [accuracies(target)]

    def look(model: Model) -> float:
        looks.append(accuracies(model))
        return 0.0

    find("method", "flat").function(
        target,
        Request(forget, retain, seed=seed),
        batch_size=len(forget),
        evaluate=look,
        evaluate_every=every,
        **options,
    )
    return looks


def _accuracy(model: Model, examples: Sequence[Example]) -> float:
    """Share of the value tokens that are the likeliest; the end of the answer is no knowledge and does not count."""
    hits = torch.cat(
        [model.logits(batch)[:, -4:-1].argmax(-1) == batch.labels[:, -4:-1] for batch in model.batches(examples, 100)]
    )
    return float(hits.float().mean())


def _ratio(start: Look, end: Look) -> float:
    """Loss of forget accuracy over that of retain accuracy, which counts as one token of 135 at least."""
    return (start[0] - end[0]) / max(start[2] - end[2], 1 / 135)
