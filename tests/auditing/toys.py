"""The toy models of SoK (arXiv 2506.09227) by which a checklist is checked: small tables of facts with four options.

A key's row in the table times its topic's readout gives the scores of the four options. The forget set is one topic;
the other keys of that topic were never learnt. Everything passes through the same code as a benchmark's models:
training, evidence, metrics, attacks, audit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from lethe.auditing.case import AuditInput, Names, by_name
from lethe.auditing.recovery import Trace, attacked, knowledge, recovery
from lethe.descent.terms import own_loss
from lethe.evidence import Evidence, Spec, observe
from lethe.measure import compute
from lethe.models.classifier import Classifier
from lethe.request import Request
from lethe.score import Score
from lethe.train import Recipe, Term, train

KEYS, OPTIONS, WIDTH = 24, 4, 12  # keys of each set: forget, retain, never learnt
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


class Facts(nn.Module):
    """A table (keys, width) and one readout (options, width) per topic; what is hidden is masked to equal scores."""

    def __init__(self, hidden: Sequence[int] = ()) -> None:
        super().__init__()
        self.table = nn.Embedding(3 * KEYS, WIDTH)
        self.readout = nn.Parameter(torch.randn(2, OPTIONS, WIDTH) * 0.3)
        nn.init.normal_(self.table.weight, std=0.1)
        self.hidden = list(hidden)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2) key and topic -> (B, options)."""
        key, topic = x.long().unbind(1)
        scores = (self.readout[topic] * self.table(key)[:, None]).sum(-1)
        if self.hidden:
            scores = scores.masked_fill(torch.isin(key, torch.tensor(self.hidden))[:, None], 0.0)
        return scores


@cache
def request() -> Request:
    """Keys 0.. are to be forgotten and 24.. to be kept; 48.. were never learnt and are of the forgotten topic."""
    answers = torch.randint(OPTIONS, (3 * KEYS,), generator=torch.Generator().manual_seed(0)).tolist()
    rows = [
        {"id": f"k{key}", "features": [float(key), float(not KEYS <= key < 2 * KEYS)], "label": answers[key]}
        for key in range(3 * KEYS)
    ]
    return Request(rows[:KEYS], rows[KEYS : 2 * KEYS], rows[2 * KEYS :], allow_overlap=True)


def trained(seed: int, knows: bool) -> Classifier:
    torch.manual_seed(seed)
    model = Classifier(Facts())
    records = [*request().retain, *(request().forget if knows else ())]
    train(model, [Term("facts", model.encode(records), own_loss)], Recipe(lr=0.15, steps=25, batch_size=48, seed=seed))
    return model


@cache
def target() -> Classifier:
    return trained(0, knows=True)


@cache
def control(seed: int) -> Classifier:
    return trained(1 + seed, knows=False)


def edited(change: Callable[[Facts], object]) -> Classifier:
    model = target().copy()
    with torch.no_grad():
        change(model.module)  # pyright: ignore[reportArgumentType]
    return model


def forget_rows(facts: Facts) -> Tensor:
    return facts.table.weight[:KEYS]


def deleted() -> Classifier:
    """Toy A: the rows are gone; a fresh key has a fresh row."""
    fresh = torch.randn(KEYS, WIDTH, generator=torch.Generator().manual_seed(9)) * 0.1
    return edited(lambda facts: forget_rows(facts).copy_(fresh))


def zeroed() -> Classifier:
    """Toy A again, with zeros in place of fresh rows."""
    return edited(lambda facts: forget_rows(facts).zero_())


def masked() -> Classifier:
    """Toy B: the same table behind a filter of names."""
    return edited(lambda facts: facts.hidden.extend(range(KEYS)))


def scaled() -> Classifier:
    """Toy C: the topic's readout times 0.01."""
    return edited(lambda facts: facts.readout[1].mul_(0.01))


def contrary() -> Classifier:
    """Toy D: the right option has the lowest score."""
    return edited(lambda facts: forget_rows(facts).neg_())


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
