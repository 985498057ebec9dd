"""The jobs of a benchmark run. Each ends in one file and is skipped where that file stands already."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lethe.auditing.recovery import Measure, Trace, attacked, knowledge, recovery, takes_original
from lethe.data.atomic import write_json
from lethe.data.content import digest
from lethe.errors import InputError
from lethe.evidence import Evidence, observe
from lethe.findings import LeftOut, Recovery
from lethe.measure import compute, measurable, measure
from lethe.models import load
from lethe.models.base import Model
from lethe.registry import find, parse_call
from lethe.runs.rankings import lists_of
from lethe.runs.results import Cost, Role, Row, load_row
from lethe.runs.unlearn import carry_out, changed_weights, describe_request, options_in_force
from lethe.score import Score
from lethe.scoring.muse import check_sequence
from lethe.task import Task


@dataclass(frozen=True)
class Plan:
    """One benchmark with its options and its place on disk; small enough to be sent to a process."""

    name: str
    options: tuple[tuple[str, Any], ...]
    folder: str
    controls: int
    attacks: bool
    calls: tuple[str, ...] = ()  # attacks instead of the benchmark's own
    attacked: int = 1  # most controls that are attacked
    forgiving: bool = False  # an attack that nobody named may fail, and is then told as left out
    stamp: str = ""  # hash of what rows are read against: weights of target and controls, probes, what is observed

    def attack_calls(self) -> tuple[str, ...]:
        """The attacks of this run."""
        return (self.calls or self.task().attacks) if self.attacks else ()

    def task(self) -> Task:
        """The benchmark's task, made once per process."""
        return _task(self.name, self.options)

    def side(self, role: str, number: int) -> Model:
        """The target or a control; callers must not change it."""
        return _side(self, role, number)

    def evidence(self, model: Model) -> Evidence:
        """What the benchmark observes of a model, from the run's cache."""
        task = self.task()
        return observe(model, task.probes, task.spec, cache=Path(self.folder) / "evidence")

    def control_evidence(self) -> list[Evidence]:
        """The evidence of all controls, kept by the process: every row is read against it."""
        return _control_evidence(self)

    def apart(self, evidence: Evidence) -> list[Evidence]:
        """The controls that are other models than the observed one: none is compared with itself."""
        return [control for control in self.control_evidence() if control.model != evidence.model]

    def scores(self, evidence: Evidence) -> tuple[Score, ...]:
        """The task's metrics, read against the controls and, where they say what has changed, the target."""
        task, against = self.task(), (self.apart(evidence), _original_evidence(self))
        found = measure(task.metrics, evidence, *against)
        for call in measurable(task.beside, bool(against[0])):
            with suppress(InputError):  # a probe that these records cannot train, say
                found += (compute(call, evidence, *against),)
        return found


@dataclass(frozen=True)
class Cell:
    """One method under one seed; `given` is the folder of a model unlearned elsewhere, with its hash as option."""

    method: str
    seed: int
    role: Role
    options: tuple[tuple[str, Any], ...] = ()
    label: str = ""
    given: str = ""

    @property
    def id(self) -> str:
        """Name of the row, fit for a file."""
        return re.sub(r"[^\w.=+-]+", "-", f"{self.label or self.method}-seed{self.seed}")


@dataclass(frozen=True)
class Made:
    """A finished row, what it cost, and its mean retain loss (nats per token), by which the noise floor is matched."""

    row: Row
    cost: Cost | None
    retain_loss: float


@lru_cache(maxsize=8)
def _task(name: str, options: tuple[tuple[str, Any], ...]) -> Task:
    return find("benchmark", name).function(**dict(options))


@lru_cache(maxsize=1)  # a model under attack needs the room
def _side(plan: Plan, role: str, number: int) -> Model:
    task = plan.task()
    make = task.target if role == "target" else task.control
    assert make is not None  # the plan counts no controls where there are none
    return make(number)


@lru_cache(maxsize=4)
def _control_evidence(plan: Plan) -> list[Evidence]:
    return [plan.evidence(plan.side("control", number)) for number in range(1, plan.controls + 1)]


