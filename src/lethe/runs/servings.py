"""One chain of requests served by one method: each step starts from the model that the step before has left.

A chain ends in one file, and every step in a model folder with its manifest; what stands is not made again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch

from lethe.data.atomic import write_json
from lethe.data.content import digest
from lethe.errors import InputError
from lethe.evidence import observe
from lethe.measure import compute
from lethe.models import load
from lethe.models.base import Model
from lethe.request import Record, Request
from lethe.runs.cells import Cell, Plan, knowledge_of, told
from lethe.runs.division import By, parts, request_of, sized
from lethe.runs.environment import metered
from lethe.runs.unlearn import carry_out, describe_request, read_manifest
from lethe.scoring.muse import check_sequence
from lethe.worlds.cache import elsewhere

Kind = Literal["sequence", "order", "batch", "size"]
ROWS = 100  # most records of a set whose answers are compared before and after
UNSEEN: dict[str, Any] = {"traces": None, "gradients": (), "interior": (), "samples": ()}  # of no use to any line here


@dataclass(frozen=True)
class Chain:
    """What is served, and how: the numbers of the requests of every step, in order; of a size, its share."""

    kind: Kind
    cell: Cell
    steps: tuple[tuple[int, ...], ...] = ()
    share: float = 0.0

    @property
    def id(self) -> str:
        """Name of the chain, fit for a file."""
        if self.kind == "size":
            return f"{self.cell.id}-size{self.share:g}"
        return f"{self.cell.id}-{'+'.join('.'.join(str(i + 1) for i in step) for step in self.steps)}"


@dataclass(frozen=True)
class Levels:
    """What a model knows of every request (per record, higher = more) and its utility."""

    items: tuple[tuple[float, ...], ...]
    values: tuple[float, ...]
    utility: float


@dataclass(frozen=True)
class Step:
    """One served step: what it served, what the model then knew, and what vouches for it."""

    served: tuple[int, ...]
    levels: Levels
    before: str  # fingerprints of the weights
    after: str
    changed: int  # weights
    bytes: int  # of the weights that are kept of the state
    forgotten: int  # records
    retained: int
    restored: bool = False  # read back from disk after the whole chain, the state had the weights it was saved with
    vouched: bool = False  # the manifest on disk names these weights, these records and the settings


@dataclass(frozen=True)
class Again:
    """The last request served once more: what it changed."""

    levels: Levels
    distances: Mapping[str, float]  # mean KL(before || after) on the answers of a set, nats per token
    weights: float  # size of the change over that of all changes since the target


@dataclass(frozen=True)
class Expense:
    """What a step cost; it is not reproducible."""

    seconds: float
    peak_memory_mib: float
    trained_parameters: int


@dataclass(frozen=True)
class Course:
    """A chain with what came of it, or why nothing did."""

    kind: Kind
    method: str
    label: str
    seed: int
    steps: tuple[Step, ...]
    share: float = 0.0
    again: Again | None = None
    options: Mapping[str, Any] | None = None
    intact: str = ""  # why the chain of weights is broken; "" where every step starts where the one before ended
    failure: str = ""


def look(plan: Plan, model: Model, asked: Sequence[Sequence[Record]], forgotten: Sequence[Record] = ()) -> Levels:
    """What a model knows of every request, and its utility; records that it was to forget count for none of it."""
    task = plan.task()
    measure = knowledge_of(task)
    scores = [measure(model, one) for one in asked]
    gone = {str(record["id"]) for record in forgotten}
    probes = {k: [r for r in rows if k == "forget" or str(r.get("id")) not in gone] for k, rows in task.probes.items()}
    answered = tuple(name for name in probes if name not in ("forget", "holdout"))
    light = replace(task.spec, generate=answered, distributions=(), **UNSEEN)
    evidence = observe(model, probes, light, cache=Path(plan.folder) / "evidence")
    return Levels(
        tuple(score.items for score in scores),
        tuple(score.value for score in scores),
        compute(task.utility, evidence).value,
    )


def apart(plan: Plan, before: Model, after: Model) -> dict[str, float]:
    """Mean KL(before || after) of the answers to forget and retain records, nats per token, by set."""
    task = plan.task()
    probes = {name: task.probes[name] for name in ("forget", "retain") if name in task.probes}
    spec = replace(task.spec, generate=(), distributions=tuple(probes), rows=ROWS, **UNSEEN)
    old, new = (observe(model, probes, spec) for model in (before, after))
    return {name: compute(f"distance:set={name}", new, [old]).value for name in probes}


@lru_cache(maxsize=2)
def _asked(plan: Plan, requests: int, by: By) -> list[list[Record]]:
    return parts(plan.task(), requests, by)


def serve(plan: Plan, chain: Chain, requests: int, by: By, repeat: bool) -> tuple[Course, list[Expense]]:
    """A chain from its file, or served now; one that ends in an error says so and is tried again next time."""
    cell = chain.cell
    blank = Course(chain.kind, cell.method, cell.label or cell.method, cell.seed, (), chain.share)
    again = repeat and chain.kind == "sequence"
    key = digest([asdict(chain), requests, by, again, plan.options, plan.stamp])
    path = Path(plan.folder) / "chains" / f"{chain.id}.json"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["key"] == key:
            return load_course(stored["course"]), [Expense(**one) for one in stored["expenses"]]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not made yet, or damaged
    folder = Path(plan.folder) / "models" / chain.id
    try:
        asked = _asked(plan, requests, by)
        if chain.kind == "size":
            made = _served(plan, cell, [sized(plan.task(), chain.share, by)], folder, key, [[0]])
            asked = [made[0][1].forget]
        else:
            before = [[i for step in chain.steps[:at] for i in step] for at in range(len(chain.steps))]
            todo = [request_of(plan.task(), asked, b, step) for b, step in zip(before, chain.steps, strict=True)]
            made = _served(plan, cell, todo, folder, key, chain.steps)
        course = _course(plan, blank, made, asked)
        if again:
            course = replace(course, again=_again(plan, cell, made, asked, folder, key))
    except Exception as error:  # whatever a method does: the others are still compared
        return replace(blank, failure=told(error)), []
    manifests = [read_manifest(place) for place, *_ in made]
    costs = [Expense(m["seconds"], m["peak_memory_mib"], m["trained_parameters"]) for m in manifests]
    course = replace(course, options=manifests[0]["options"])
    write_json(path, {"key": key, "course": asdict(course), "expenses": [asdict(one) for one in costs]}, nan="null")
    if chain.kind != "sequence":  # of that one every state is kept, for the rollback and the audit
        shutil.rmtree(folder, ignore_errors=True)
    return load_course(json.loads(path.read_text(encoding="utf-8"))["course"]), costs


Made = list[tuple[Path, Request, tuple[int, ...]]]


def _served(
    plan: Plan, cell: Cell, requests: Sequence[Request], folder: Path, key: str, steps: Sequence[Sequence[int]]
) -> Made:
    """The folders of all steps, each made from the one before; what stands is not made again."""
    made: Made = []
    for number, (request, numbers) in enumerate(zip(requests, steps, strict=True), 1):
        place, own = folder / f"step{number}", digest([key, number])
        _one(plan, cell, request, made[-1][0] if made else None, place, own)
        made.append((place, request, tuple(numbers)))
    return made


def _one(plan: Plan, cell: Cell, request: Request, before: Path | None, place: Path, key: str) -> None:
    if read_manifest(place).get("key") == key:
        return
    model = load(before, family=plan.task().family) if before else plan.side("target", 0)
    carry_out(model, replace(request, seed=cell.seed), cell.method, dict(cell.options), place)
    ids = [record["id"] for record in request.forget]
    write_json(place / "lethe.json", {**read_manifest(place), "key": key, "forget_ids": ids})


def _course(plan: Plan, course: Course, made: Made, asked: Sequence[Sequence[Record]]) -> Course:
    """Every state read back from disk, looked at, and compared with its manifest."""
    task, target = plan.task(), plan.side("target", 0)
    steps, manifests, gone = [], [read_manifest(place) for place, *_ in made], []
    for (place, request, numbers), manifest in zip(made, manifests, strict=True):
        model = load(place, family=task.family)
        gone += request.forget
        told_of = describe_request(replace(request, seed=manifest["seed"]))
        steps.append(
            Step(
                served=numbers,
                levels=look(plan, model, asked, gone),
                before=manifest["weights_before"],
                after=manifest["weights_after"],
                changed=manifest["changed_weights"],
                bytes=sum(file.stat().st_size for file in place.glob("*.safetensors")),
                forgotten=len(request.forget),
                retained=len(request.retain),
                restored=model.fingerprint() == manifest["weights_after"],
                vouched=manifest["request"] == told_of
                and manifest["forget_ids"] == [record["id"] for record in request.forget]
                and bool(manifest["options"]),
            )
        )
    broken = ""
    try:
        check_sequence(target.fingerprint(), [one.before for one in steps], [one.after for one in steps])
    except InputError as error:
        broken = str(error)
    return replace(course, steps=tuple(steps), intact=broken)


def _again(plan: Plan, cell: Cell, made: Made, asked: Sequence[Sequence[Record]], folder: Path, key: str) -> Again:
    last, request, _ = made[-1]
    place = folder / "again"
    _one(plan, cell, request, last, place, digest([key, "again"]))
    before, after = (load(one, family=plan.task().family) for one in (last, place))
    gone = [record for one in asked for record in one]
    moved, since = _change(before, after), _change(plan.side("target", 0), before)
    return Again(look(plan, after, asked, gone), apart(plan, before, after), moved / since if since else 0.0)


def _change(before: Model, after: Model) -> float:
    """Euclidean size of the difference of two models' weights; of tensors that both have."""
    old, new = before.inner.state_dict(), after.inner.state_dict()
    both = [name for name in new if name in old and old[name].shape == new[name].shape]
    return float(torch.stack([(new[n].double() - old[n].double()).square().sum() for n in both]).sum().sqrt())


