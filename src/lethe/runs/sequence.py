"""Requests one after another: what each costs, what it does to the earlier ones, and to what must stay (SoK, O1 to O8).

The forget set of a benchmark is divided into requests. Every method serves them in order, in other orders, several at
once and all at once, and serves the last one twice; every state is looked at, and read against controls.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import factorial
from pathlib import Path
from typing import Any

import numpy as np

from lethe.data.atomic import write_json
from lethe.data.content import digest
from lethe.errors import InputError, cause
from lethe.findings import Check
from lethe.runs.bench import cells_of, make_plan
from lethe.runs.cells import Plan
from lethe.runs.division import By, parts, sized
from lethe.runs.environment import code, environment
from lethe.runs.sequence_lines import cost_line, lines
from lethe.runs.servings import (
    Chain,
    Course,
    Expense,
    Levels,
    apart,
    load_course,
    load_levels,
    look,
    retraining,
    serve,
)
from lethe.runs.workers import Pool

SCHEMA = 1
MOST = 100  # requests: every state is looked at for each of them


@dataclass(frozen=True)
class Asked:
    """One request: how many records, and whose they are."""

    number: int  # from 1, in the order in which they stand in the forget set
    records: int
    of: tuple[str, ...]


@dataclass(frozen=True)
class Served:
    """What `results.json` of `lethe bench sequence` holds; what was measured in seconds stands in `cost.json`."""

    benchmark: str
    family: str
    knowledge: str
    utility: str
    asked: tuple[Asked, ...]
    kept: int  # records that are to stay for good
    target: Levels
    controls: tuple[Levels, ...]
    noise: Mapping[str, float]  # mean KL between two controls on the answers of a set, nats per token
    courses: tuple[Course, ...]
    checks: Mapping[str, tuple[Check, ...]]  # by method; O4, which is told by seconds, is not among them
    environment: Mapping[str, str]
    config: Mapping[str, Any]
    schema: int = SCHEMA

    @property
    def labels(self) -> list[str]:
        """The methods, as they were called."""
        return list(dict.fromkeys(course.label for course in self.courses))

    def of(self, label: str, *kinds: str) -> list[Course]:
        """The chains of a method of some kinds, in the order they were asked for; failed ones are not among them."""
        return [one for one in self.courses if one.label == label and one.kind in kinds and not one.failure]


@dataclass(frozen=True)
class Costs:
    """What `cost.json` holds: of every chain, step by step, and of one retraining in the same run."""

    steps: Mapping[str, tuple[Expense, ...]]  # by `name_of`
    retraining: Expense | None
    checks: Mapping[str, tuple[Check, ...]] = field(default_factory=dict)  # O4 by method


def run_sequence(
    folder: str | Path,
    *,
    benchmark: str = "tofu",
    options: Mapping[str, Any] | None = None,
    methods: Sequence[str] = (),
    of_methods: Mapping[str, Mapping[str, Any]] | None = None,
    requests: int = 0,
    by: By = "entity",
    orders: int = 3,
    batches: Sequence[int] = (),
    sizes: Sequence[float] = (),
    repeat: bool = True,
    seeds: int = 1,
    controls: int = 2,
    workers: int = 1,
) -> tuple[Served, Costs]:
    """Serve, look, judge; what has its file is not made again, and a chain that was killed goes on at its last state.

    Args:
        folder: Where files, models and evidence are kept.
        benchmark: Its forget set is divided.
        options: Those of the benchmark.
        methods: Calls such as `npo:lr=1e-3`, over the benchmark's presets.
        of_methods: Options by method.
        requests: Number of requests; 0 takes the benchmark's own, or five.
        by: entity: all records of one entity, identity or user stand in one request; or record.
        orders: Orders in which they are served, the given one included.
        batches: Numbers of requests that are served at once, beside one and all.
        sizes: Shares of all records, each forgotten afresh from the target.
        repeat: Serve the last request twice.
        seeds: Seeds per method.
        controls: Controls.
        workers: Processes.

    Raises:
        InputError: If a number does not fit the forget set, or a method or option does not exist.
    """
    if not methods:
        raise InputError("Name the methods that are to serve the requests: --methods npo,grad_diff.")
    for name, value, least in (("orders", orders, 1), ("workers", workers, 1), ("requests", requests, 0)):
        if value < least:
            raise InputError(f"{name} is {value}; it must be at least {least}.")
    plan = make_plan(benchmark, options or {}, Path(folder), controls, attacks=False)
    task = plan.task()
    asked = parts(task, requests, by)
    if len(asked) > MOST:
        raise InputError(f"{len(asked)} requests; at most {MOST}, of which every state is looked at for each.")
    cells = cells_of(task, methods, seeds, of_methods or {})
    for share in sizes:
        sized(task, share, by)
    layout = [*_orders(len(asked), orders, task.request.seed), *_batches(len(asked), batches)]
    chains = [Chain(kind, cell, steps) for kind, steps in layout for cell in cells]
    chains += [Chain("size", cell, share=share) for share in sorted(set(sizes)) for cell in cells]
    sides = [("target", 0), *(("control", number) for number in range(1, plan.controls + 1))]
    with Pool(workers) as pool:
        weights = pool.map(_weights, [(plan, role, number) for role, number in sides])
        probes = {name: list(records) for name, records in task.probes.items()}
        plan = replace(plan, stamp=digest([code(), weights, probes, asdict(task.spec), asked]))
        price = pool.map(retraining, [(plan,)])[0]
        made = pool.map(serve, [(plan, chain, len(asked), by, repeat) for chain in chains])
        target, *others = pool.map(_side, [(plan, role, number, len(asked), by) for role, number in sides])
        noise = pool.map(_noise, [(plan,)])[0] if plan.controls > 1 else {}
    found = Served(
        benchmark=task.name,
        family=task.family,
        knowledge=task.knowledge,
        utility=task.utility,
        asked=tuple(_described(number, records) for number, records in enumerate(asked, 1)),
        kept=len(task.request.retain),
        target=target,
        controls=tuple(others),
        noise=noise,
        courses=tuple(course for course, _ in made),
        checks={},
        environment=environment(),
        config={"benchmark": benchmark, "options": dict(plan.options), "methods": list(methods), "by": by,
                "requests": len(asked), "orders": orders, "batches": list(batches), "sizes": list(sizes),
                "repeat": repeat, "seeds": seeds, "controls": plan.controls},
    )  # fmt: skip
    costs = Costs({name_of(course): tuple(spent) for course, spent in made}, price)
    by_label = {label: [one for one in found.courses if one.label == label] for label in found.labels}
    records = len(task.request.forget) + len(task.request.retain)
    found = replace(
        found, checks={label: lines(own, target, others, noise, records) for label, own in by_label.items()}
    )
    priced = {
        label: (cost_line([costs.steps[name_of(one)] for one in own if one.kind == "sequence"], price, len(asked)),)
        for label, own in by_label.items()
    }
    return found, replace(costs, checks=priced)


def name_of(course: Course) -> str:
    """A name for each chain of a run: `npo-seed1/sequence/1+2+3`."""
    steps = "+".join(".".join(str(i + 1) for i in step.served) for step in course.steps)
    return f"{course.label}-seed{course.seed}/{course.kind}/{f'{course.share:g}' if course.kind == 'size' else steps}"


def save(found: Served, costs: Costs, folder: str | Path) -> None:
    """Write `results.json` and `cost.json`; the first has the same bytes whenever the same run is made again."""
    write_json(Path(folder) / "results.json", asdict(found), nan="null")
    write_json(Path(folder) / "cost.json", asdict(costs), nan="null")


def read(folder: str | Path) -> tuple[Served, Costs]:
    """A finished run.

    Raises:
        InputError: If its files are missing, damaged or of another schema.
    """
    try:
        data, price = (
            json.loads((Path(folder) / n).read_text(encoding="utf-8")) for n in ("results.json", "cost.json")
        )
        if data.get("schema") != SCHEMA:
            raise InputError(
                f"{folder}: results.json is of schema {data.get('schema')!r}, this version reads {SCHEMA}."
            )
        found = Served(
            **{
                **data,
                "asked": tuple(Asked(**{**one, "of": tuple(one["of"])}) for one in data["asked"]),
                "target": load_levels(data["target"]),
                "controls": tuple(map(load_levels, data["controls"])),
                "courses": tuple(map(load_course, data["courses"])),
                "checks": _checks(data["checks"]),
            }
        )
        spent = price["retraining"]
        steps = {name: tuple(Expense(**one) for one in rows) for name, rows in price["steps"].items()}
        return found, Costs(steps, spent and Expense(**spent), _checks(price["checks"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{folder} holds no complete run of `lethe bench sequence` ({cause(error)}).") from error


def given_checks(folder: str | Path, weights: str) -> tuple[Check, ...]:
    """O1 to O8 for an audit of the model that a finished run ended with; none where no run is given.

    Args:
        folder: Of the run; "" for none.
        weights: Fingerprint of the audited model.

    Raises:
        InputError: If the run is not complete, or no sequence of it ended with these weights.
    """
    if not str(folder):
        return ()
    found, costs = read(folder)
    for course in found.courses:
        if course.kind == "sequence" and course.steps and course.steps[-1].after == weights:
            return (*found.checks[course.label], *costs.checks[course.label])
    raise InputError(f"{folder}: no sequence ends with the audited model; audit the last step below its `models`.")


def _checks(data: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, tuple[Check, ...]]:
    return {label: tuple(Check(**one) for one in rows) for label, rows in data.items()}


def _described(number: int, records: Sequence[Mapping[str, Any]]) -> Asked:
    names = (r.get("entity", r.get("identity", r.get("user"))) for r in records)
    return Asked(number, len(records), tuple(dict.fromkeys(str(name) for name in names if name is not None)))


def _weights(plan: Plan, role: str, number: int) -> str:
    return plan.side(role, number).fingerprint()


def _side(plan: Plan, role: str, number: int, requests: int, by: By) -> Levels:
    return look(plan, plan.side(role, number), parts(plan.task(), requests, by), plan.task().request.forget)


def _noise(plan: Plan) -> dict[str, float]:
    return apart(plan, plan.side("control", 1), plan.side("control", 2))


Layout = list[tuple[Any, tuple[tuple[int, ...], ...]]]


def _orders(requests: int, orders: int, seed: int) -> Layout:
    """The given order, and others drawn without repetition."""
    given = tuple(range(requests))
    if requests < 8 and orders > factorial(requests):
        raise InputError(f"orders is {orders}; {requests} requests have {factorial(requests)}.")
    found, rng = [given], np.random.default_rng(seed)
    while len(found) < orders:
        drawn = tuple(rng.permutation(requests).tolist())
        found += [drawn] if drawn not in found else []
    kinds = ["sequence", *["order"] * (orders - 1)]
    return [(kind, tuple((i,) for i in order)) for kind, order in zip(kinds, found, strict=True)]


def _batches(requests: int, batches: Sequence[int]) -> Layout:
    """Several requests at once: each given number of them, and all."""
    for size in batches:
        if not 1 <= size <= requests:
            raise InputError(f"batches holds {size}; there are {requests} requests, give numbers from 2 to {requests}.")
    sizes = sorted({*batches, requests} - {1})
    rows = range(requests)
    return [("batch", tuple(tuple(rows[at : at + size]) for at in range(0, requests, size))) for size in sizes]