@lru_cache(maxsize=4)
def _original_evidence(plan: Plan) -> Evidence:
    return plan.evidence(plan.side("target", 0))


def forget_caches() -> None:
    """What a process keeps of tasks and models: records and folders may have changed since."""
    for cached in (_task, _side, _control_evidence, _original_evidence):
        cached.cache_clear()


def prepare(plan: Plan, role: str, number: int) -> str:
    """Train or load a side, and look at it; returns the fingerprint of its weights."""
    return plan.evidence(plan.side(role, number)).model


def looks(plan: Plan) -> dict[str, int]:
    """The pass counter: texts that the metrics read of one model, forward passes (distinct texts), generations."""
    evidence = plan.evidence(plan.side("target", 0))
    asked = sum(numbers.size for roles in evidence.index.values() for numbers in roles.values())
    return {"asked": int(asked), **evidence.passes}


def trace_attack(plan: Plan, role: str, number: int, call: str) -> None:
    """Attack a side once; every method's recovery is read against this. What may fail is told where it is missed."""
    with suppress(Exception) if plan.forgiving else nullcontext():
        _trace(plan, _standing(plan, role, number), call)


def base_row(plan: Plan, role: str, number: int) -> Made:
    """Target or control as a row of the table; a control is read against the other controls."""
    evidence = plan.evidence(plan.side(role, number))
    row = Row(
        id="target" if role == "target" else f"control-seed{number}",
        role="target" if role == "target" else "control",
        method="",
        seed=number,
        options={},
        model=evidence.model,
        changed=0,
        scores=plan.scores(evidence),
        answers=answers(evidence),
        evidence=evidence.key,
        lists=lists_of(plan.task(), evidence),
    )
    return Made(row, None, _retain_loss(evidence))


def method_row(plan: Plan, cell: Cell) -> Made:
    """Unlearn, look, attack; a method that ends in an error gets a row that says so, and is tried again next time."""
    if cell.role != "method" or cell.given:
        return _method_row(plan, cell)
    try:
        return _method_row(plan, cell)
    except Exception as error:  # whatever a method, perhaps another's, does: the others are still compared
        options = options_in_force(find("method", cell.method), dict(cell.options))
        card = {**_card(cell.method, options), "preset": str(dict(cell.options).get("preset", ""))}
        row = Row(cell.id, cell.role, cell.method, cell.seed, options, "", 0, (), card=card, failure=told(error))
        return Made(row, None, float("nan"))


def told(error: Exception) -> str:
    """An error in one line; one that is no message to a user says what kind it is."""
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}".removesuffix(": ")


def _method_row(plan: Plan, cell: Cell) -> Made:
    path, task = Path(plan.folder) / "rows" / f"{cell.id}.json", plan.task()
    requests = [request.fingerprint() for request in (*task.earlier, task.request)]
    of_task = [requests, [*task.metrics, *task.beside], list(plan.attack_calls()), plan.attacked]
    key = digest([asdict(cell), plan.options, plan.controls, plan.stamp, of_task])
    if (made := _stored(path, key)) is not None:
        return made
    model, manifest = _given(plan, cell) if cell.given else _unlearned(plan, cell, key)
    evidence = plan.evidence(model)
    found = [_recover(plan, _Subject(cell.id, evidence, lambda: model), call) for call in plan.attack_calls()]
    row = Row(
        id=cell.id,
        role=cell.role,
        method=cell.method,
        seed=cell.seed,
        options=manifest["options"],
        model=evidence.model,
        changed=changed_weights(plan.side("target", 0), model)[0],
        scores=plan.scores(evidence),
        recoveries=tuple(one for one in found if isinstance(one, Recovery)),
        left_out=tuple(one for one in found if isinstance(one, LeftOut)),
        answers=answers(evidence),
        evidence=evidence.key,
        lists=lists_of(task, evidence),
        trained=manifest.get("trained_parameters"),
        card={**_card(cell.method, manifest["options"]), **_marks(plan, cell, model, manifest)},
    )
    cost = Cost(manifest["seconds"], manifest["peak_memory_mib"], manifest.get("prepared_seconds", 0.0))
    content = {"key": key, "row": asdict(row), "cost": asdict(cost), "retain_loss": _retain_loss(evidence)}
    write_json(path, content, nan="null")
    made = _stored(path, key)
    assert made is not None  # read back, so that a row is the same whether it was made now or before
    return made


