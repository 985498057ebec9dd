"""Rows with their verdicts: the audit sees each method beside the target, the controls and the floors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from lethe.auditing.case import AuditInput, Names, by_name
from lethe.auditing.verdict import audit
from lethe.findings import Verdict
from lethe.runs.results import Row
from lethe.score import Score

Scores = Mapping[str, Score]


def judged(rows: Sequence[Row], knowledge: str, utility: str, required: str = "removal") -> list[Row]:
    """The rows, each method and floor with its verdict.

    Args:
        rows: All rows of a benchmark.
        knowledge: Qualified name of the knowledge score on the forget set.
        utility: Qualified name of the utility score.
        required: Intent of the request: removal, suppression, or unsure, which is read as removal.
    """
    target = next(row for row in rows if row.role == "target")
    names = names_of(target.scores, knowledge, utility)
    controls = [by_name(row.scores) for row in rows if row.role == "control"]
    floors = {row.method: by_name(row.scores) for row in rows if row.role == "floor"}
    runs = Counter(_without_seed(row) for row in rows if not row.failure)
    return [
        replace(row, verdict=_verdict(row, target, names, controls, floors, runs[_without_seed(row)], required))
        if row.role in ("method", "floor") and not row.failure
        else row
        for row in rows
    ]


def _verdict(
    row: Row,
    target: Row,
    names: Names,
    controls: Sequence[Scores],
    floors: Mapping[str, Scores],
    seeds: int,
    required: str,
) -> Verdict:
    return audit(
        AuditInput(
            claimed=row.card.get("intent", ""),
            level=row.card.get("level", ""),
            names=names,
            scores=by_name(row.scores),
            target=by_name(target.scores),
            controls=controls,
            floors={name: scores for name, scores in floors.items() if name != row.method},
            recoveries=row.recoveries,
            changed=row.changed,
            seeds=seeds,
            guarded=row.card.get("guard") == "yes",
            required=required,
        )
    )


def names_of(scores: Sequence[Score], knowledge: str, utility: str) -> Names:
    """Which of a benchmark's scores answers which question of the checklist; the first of its kind counts."""

    def first(metric: str, of: str) -> str:
        return next((score.name for score in scores if score.metric == metric and score.set == of), "")

    return Names(
        knowledge=knowledge,
        utility=utility,
        generation=first("rouge", "forget"),
        probability=first("probability", "forget"),
        retain=first("probability", "retain") or first("accuracy", "retain") or first("recall", "retain"),
        fluency=first("fluency", "forget"),
        membership=first("membership", "forget"),
        distances=tuple(score.name for score in scores if score.metric == "distance"),
    )


def _without_seed(row: Row) -> str:
    return row.id.rpartition("-seed")[0]