def retraining(plan: Plan) -> Expense | None:
    """What one retraining without the forget set costs, measured now; None where nobody tells how to.

    By the benchmark's preset of the method retrain, or, of an embedded world, by training a control anew.
    """
    task, folder = plan.task(), Path(plan.folder)
    key = digest([plan.options, plan.stamp, "retraining"])
    path = folder / "retraining.json"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored.pop("key") == key:
            return Expense(**stored)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    if "retrain" in task.presets:
        place = folder / "models" / "retrain"
        carry_out(plan.side("target", 0), replace(task.request, seed=1), "retrain", task.presets["retrain"], place)
        found = read_manifest(place)
        cost = Expense(found["seconds"], found["peak_memory_mib"], found["trained_parameters"])
        shutil.rmtree(place, ignore_errors=True)
    elif task.control is None or dict(plan.options).get("model") or dict(plan.options).get("source", "tiny") != "tiny":
        return None
    else:
        with elsewhere(folder / ".retraining"), metered() as meter:
            task.control(1)
        cost = Expense(meter.seconds, meter.peak_memory_mib, meter.trained)
    write_json(path, {**asdict(cost), "key": key})
    return cost


def load_course(data: Mapping[str, Any]) -> Course:
    """A course as `asdict` gave it."""
    steps = tuple(
        Step(**{**one, "served": tuple(one["served"]), "levels": load_levels(one["levels"])}) for one in data["steps"]
    )
    again = data["again"] and Again(**{**data["again"], "levels": load_levels(data["again"]["levels"])})
    return Course(**{**data, "steps": steps, "again": again})


def load_levels(data: Mapping[str, Any]) -> Levels:
    """Levels as `asdict` gave them."""
    utility = float("nan") if data["utility"] is None else data["utility"]
    return Levels(tuple(map(tuple, data["items"])), tuple(data["values"]), utility)