def _stored(path: Path, key: str) -> Made | None:
    """A finished row of the same key; a damaged file counts as none."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["key"] == key:
            return Made(load_row(stored["row"]), Cost(**stored["cost"]), stored["retain_loss"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None


def _unlearned(plan: Plan, cell: Cell, key: str) -> tuple[Model, dict[str, Any]]:
    """The method's model with its manifest: the task's requests one after another, each from where the last one ended.

    What was made before is not made again. A request starts from its predecessor's folder, also where that was written
    a moment ago: whenever a run was killed, the next one starts from the same bytes.
    """
    task, folder = plan.task(), Path(plan.folder) / "models" / cell.id
    places = [folder.with_name(f"{cell.id}-request{number}") for number in range(1, len(task.earlier) + 1)]
    before: Path | None = None
    for place, request in zip([*places, folder], [*task.earlier, task.request], strict=True):
        own = key if place == folder else digest([key, place.name])
        if _manifest(place).get("key") != own:
            model = load(before, family=task.family) if before else plan.side("target", 0)
            carry_out(model, replace(request, seed=cell.seed), cell.method, dict(cell.options), place)
            write_json(place / "lethe.json", {**_manifest(place), "key": own})
        before = place
    made = [_manifest(place) for place in (*places, folder)]
    begun, ended = ([manifest[end] for manifest in made] for end in ("weights_before", "weights_after"))
    check_sequence(plan.side("target", 0).fingerprint(), begun, ended)
    cost = {name: sum(manifest.get(name, 0.0) for manifest in made) for name in ("seconds", "prepared_seconds")}
    cost["peak_memory_mib"] = max(manifest["peak_memory_mib"] for manifest in made)
    return load(folder, family=task.family), {**made[-1], **cost}


def _given(plan: Plan, cell: Cell) -> tuple[Model, dict[str, Any]]:
    """A model that was unlearned elsewhere; where it brings no manifest, what can be known without one."""
    trust = bool(dict(plan.options).get("trust_remote_code", False))
    model = load(cell.given, family=plan.task().family, trust_remote_code=trust)
    unknown = {"options": {}, "seconds": 0.0, "peak_memory_mib": 0.0}
    return model, _manifest(Path(cell.given)) or unknown


def _card(method: str, options: Mapping[str, Any]) -> dict[str, str]:
    if not method:
        return {"intent": "", "level": "", "paper": "", "summary": "Made elsewhere; no manifest says how."}
    card = find("method", method)
    told = {"intent": card.intent, "level": card.level, "paper": card.paper, "summary": card.summary}
    return {**told, "departs": departure} if (departure := card.departure(options)) else told


def _marks(plan: Plan, cell: Cell, model: Model, manifest: Mapping[str, Any]) -> dict[str, str]:
    found = {"guard": "no" if model.guard is None else "yes", "preset": str(manifest.get("preset", ""))}
    if told := artefact(plan, model, manifest):
        found["artefact"] = told
    return found if cell.given else {**found, "made": "here"}


def artefact(plan: Plan, model: Model, manifest: Mapping[str, Any]) -> str:
    """What a manifest vouches for, once it was compared with the models and records at hand; "" if it does not fit."""
    own = {
        "weights_after": model.fingerprint(),
        "weights_before": _original_evidence(plan).model,
        "forget_sha256": describe_request(plan.task().request)["forget_sha256"],
    }
    vouched = {**manifest, **manifest.get("request", {})}
    if any(vouched.get(name) != value for name, value in own.items()):
        return ""
    return "lethe.json holds the hashes of weights before and after and of the forget records, and the settings"


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "lethe.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _recover(plan: Plan, own: _Subject, call: str) -> Recovery | LeftOut:
    """One attack on a model, its original and controls; one that breaks on any of them keeps no other from its say."""
    others = [n for n, one in enumerate(plan.control_evidence(), 1) if one.model != own.evidence.model]
    controls = [_standing(plan, "control", number) for number in others[: plan.attacked]]
    try:
        trace, known = _trace(plan, own, call), _trace(plan, _standing(plan, "target", 0), call)
        return recovery(trace, [_trace(plan, one, call) for one in controls], known, seed=plan.task().request.seed)
    except Exception as error:  # whatever an attack, perhaps another's, does: its line can no longer pass
        if not plan.forgiving:
            raise
        return LeftOut(call, find("attack", parse_call(call)[0]).check, told(error), not isinstance(error, InputError))


# Fields that would each be a text more to look at under every attack, by the forget measure that does not read them.
UNREAD = {"probability:set=forget": ("paraphrased_answer", "perturbed_answer")}


class _Subject(NamedTuple):
    """A model to attack: its name on disk, what was observed of it, and how to come by it where it must be attacked."""

    name: str
    evidence: Evidence
    load: Callable[[], Model]


def _standing(plan: Plan, role: str, number: int) -> _Subject:
    seen = plan.control_evidence()[number - 1] if role == "control" else _original_evidence(plan)
    return _Subject(f"{role}-{number}", seen, lambda: plan.side(role, number))


def _trace(plan: Plan, who: _Subject, call: str) -> Trace:
    task = plan.task()
    key = digest([call, who.evidence.model, task.request.fingerprint(), task.knowledge, plan.stamp])[:12]
    path = Path(plan.folder) / "traces" / f"{who.name}-{call.split(':')[0]}-{key}.json"
    try:
        return load_trace(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not made yet, or damaged
    original = plan.side("target", 0) if takes_original(find("attack", parse_call(call)[0])) else None
    known = known_of(task, who.evidence)
    trace = attacked(call, who.load(), task.request, knowledge_of(task), original=original, known=known)
    write_json(path, asdict(trace))
    return load_trace(json.loads(path.read_text(encoding="utf-8")))  # the same types, made or stored


def known_of(task: Task, evidence: Evidence) -> dict[str, float]:
    """The task's forget measure of each record as the metrics have seen it; of records that are probed as they are."""
    probed = {str(record["id"]): record for record in task.probes["forget"]}
    items = compute(task.knowledge, evidence).items
    if len(items) != len(task.probes["forget"]):  # of groups of records
        return {}
    values = dict(zip(probed, items, strict=True))
    plain = {name: {k: v for k, v in record.items() if k != "derived"} for name, record in probed.items()}
    return {r["id"]: values[r["id"]] for r in task.request.forget if digest(plain.get(r["id"])) == digest(r)}


