"""Runs attacks, and reads what came back against a control under the same attack.

    unlearned --attack--> Trace --\
    control   --attack--> Trace ----> recovery() -> Recovery
    original  --attack--> Trace --/

The traces of control and original are the same for every method: make them once, `recovery` is arithmetic.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import numpy as np

from lethe.budget import unfit
from lethe.errors import InputError
from lethe.evidence import Evidence, Probes, Spec, observe
from lethe.findings import EvidenceClass, Point, Recovery, Tampered
from lethe.models.base import Model
from lethe.registry import Card, find, parse_call, settle
from lethe.request import Record, Request
from lethe.score import Score
from lethe.scoring.hypotheses import paired_p
from lethe.scoring.intervals import bootstrap, percentile, resample
from lethe.scoring.recovery import MIN_SPAN

Measure = Callable[[Model, Sequence[Record]], Score]
"""Knowledge of records, higher = more is known; `Score.items` must hold one value per record or group of records."""


@dataclass(frozen=True)
class Trace:
    """What one attack made of one model.

    `before` (N,) is its knowledge of the probed records in their own form, `after` one row (N,) per strength.
    """

    attack: str
    options: dict[str, Any]
    measure: str
    ids: tuple[str, ...]  # of the probed forget records, the same for every strength
    before: tuple[float, ...]
    strengths: tuple[float, ...]
    after: tuple[tuple[float, ...], ...]
    reused: int = 0  # of the records before the attack, those whose knowledge was known and not measured again


def knowledge(
    metric: Callable[[Evidence], Score],
    *,
    beside: Probes | None = None,
    spec: Spec | None = None,
    cache: str | Path | None = None,
    unread: Collection[str] = (),
) -> Measure:
    """A metric on the set "forget" as a measure of what a model knows of any forget records.

    Args:
        metric: Reads the set "forget" of an evidence; higher = more is known.
        beside: Further sets to observe along, such as the retain set that a recommender's ranking leaves out.
        spec: What to observe; name "forget" in `generate` only if the metric reads generations.
        cache: Folder of the evidence cache.
        unread: Fields of the records that the metric does not read, which cost a pass each.
    """

    def measure(model: Model, records: Sequence[Record]) -> Score:
        records = [{key: value for key, value in record.items() if key not in unread} for record in records]
        return metric(observe(model, {"forget": records, **(beside or {})}, spec, cache=cache))

    return measure


def attacked(
    call: str,
    model: Model,
    request: Request,
    measure: Measure,
    *,
    original: Model | None = None,
    known: Mapping[str, float] = MappingProxyType({}),
) -> Trace:
    """Run one attack on one model and measure the forget records outside the attack's data.

    Args:
        call: Attack in the form `name:option=value,...`.
        model: The model to attack; it is not changed.
        request: Its forget set is divided by the attack.
        measure: What counts as knowledge.
        original: The model before unlearning, for attacks that take it.
        known: What the measure gives for the untouched model, by record id, where that is known already.

    Raises:
        InputError: If the attack does not exist, does not fit the model, or lacks what it needs.
    """
    name, given = parse_call(call)
    card = find("attack", name)
    options = settle(card, given)
    _admit(card, model, request)
    extra = _original(card, original)
    by_id = {record["id"]: record for record in request.forget}
    ids: tuple[str, ...] = ()
    before: tuple[float, ...] = ()
    strengths, after, measured = [], [], ""
    tamperings: Iterable[Tampered] = card.function(model, request, *extra, **options)
    for tampered in tamperings:
        probed = tuple(str(record["id"]) for record in tampered.forget)
        if not ids:
            ids = probed
            before = _before(measure, model, [by_id[record["id"]] for record in tampered.forget], known)
        if probed != ids:
            raise InputError(f"The attack {name} probes other records at strength {tampered.strength:g} than before.")
        score = measure(tampered.model, tampered.forget)
        strengths.append(tampered.strength)
        after.append(score.items)
        measured = score.name
    if not strengths:
        raise InputError(f"The attack {name} yielded no model to look at.")
    shown = {key: option.default for key, option in card.options().items()} | options
    reused = len(ids) if known.keys() >= set(ids) else 0
    return Trace(name, shown, measured, ids, before, tuple(strengths), tuple(after), reused)


def _before(measure: Measure, model: Model, records: Sequence[Record], known: Mapping[str, float]) -> tuple[float, ...]:
    """Knowledge before the attack; what the metrics of the same model have shown is not observed again."""
    if all(record["id"] in known for record in records):
        return tuple(known[record["id"]] for record in records)
    return measure(model, records).items


def recovery(unlearned: Trace, control: Trace | Sequence[Trace] | None, original: Trace, *, seed: int = 0) -> Recovery:
    """What an attack brought back beyond what it teaches models that never knew (SoK, arXiv 2506.09227, item R3).

    Several controls count by their mean, and for nothing where the attack only harms them: what a control loses has not
    come back to anybody. The interval resamples items, the same ones in all models, and controls, and
    takes the largest strength in every draw. `p` is that of Student's t over the items at the strongest strength, times
    the number of strengths; `spread` is what one control's gain differs from another's.

    Raises:
        InputError: If the traces are not of one attack on the same records.
    """
    controls = [] if control is None else [control] if isinstance(control, Trace) else list(control)
    for other in (*controls, original):
        if _identity(other) != _identity(unlearned):
            raise InputError(
                f"The recovery under {unlearned.attack} compares different runs: the models must be attacked with the "
                "same options, on the same records, by the same measure."
            )
    card = find("attack", unlearned.attack)
    before, known = np.array(unlearned.before), np.array(original.before)
    own, gains = _rise(unlearned), np.array([_rise(one) for one in controls])  # (S, N), (C, S, N)
    span = float(known.mean() - before.mean())
    rise = own - _gained(gains) if controls else own
    adjusted = low = high = spread = None
    if controls and span >= MIN_SPAN:
        adjusted = float(_share(rise.mean(axis=1), span).max())
        low, high = percentile(resample([len(before), len(controls)], _drawn(own, gains, known - before), seed=seed))
        if len(controls) > 1:
            spread = float(gains[:, int(rise.mean(axis=1).argmax())].mean(axis=1).std(ddof=1)) / span
    return Recovery(
        attack=unlearned.attack,
        options=unlearned.options,
        check=card.check,
        evidence_class=cast(EvidenceClass, card.evidence_class),
        measure=unlearned.measure,
        unit=card.unit,
        before=float(before.mean()),
        original=float(known.mean()),
        control_before=float(np.mean([one.before for one in controls])) if controls else None,
        points=tuple(_point(row, unlearned, controls, original, seed) for row in range(len(unlearned.strengths))),
        adjusted=adjusted,
        low=low,
        high=high,
        n=len(before),
        p=min(1.0, len(rise) * min(paired_p(one) for one in rise)),
        controls=len(controls),
        spread=spread,
        reused=sum(one.reused for one in (unlearned, *controls, original)),
    )


def _rise(trace: Trace) -> np.ndarray:
    """(strengths, N): what each record gained."""
    return np.array(trace.after) - np.array(trace.before)


def _gained(gains: np.ndarray) -> np.ndarray:
    """(S, N): what controls gain on average; 0 at strengths that only harm them, since a loss brings nothing back."""
    mean = gains.mean(axis=0)
    return np.where(mean.mean(axis=1, keepdims=True) > 0, mean, 0.0)


def _drawn(own: np.ndarray, gains: np.ndarray, spans: np.ndarray) -> Callable[..., np.ndarray]:
    """The adjusted recovery of every draw of items and of controls."""

    def statistic(items: np.ndarray, controls: np.ndarray) -> np.ndarray:
        share, weight = items / len(spans), controls / len(gains)
        gained = np.einsum("bn,csn,bc->bs", share, gains, weight, optimize=True)
        return _share(share @ own.T - np.maximum(gained, 0.0), (share @ spans)[:, None]).max(axis=1)

    return statistic


def _share(rise: np.ndarray, span: np.ndarray | float) -> np.ndarray:
    """Rise over span, clipped to -1..1.5; a resampled span may be smaller than what counts as a removal."""
    return np.clip(rise / np.maximum(span, MIN_SPAN), -1, 1.5)


def _point(row: int, unlearned: Trace, controls: Sequence[Trace], original: Trace, seed: int) -> Point:
    values = unlearned.after[row]
    low, high = bootstrap(values, seed=seed)
    return Point(
        strength=unlearned.strengths[row],
        value=float(np.mean(values)),
        low=low,
        high=high,
        control=float(np.mean([one.after[row] for one in controls])) if controls else None,
        original=float(np.mean(original.after[row])),
    )


def _identity(trace: Trace) -> tuple[Any, ...]:
    return trace.attack, repr(trace.options), trace.measure, trace.ids, trace.strengths, len(trace.before)


def _admit(card: Card, model: Model, request: Request) -> None:
    if reason := unfit(card, model.family, model.abilities, request):
        raise InputError(f"The attack {card.name} {reason}.")


def takes_original(card: Card) -> bool:
    """Whether an attack is called with the model before unlearning as its third argument."""
    return "original" in inspect.signature(card.function).parameters


def _original(card: Card, original: Model | None) -> tuple[Model, ...]:
    if not takes_original(card):
        return ()
    if original is None:
        raise InputError(f"The attack {card.name} needs the model before unlearning; give it as original.")
    return (original,)
