"""A benchmark run: targets and controls, methods and floors over seeds, attacks, audit.

The work is cut into jobs that end in one file each. A run that was killed is taken up where it was by the same command:
what has its file is not made again, and what is under way continues from its checkpoint.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import Any

from lethe.auditing.intake import Intake
from lethe.data.content import digest
from lethe.errors import InputError
from lethe.evidence import SAID
from lethe.findings import Check, LeftOut
from lethe.measure import measurable
from lethe.registry import bind, find, parse_call, settle
from lethe.runs.cells import Cell, Made, Plan, base_row, forget_caches, looks, method_row, prepare, trace_attack
from lethe.runs.environment import code
from lethe.runs.rankings import names_of, users_of
from lethe.runs.results import BenchmarkResult, Blind, Cost, Row
from lethe.runs.unlearn import describe_request
from lethe.runs.verdicts import judged
from lethe.runs.workers import Pool
from lethe.scoring.blind import blind_baselines
from lethe.task import Task


def make_plan(
    name: str,
    options: Mapping[str, Any],
    folder: Path,
    controls: int,
    attacks: bool,
    calls: tuple[str, ...] = (),
    attacked: int = 1,
) -> Plan:
    """Check a benchmark's options and count its controls, before any compute."""
    if controls < 0:
        raise InputError(f"controls is {controls}; it must be 0 or more (the audit needs at least 2 for a removal).")
    card = find("benchmark", name)
    known = card.options()
    for option in ("model", "control"):
        if option in options and option not in known:
            raise InputError(f"The benchmark {name} takes no {option}.")
    bound = bind(card.function, options, what=f"benchmark {name}")
    if paths := bound.get("control"):
        controls = len(paths)
    forget_caches()
    plan = Plan(name, tuple(sorted(bound.items())), str(folder), controls, attacks, calls, attacked)
    return plan if plan.task().control is not None else replace(plan, controls=0)


def run_plan(
    plan: Plan,
    cells: Sequence[Cell],
    pool: Pool,
    *,
    given: Sequence[Check] = (),
    budget: str = "",
    left_out: Sequence[LeftOut] = (),
) -> tuple[BenchmarkResult, dict[str, Cost]]:
    """All jobs of one benchmark, in three waves; each is spread over the processes.

    Args:
        plan: What to run.
        cells: The methods, each under each seed.
        pool: The processes.
        given: Checks made elsewhere, such as those of the intake; by default what the request states.
        budget: What is paid for attacks; "" where the benchmark or the user named them.
        left_out: Attacks that are not among the plan's, and why.
    """
    task = plan.task()
    sides = [("target", 0), *(("control", number) for number in range(1, plan.controls + 1))]
    _check_rows(cells)
    weights = pool.map(prepare, [(plan, role, number) for role, number in sides])
    _check_apart(sides, weights, [dict(cell.options).get("weights") for cell in cells if cell.given])
    probes = {name: list(records) for name, records in task.probes.items()}
    plan = replace(plan, stamp=digest([code(), weights, probes, asdict(task.spec)]))
    if plan.attacks:
        attacked = sides[: 1 + plan.attacked]
        pool.map(
            trace_attack, [(plan, role, number, call) for role, number in attacked for call in plan.attack_calls()]
        )
    base = pool.map(base_row, [(plan, role, number) for role, number in sides])
    made = pool.map(method_row, [(plan, cell) for cell in cells])
    floors = [Cell(call, 0, "floor") for call in task.floors]
    made += pool.map(method_row, [(plan, _at_equal_utility(cell, made)) for cell in floors])
    rows = referenced([one.row for one in [*base, *made]])
    given = given or Intake(task.request.intent, task.request.scope).checks()
    utility, known = (score_name(task, call, rows[0]) for call in (task.utility, task.knowledge))
    result = BenchmarkResult(
        name=task.name,
        family=task.family,
        split=_split(plan),
        source=str(dict(plan.options).get("source", "tiny")),
        note=task.note,
        request=describe_request(task.request),
        utility=utility,
        knowledge=known,
        distance="distance.kl@forget",
        columns=tuple(score.name for score in rows[0].scores),  # the target's: no row has more
        items=tuple(_item(task, record) for record in task.probes["forget"]),
        rows=tuple(judged(rows, known, utility, task.request.intent, given, budget=budget, left_out=left_out)),
        blind=blind_split(task),
        passes=pool.map(looks, [(plan,)])[0] | {"reused": sum(one.reused for row in rows for one in row.recoveries)},
        budget=budget,
        left_out=tuple(left_out),
        listed=users_of(task),
        named=names_of(task),
    )
    return result, {f"{task.name}/{one.row.id}": one.cost for one in made if one.cost is not None}


def _split(plan: Plan) -> str:
    """The split that is run, given or by default; of a benchmark without any, nothing."""
    option = find("benchmark", plan.name).options().get("split")
    return str(dict(plan.options).get("split", option.default if option else ""))


def _check_rows(cells: Sequence[Cell]) -> None:
    """Two rows of one name would share their files and count as two seeds.

    Raises:
        InputError: If a name comes twice.
    """
    for name, count in Counter(cell.id for cell in cells).items():
        if count > 1:
            raise InputError(f"The run holds {name} {count} times; name each method with its options once.")