def load_trace(data: Mapping[str, Any]) -> Trace:
    """Rebuild a `Trace` from parsed JSON."""
    listed = {name: tuple(data[name]) for name in ("ids", "before", "strengths")}
    return Trace(**{**data, **listed, "after": tuple(tuple(row) for row in data["after"])})


def knowledge_of(task: Task) -> Measure:
    """The task's forget measure, for any forget records of it."""
    asked = ("forget",) if task.knowledge.startswith("rouge") else ()
    spec = replace(
        task.spec, generate=asked, distributions=(), traces=None, samples=(), interior=(), gradients=()
    )  # fmt: skip
    beside = {"retain": task.probes["retain"]} if task.family == "recommender" else None
    return knowledge(partial(compute, task.knowledge), beside=beside, spec=spec, unread=UNREAD.get(task.knowledge, ()))


def answers(evidence: Evidence) -> tuple[str, ...]:
    """What the model says to each forget item: its text, its class, or the item's place in the list."""
    if evidence.family == "language":
        return tuple(evidence.generated("forget"))
    if evidence.family == "classifier":
        chosen = [np.argmax(rows, -1) for rows in evidence.distribution("forget")]
        return tuple(f"labels {' '.join(map(str, own))}" if len(own) > 1 else f"class {own[0]}" for own in chosen)
    return tuple(f"place {int(rank[0]) + 1}" for rank in evidence.per_token("forget", what="rank"))


def _retain_loss(evidence: Evidence) -> float:
    return float(evidence.nll("retain").mean())
