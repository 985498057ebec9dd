"""Where the thresholds of the checklist come from: audits of models that truly never knew, and of some that hide it.

Every control is audited as if it were an unlearned model, beside a few of the other controls. How far each line strays
gives its threshold; what the whole audit then says gives its rate of false alarms, with the thresholds taken from other
controls than the audited one. Beside it stand models that only seem to have forgotten: the power of the audit.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from lethe.auditing.case import AuditInput, by_name
from lethe.auditing.checklist import FAMILY, checklist
from lethe.auditing.recovery import Trace, attacked, knowledge, recovery
from lethe.auditing.robustness import BACK, MERGING, calibrated_as
from lethe.auditing.thresholds import ALPHA, Null, in_force
from lethe.auditing.verdict import audit
from lethe.benchmarks.records import beside_at, metrics_for, spec_at
from lethe.budget import affordable, checked
from lethe.data.atomic import write_json
from lethe.data.content import digest
from lethe.errors import InputError
from lethe.evidence import Evidence, Spec, observe
from lethe.findings import Recovery
from lethe.measure import compute, measurable
from lethe.models.base import Model
from lethe.registry import bind, find
from lethe.request import Record, Request
from lethe.runs.cells import load_trace, told
from lethe.runs.environment import code
from lethe.runs.verdicts import names_of
from lethe.runs.workers import Pool
from lethe.score import Score
from lethe.scoring.intervals import clopper_pearson
from lethe.worlds import toys, witnesses

KIND = 8  # the kind of witness: two layers of 64, trained until it knows
BESIDE = 4  # controls beside the audited model
ATTACKED = 2  # of which so many are attacked
FOLDS = 12  # thresholds are tried on controls that they were not taken from
REACHED = ("suppression", "not forgotten", "collapse")  # verdicts that a true control must not get
UNDONE = {"ga": {"lr": 4.4e-4, "steps": 9, "batch_size": 5}, "npo": {"lr": 6.8e-4, "epochs": 10, "batch_size": 5},
          "idk": {"lr": 6.1e-4, "epochs": 7, "batch_size": 5}}  # fmt: skip
OWN = {"B4", "N4", "R9"}  # lines with a threshold of their own theory, or that are read several times


@dataclass(frozen=True)
class Ground:
    """A world of models to audit: which there are, what they are asked, and how they are attacked."""

    name: str
    family: str
    request: Request
    metrics: tuple[str, ...]
    beside: tuple[str, ...]
    spec: Spec
    calls: tuple[str, ...]
    make: Callable[[str], Model]  # "target", "control-0", ... or a name out of `hiding`
    hiding: tuple[str, ...]

    @property
    def probes(self) -> dict[str, list[Record]]:
        """What is observed."""
        return {name: list(getattr(self.request, name)) for name in ("forget", "retain", "holdout")}


@dataclass(frozen=True)
class Looked:
    """What was observed of a model, and what each attack made of it; attacks that did not fit are absent."""

    evidence: Evidence
    traces: Mapping[str, Trace]


def run_thresholds(
    folder: str | Path, *, models: int = 12, seeds: int = 108, budget: str = "quick", workers: int = 1
) -> dict[str, Any]:
    """Audit every control, and what hides; returns what thresholds.json holds.

    Args:
        folder: Where evidence and traces stand; a killed run goes on where it was.
        models: Tiny language models that were retrained without the forget set.
        seeds: Toys that were trained without it.
        budget: What the tiny models are attacked with.
        workers: Processes.

    Raises:
        InputError: If there are too few controls, or there is no such budget.
    """
    if min(models, seeds) < FOLDS:
        raise InputError(f"models is {models} and seeds {seeds}; give at least {FOLDS} of each.")
    checked(budget)
    grounds = [ground("tiny", budget), ground("toys", budget)]
    counts = {"tiny": models, "toys": seeds}
    with Pool(workers) as pool:
        for one in grounds:
            who = ["target", *(f"control-{n}" for n in range(counts[one.name])), *one.hiding]
            pool.map(look, [(str(folder), one.name, budget, each) for each in who])
    worlds = {one.name: controls_audited(str(folder), one, budget, counts[one.name]) for one in grounds}
    lines = widest([one["lines"] for one in worlds.values()])
    for one in grounds:
        worlds[one.name]["power"] = power(str(folder), one, budget, counts[one.name], in_force(lines))
    return {
        "command": f"lethe bench thresholds --models {models} --set seeds={seeds} --set budget={budget}",
        "code": code(),
        "alpha": ALPHA,
        "lines": lines,
        "worlds": worlds,
    }


def widest(worlds: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, Mapping[str, Any]]:
    """Of each line the world in which true controls stray farthest."""
    lines = dict.fromkeys(line for one in worlds for line in one)
    return {line: max((one[line] for one in worlds if line in one), key=lambda known: known["limit"]) for line in lines}


@cache
def ground(name: str, budget: str) -> Ground:
    """The world of that name."""
    if name == "toys":
        asked = toys.request()
        calls, _ = affordable("quick", "classifier", toys.target().abilities, asked)
        metrics = ("probability:set=forget", "probability:set=retain", "accuracy:set=retain", "membership",
                   "distance:set=forget", "distance:set=retain")  # fmt: skip
        hidden = {"scaled": toys.scaled, "masked": toys.masked, "contrary": toys.contrary}
        calls = (*calls, "relearn:steps=5,10,lr=0.05")  # tables of numbers need a rate of their own
        return Ground(
            name, "classifier", asked, metrics, ("membership_difference",), Spec(rows=8), calls,
            partial(_made, hidden, toys.target, toys.control), tuple(hidden),
        )  # fmt: skip
    sets = {split: witnesses.records(split, KIND) for split in ("forget", "retain", "holdout")}
    asked = Request(sets["forget"], sets["retain"][:60], sets["holdout"], allow_overlap=True)
    probes = {part: list(getattr(asked, part)) for part in sets}
    spec = spec_at("standard", "language", probes, 0)
    hidden = {method: partial(_unlearned, method) for method in UNDONE}
    target = partial(witnesses.witness, KIND, 0, True)
    calls, _ = affordable(budget, "language", target().abilities, asked)
    return Ground(
        name, "language", asked, metrics_for("language", probes), beside_at("standard", "language", probes), spec,
        calls, partial(_made, hidden, target, lambda seed: witnesses.witness(KIND, seed, False)), tuple(hidden),
    )  # fmt: skip


def _made(
    hidden: Mapping[str, Callable[[], Model]], target: Callable[[], Model], control: Callable[[int], Model], who: str
) -> Model:
    if who == "target":
        return target()
    return hidden[who]() if who in hidden else control(int(who.partition("-")[2]))


def _unlearned(method: str) -> Model:
    world = ground("tiny", "quick")
    function = find("method", method).function
    return function(world.make("target"), world.request, **bind(function, UNDONE[method]))


def look(folder: str, name: str, budget: str, who: str) -> Looked:
    """Observe and attack one model; what stands on disk is not made again."""
    world = ground(name, budget)
    model = world.make(who)
    cache = None if name == "toys" else Path(folder) / "evidence"  # a mask of names changes no weight of a toy
    evidence = replace(observe(model, world.probes, world.spec, cache=cache), key=f"{name}-{who}")
    measure = knowledge(partial(compute, "probability:set=forget"), spec=Spec(generate=(), distributions=()))
    traces = {}
    for call in world.calls:
        key = digest([code(), call, evidence.model, world.request.fingerprint()])[:16]
        path = Path(folder) / "traces" / f"{name}-{who}-{key}.json"
        if not path.exists():
            try:
                made = asdict(attacked(call, model, world.request, measure, original=world.make("target")))
            except InputError as error:
                made = {"why": told(error)}
            write_json(path, made)
        stored = json.loads(path.read_text(encoding="utf-8"))
        if "why" not in stored:
            traces[call] = load_trace(stored)
    return Looked(evidence, traces)


def controls_audited(folder: str, place: Ground, budget: str, count: int) -> dict[str, Any]:
    """Every control audited beside others: how far each line strays, and how often the whole audit errs.

    A line that only merging with the original fails decides nothing, here as in a verdict.
    """
    controls, target = _looks(folder, place, budget, count)
    cases = [_case(place, own, [controls[(n + k) % count] for k in range(1, BESIDE + 1)], target)
             for n, own in enumerate(controls)]  # fmt: skip
    alone = [_statistics(one) for one in cases]
    alarms, reached = [], Counter[str]()
    for n, case in enumerate(cases):
        verdict = audit(replace(case, nulls=nulls_of([one for m, one in enumerate(alone) if m % FOLDS != n % FOLDS])))
        failed = [check for check in verdict.checks if check.outcome == "FAIL"]
        decisive = [check.id for check in failed if check.id != "R6" or check.by not in MERGING]
        alarms.append(decisive or [verdict.reached] * (verdict.reached in REACHED))
        reached[verdict.reached] += 1
    raised = sum(bool(one) for one in alarms)
    low, high = clopper_pearson(raised, count)
    return {
        "controls": count, "beside": BESIDE, "attacked": ATTACKED, "attacks": list(target.traces),
        "lines": {line: {**asdict(null), "worst": max(one[line][0] for one in alone if line in one)}
                  for line, null in nulls_of(alone).items()},
        "false_alarms": raised, "rate": raised / count, "interval": [low, high], "reached": dict(reached),
        "alarms": dict(Counter(line for one in alarms for line in one)),
    }  # fmt: skip


def power(folder: str, place: Ground, budget: str, count: int, nulls: Mapping[str, Null]) -> dict[str, Any]:
    """Of models that hide what they know, how many audits expose them, each beside other controls."""
    controls, target = _looks(folder, place, budget, count)
    found = {}
    for who in place.hiding:
        own = look(folder, place.name, budget, who)
        places = range(0, count, max(1, count // FOLDS))
        others = [[controls[(n + k) % count] for k in range(BESIDE)] for n in places]
        audits = [audit(replace(_case(place, own, beside, target), nulls=nulls)) for beside in others]
        found[who] = {
            "audits": len(audits),
            "exposed": sum(one.reached in REACHED for one in audits),
            "reached": dict(Counter(one.reached for one in audits)),
            "by": dict(Counter(check.id for one in audits for check in one.checks if check.outcome == "FAIL")),
        }
    return found


def _looks(folder: str, place: Ground, budget: str, count: int) -> tuple[list[Looked], Looked]:
    """All controls, and the model that knows."""
    controls = [look(folder, place.name, budget, f"control-{n}") for n in range(count)]
    return controls, look(folder, place.name, budget, "target")


def nulls_of(audits: Sequence[Mapping[str, tuple[float, ...]]]) -> dict[str, Null]:
    """The distribution of each line over audits of true controls: the worst value, and those of single attacks."""
    from scipy.stats import t

    counted = Counter(line for one in audits for line in one)
    lines = [line for line, times in counted.items() if times >= FOLDS - 1]
    found = {}
    for line in lines:
        known = [one[line] for one in audits if line in one]
        worst = np.array([values[0] for values in known])
        single = np.concatenate([values[1:] or values for values in known])
        reach = float(t.isf(ALPHA / len(lines), len(known) - 1))
        limit = float(np.sqrt(np.mean(np.maximum(worst, 0) ** 2))) * reach
        found[line] = Null(len(known), float(f"{np.sqrt(np.mean(single**2)):.4g}"), float(f"{limit:.4g}"))
    return found


def _statistics(case: AuditInput) -> dict[str, tuple[float, ...]]:
    """Of each measured line its statistic, 0 = ideal, and for lines of attacks those of the single ones behind it."""
    found: dict[str, tuple[float, ...]] = {}
    for check in checklist(replace(case, nulls={})):
        if check.id[0] in FAMILY and check.id not in OWN and check.value is not None and check.statistic != BACK:
            found[check.id] = (1 - check.value if check.id == "B7" else check.value,)
    known = [(calibrated_as(one), one.adjusted) for one in case.recoveries if one.adjusted is not None]
    for line in dict.fromkeys(line for line, _ in known):
        single = [value for name, value in known if name == line]
        found[line] = (max(single), *single)
    return found


def _case(world: Ground, own: Looked, others: Sequence[Looked], target: Looked) -> AuditInput:
    """What the audit reads of one model beside its controls, in a benchmark's way."""
    beside = [one.evidence for one in others]
    scores = _scores(world, own.evidence, beside, target.evidence)
    of_target = _scores(world, target.evidence, beside, target.evidence)
    of_controls = [
        _scores(world, one, [other for other in beside if other is not one], target.evidence) for one in beside
    ]
    retain = "accuracy.top1@retain" if world.family == "classifier" else "probability.answer@retain"
    return AuditInput(
        claimed="removal",
        level="parameter",
        names=names_of(tuple(of_target.values()), "probability.answer@forget", retain),
        scores=scores,
        target=of_target,
        controls=of_controls,
        recoveries=_recoveries(own, others, target),
        changed=int(own.evidence.model != target.evidence.model),
    )


def _recoveries(own: Looked, others: Sequence[Looked], target: Looked) -> list[Recovery]:
    found = []
    for call, trace in own.traces.items():
        beside = [one.traces[call] for one in others[:ATTACKED] if call in one.traces]
        if beside and call in target.traces:
            found.append(recovery(trace, beside, target.traces[call]))
    return found


def _scores(world: Ground, own: Evidence, controls: Sequence[Evidence], original: Evidence) -> dict[str, Score]:
    found = [_score(call, own, tuple(controls), original) for call in measurable((*world.metrics, *world.beside), True)]
    return by_name([one for one in found if one is not None])


@cache
def _alone(call: str, key: str) -> dict[int, Score | None]:
    return {}


def _score(call: str, own: Evidence, controls: tuple[Evidence, ...], original: Evidence) -> Score | None:
    """One score; what does not depend on the controls is computed once."""
    requires = find("metric", call.partition(":")[0]).requires
    known = _alone(call, own.key if "control" not in requires else f"{own.key}{[one.key for one in controls]}")
    if 0 not in known:
        try:
            known[0] = compute(call, own, controls, original)
        except InputError:  # a probe that these records cannot train, say
            known[0] = None
    return known[0]