def _check_apart(sides: Sequence[tuple[str, int]], weights: Sequence[str], audited: Sequence[str | None]) -> None:
    """A control that is the target, another control or the audited model proves nothing.

    Raises:
        InputError: If two of them hold the same weights.
    """
    seen: dict[str, str] = {}
    for (role, number), fingerprint in zip(sides, weights, strict=True):
        name = "the original" if role == "target" else f"control {number}"
        if fingerprint in seen:
            raise InputError(f"{seen[fingerprint]} and {name} hold the same weights; a control is trained apart.")
        if role == "control" and fingerprint in audited:
            raise InputError(f"The audited model and {name} hold the same weights; a control is trained apart.")
        seen[fingerprint] = name


def referenced(rows: Sequence[Row]) -> list[Row]:
    """The rows, each score with its reference: the mean over the controls (for a control's row: over the others)."""

    def reference(row: Row, name: str) -> float | None:
        found = (other.score(name) for other in rows if other.role == "control" and other.id != row.id)
        values = [score.value for score in found if score is not None]
        return fmean(values) if values else None

    return [
        replace(row, scores=tuple(replace(s, reference=reference(row, s.name)) for s in row.scores)) for row in rows
    ]


def blind_split(task: Task) -> Blind | None:
    """The split that membership is measured on, scored without a model; None where no text is asked for membership.

    It is that of the first metric that tells a set from others `against` it. Texts about one entity share a fold, where
    the records name it.
    """
    split = next(filter(None, map(_split_of, task.metrics)), ())
    sides = [task.probes.get(name, ()) for name in split]
    if task.family != "language" or not sides or not all(sides):
        return None
    texts = [[" ".join(str(record[name]) for name in SAID if name in record) for record in side] for side in sides]
    named = all("entity" in record for side in sides for record in side)
    groups = [record["entity"] for side in sides for record in side] if named else None
    try:
        return Blind.of(blind_baselines(texts[0], texts[1], seed=task.request.seed, groups=groups))
    except InputError as error:
        return Blind("not tested", reason=str(error))


def _split_of(call: str) -> tuple[str, str] | None:
    """Members and non-members of a metric call, by the names of their sets; None where it compares no such sets."""
    name, given = parse_call(call)
    card = find("metric", name)
    known = card.options()
    if "against" not in known or "original" in card.requires:  # the latter compare two models, not two sets
        return None
    members, others = (str(given.get(option, known[option].default)) for option in ("set", "against"))
    return members, others


def divide(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Options of a benchmark, and those of its methods (`npo.beta`)."""
    own: dict[str, Any] = {}
    of_methods: dict[str, dict[str, Any]] = {}
    for key, value in options.items():
        method, dot, option = key.partition(".")
        if dot:
            of_methods.setdefault(method, {})[option] = value
        else:
            own[key] = value
    return own, of_methods


def cells_of(
    task: Task, methods: Sequence[str] | None, seeds: int, of_methods: Mapping[str, Mapping[str, Any]]
) -> list[Cell]:
    """Every method under every seed; names and options are checked here, before the first model is trained."""
    if seeds < 1:
        raise InputError(f"seeds is {seeds}; it must be at least 1.")
    chosen = list(methods) if methods else list(task.presets)
    if not chosen:
        raise InputError(f"{task.name} has no presets for this source: name the methods, with their options.")
    for stray in of_methods.keys() - {parse_call(call)[0] for call in chosen}:
        raise InputError(f"Options are given for {stray!r}, which is not among the methods of this run.")
    cells = []
    for call in chosen:
        name, given = parse_call(call)
        card = find("method", name)
        if card.families and task.family not in card.families:
            raise InputError(
                f"The method {name} is for {', '.join(card.families)} models; {task.name} is {task.family}."
            )
        settings = {**given, **of_methods.get(name, {})}
        if "preset" not in settings:  # a preset that is named stands in the place of the benchmark's own
            preset = {k: v for k, v in task.presets.get(name, {}).items() if k != "steps" or "epochs" not in settings}
            settings = {**preset, **settings}  # epochs that are asked for are not undone by the preset's steps
        settle(card, settings)
        cells += [Cell(name, seed, "method", tuple(sorted(settings.items())), call) for seed in range(1, seeds + 1)]
    return cells


def _at_equal_utility(cell: Cell, made: Sequence[Made]) -> Cell:
    """The noise floor loses as much on the retain set as the methods do in the median."""
    losses = sorted(one.retain_loss for one in made if one.row.role == "method" and isfinite(one.retain_loss))
    if cell.method != "noise" or not losses:
        return cell
    return replace(cell, options=(("match", losses[len(losses) // 2]),))


def score_name(task: Task, call: str, row: Row) -> str:
    """The qualified name of the score that a metric call of the task gave."""
    has_control = any("control" in find("metric", score.metric).requires for score in row.scores)
    return row.scores[measurable(task.metrics, has_control).index(call)].name


def _item(task: Task, record: Mapping[str, Any]) -> dict[str, str]:
    if task.family == "language":
        question = str(record.get("question", record.get("raw_prompt", "")))
        truth = str(record.get("answer", record.get("text", "")))
    elif task.family == "classifier":
        question = f"identity {record.get('identity', '?')}"
        truth = f"class {record['label']}" if "label" in record else f"labels {' '.join(map(str, record['labels']))}"
    else:
        question, truth = f"user {record['user']}", f"item {record['item']}"
    return {"id": str(record["id"]), "question": question, "truth": truth}
