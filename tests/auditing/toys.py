"""The toy models of `lethe.worlds.toys` as an audit sees them, and three more that only tests need.

Everything passes through the same code as a benchmark's models: training, evidence, metrics, attacks, audit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from lethe.auditing.case import AuditInput, Names, by_name
from lethe.auditing.recovery import Trace, attacked, knowledge, recovery
from lethe.evidence import Evidence, Spec, observe
from lethe.measure import compute
from lethe.models.classifier import Classifier
from lethe.score import Score
from lethe.worlds import toys
from lethe.worlds.toys import KEYS, WIDTH, Facts, contrary, edited, masked, request, scaled, target

__all__ = ["contrary", "deleted", "masked", "ruined", "scaled", "target", "zeroed"]

ATTACKS = ("relearn:steps=5,10,20,lr=0.05", "quantize", "merge")
METRICS = ("probability:set=forget", "probability:set=retain", "accuracy:set=retain", "membership")
DISTANCES = ("distance:set=forget", "distance:set=retain")
NAMES = Names(
    knowledge="probability.answer@forget",
    probability="probability.answer@forget",
    retain="probability.answer@retain",
    utility="accuracy.top1@retain",
    membership="membership.loss@forget",
    distances=("distance.kl@forget", "distance.kl@retain"),
)


@cache
def control(seed: int) -> Classifier:
    return toys.control(seed)


def forget_rows(facts: Facts) -> Tensor:
    return facts.table.weight[:KEYS]


def deleted() -> Classifier:
    """Toy A: the rows are gone; a fresh key has a fresh row."""
    fresh = torch.randn(KEYS, WIDTH, generator=torch.Generator().manual_seed(9)) * 0.1
    return edited(lambda facts: forget_rows(facts).copy_(fresh))


def zeroed() -> Classifier:
    """Toy A again, with zeros in place of fresh rows."""
    return edited(lambda facts: forget_rows(facts).zero_())


def ruined() -> Classifier:
    """Everything is forgotten."""
    return edited(lambda facts: facts.table.weight.normal_(std=0.1, generator=torch.Generator().manual_seed(1)))


@dataclass(frozen=True, eq=False)
class Looked:
    """A model with what was observed of it and what each attack made of it."""

    evidence: Evidence
    attacks: tuple[str, ...]
    traces: tuple[Trace, ...]


def look(model: Classifier, attacks: tuple[str, ...] = ATTACKS) -> Looked:
    sets = {"forget": request().forget, "retain": request().retain, "holdout": request().holdout}
    probability = knowledge(lambda evidence: compute("probability", evidence), spec=Spec(distributions=()))
    traces = [attacked(call, model, request(), probability, original=target()) for call in attacks]
    return Looked(observe(model, sets, Spec(rows=8)), attacks, tuple(traces))


@cache
def looked_target(attacks: tuple[str, ...] = ATTACKS) -> Looked:
    return look(target(), attacks)


@cache
def looked_control(seed: int, attacks: tuple[str, ...] = ATTACKS) -> Looked:
    return look(control(seed), attacks)


@cache
def own_scores(own: Looked) -> tuple[Score, ...]:
    return tuple(compute(call, own.evidence) for call in METRICS)


def scores(own: Looked, controls: Sequence[Looked]) -> dict[str, Score]:
    others = [one.evidence for one in controls if one is not own]
    return by_name([*own_scores(own), *(compute(call, own.evidence, others) for call in DISTANCES if others)])


def case(
    own: Looked, controls: Sequence[Looked], *, level: str = "parameter", claimed: str = "removal", changed: int = 1
) -> AuditInput:
    """What the audit reads of one model; the first control is the one that is attacked beside it."""
    known = looked_target(own.attacks)
    side = controls[0].traces if controls else (None,) * len(own.traces)
    found = [recovery(mine, other, knows) for mine, other, knows in zip(own.traces, side, known.traces, strict=True)]
    return AuditInput(
        claimed=claimed,
        level=level,
        names=NAMES,
        scores=scores(own, controls),
        target=scores(known, controls),
        controls=[scores(one, controls) for one in controls],
        recoveries=found,
        changed=changed,
    )


def beside(count: int = 5) -> list[Looked]:
    """So many controls."""
    return [looked_control(seed) for seed in range(count)]
