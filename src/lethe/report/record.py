"""What `audit.json` says: one audited model with all that its verdict rests on, and no word of the forgotten records.

The same audit gives the same bytes wherever its folders lie: models and records are named by their hashes. Texts of
records and answers of models stay in results.json, so that the record can be handed on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files
from math import isfinite
from pathlib import Path
from typing import Any

import lethe
from lethe.auditing.intake import STRONGEST, Intake
from lethe.data.atomic import write_bytes
from lethe.data.content import digest
from lethe.findings import Recovery, Verdict
from lethe.report.canonical import EXACT, canonical
from lethe.runs.results import BenchmarkResult, Results, Row
from lethe.runs.unlearn import describe_request
from lethe.score import Score
from lethe.task import Task

SCHEMA = 1
SCHEMA_FILE = "audit.schema.json"


def schema() -> dict[str, Any]:
    """The published JSON schema of the record (draft 2020-12)."""
    return json.loads((files("lethe.report") / SCHEMA_FILE).read_text(encoding="utf-8"))


def audit_record(results: Results, task: Task, intake: Intake, *, code: str, behaviour: str) -> dict[str, Any]:
    """The record of an audit, ready for `canonical`.

    Args:
        results: Of one benchmark, whose last row is the audited model.
        task: What was asked and looked at.
        intake: The request as it was put.
        code: SHA-256 of Lethe's own source.
        behaviour: `Model.behaviour` of the audited model: weights, configuration and tokenizer together.
    """
    found = results.benchmarks[0]
    subject = found.rows[-1]
    target = found.of_role("target")[0]
    controls = found.of_role("control")
    assert subject.verdict is not None  # the row is a method's
    return _plain(
        {
            "schema": SCHEMA,
            "lethe": {"version": lethe.__version__, "code": code},
            "environment": results.environment,
            "request": _request(task, intake),
            "models": {
                "family": found.family,
                "subject": {**_subject(subject), "behaviour": behaviour},
                "original": {"weights": target.model},
                "controls": [{"weights": row.model} for row in controls],
            },
            "evidence": _evidence(found, task),
            "metrics": [_metric(score, target, controls) for score in subject.scores],
            "attacks": [_attack(one) for one in subject.recoveries],
            "checklist": [asdict(check) for check in subject.verdict.checks],
            "verdict": _verdict(subject.verdict, subject, task, len(controls)),
            "attacker": _attacker(subject.verdict, intake),
        }
    )


def write_record(record: Mapping[str, Any], folder: str | Path) -> Path:
    """Write `audit.json` in canonical form: the same record gives the same bytes.

    Raises:
        InputError: If the folder cannot be written to.
    """
    return write_bytes(Path(folder) / "audit.json", canonical(record))


def _request(task: Task, intake: Intake) -> dict[str, Any]:
    told = describe_request(task.request)
    sets = {name: getattr(task.request, name) for name in ("forget", "retain", "holdout")}
    hashed = {name: {"records": len(records), "sha256": digest(list(records))} for name, records in sets.items()}
    put = {name: getattr(intake, name) for name in ("threat", "basis", "deadline")}
    stated = [asdict(check) for check in intake.checks()]
    told = {key: value for key, value in told.items() if key not in (*sets, "forget_sha256")}  # it stands in sets
    return {**told, **put, "intake": stated, "sets": hashed}


def _subject(row: Row) -> dict[str, Any]:
    """The audited model: what its card claims of the method, beside the weights that were looked at."""
    claims = {key: row.card.get(key, "") for key in ("intent", "level", "paper", "preset")}
    return {
        "weights": row.model,
        "changed_weights": row.changed,
        "method": row.method,
        "options": row.options,
        "seed": row.seed,
        "claimed": claims,
        "guarded": row.card.get("guard") == "yes",
    }


def _evidence(found: BenchmarkResult, task: Task) -> dict[str, Any]:
    probes = {name: list(records) for name, records in task.probes.items()}
    return {
        "protocol": found.name,
        "probes": {name: {"records": len(one), "sha256": digest(one)} for name, one in probes.items()},
        "spec": asdict(task.spec),
        "membership_split": None if found.blind is None else asdict(found.blind),
        "keys": {row.id if row.role != "method" else "subject": row.evidence for row in found.rows if not row.failure},
    }


def _metric(score: Score, target: Row, controls: list[Row]) -> dict[str, Any]:
    """One score with its reading aids; an open end of its range is null."""
    original = target.score(score.name)
    others = (row.score(score.name) for row in controls)
    low, high = score.range
    return {
        "name": score.name,
        **{key: getattr(score, key) for key in ("metric", "variant", "set", "value", "low", "high", "n", "direction")},
        "range": {"low": low, "high": high},
        "unit": score.unit,
        "original": None if original is None else original.value,
        "controls": [one.value for one in others if one is not None],
        "detail": score.detail,
    }


def _attack(found: Recovery) -> dict[str, Any]:
    """One attack, with its budget: how often it struck, and how hard at most."""
    strengths = [point.strength for point in found.points]
    budget = {"tried": len(strengths), "most": max(strengths), "least": min(strengths), "unit": found.unit}
    return {**asdict(found), "budget": budget}


def _verdict(verdict: Verdict, row: Row, task: Task, controls: int) -> dict[str, Any]:
    by_outcome = {name: [c.id for c in verdict.checks if c.outcome == name] for name in ("FAIL", "NOT TESTED")}
    return {
        "required": task.request.intent,
        "claimed": verdict.claimed,
        "reached": verdict.reached,
        "highest_class": verdict.highest_class,
        "sentence": verdict.sentence,
        "failed": by_outcome["FAIL"],
        "not_tested": by_outcome["NOT TESTED"],
        "budget": {
            "name": verdict.budget,
            "attacks": verdict.tried,
            "attacked_models": sum(len(one.points) for one in row.recoveries),
            "controls": controls,
            "probed_records": sum(len(records) for records in task.probes.values()),
        },
        "left_out": [asdict(one) for one in verdict.left_out],
    }


def _attacker(verdict: Verdict, intake: Intake) -> dict[str, Any]:
    """What the stated attacker could try, and what came of it."""
    return {
        "threat": intake.threat or STRONGEST,
        "can_try": intake.reach(),
        "failed": intake.within_reach(verdict.checks, "FAIL"),
        "not_tested": intake.within_reach(verdict.checks, "NOT TESTED"),
    }


def _plain(value: Any) -> Any:
    """The same in what every reader of JSON reads alike: NaN is null, huge integers are texts."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) <= EXACT else str(value)
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return _plain(value.tolist() if hasattr(value, "tolist") else str(value))
